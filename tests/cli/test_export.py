"""`imer export` from the shell: results, exit codes, quiet streams."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from imer.cli.app import app
from imer.core.files import sha256_file
from tests.conftest import Finished
from tests.shipped import train_small

Imer = Callable[..., Finished]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    return train_small(folder, label="emotion", modalities=("text", "visual"), settings=("model.blocks=1",))[0]


def test_an_onnx_file_from_the_shell(imer: Imer, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    done = imer("export", run, "-o", out, "--format", "onnx", "--json")
    assert (done.code, done.err) == (0, "")  # none of the exporter's own talk
    document = done.json
    assert (document["schema"], document["status"], document["format"]) == ("imer.export/1", "ok", "onnx")
    assert document["counts"]["cases"] >= 200
    assert document["parity"]["max_abs_difference"] <= 1e-5
    assert document["parity"]["argmax_differences"] == 0
    assert [(o["path"], o["sha256"]) for o in document["outputs"]] == [
        (str(path), sha256_file(path)) for path in (out, tmp_path / "model.onnx.json")
    ]
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["text", "visual", "observed", "valid"]
    ones = np.ones((1, 1), bool)
    given = {"text": np.zeros((1, 1, 5), np.float32), "visual": np.full((1, 1, 4), np.nan, np.float32)}
    answer, weights = session.run(None, {**given, "observed": np.array([[[True, False]]]), "valid": ones})
    assert answer.sum() == pytest.approx(1.0, abs=1e-6)
    assert weights[0, 0].tolist() == pytest.approx([1.0, 0.0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx.json"]


def test_a_bundle_and_what_comes_after(imer: Imer, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = imer("export", run, "-o", out)
    assert done.code == 0
    header, row = (line.split("\t") for line in done.out.splitlines())
    assert dict(zip(header, row, strict=True))["largest difference"] == "0.0e+00"
    again = imer("export", run, "-o", out, "--json")
    assert again.code == 6
    assert "exists already" in json.loads(again.out)["error"]["message"]
    assert imer("data", "verify", out).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{run}", "-o", "{x}", "--format", "onx"], 2, "did you mean 'onnx'?"),
        (["{run}", "-o", "{x}", "--fold", "3"], 2, "single model, without folds"),
        (["{run}"], 2, "-o"),
        (["{empty}", "-o", "{x}"], 4, "is not a run folder"),
        (["{empty}/none", "-o", "{x}"], 4, "is not a run folder"),
    ],
)
def test_exit_codes(run: Path, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = CliRunner().invoke(app, ["export", *(a.format(run=run, empty=empty, x=tmp_path / "x") for a in arguments)])
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()
