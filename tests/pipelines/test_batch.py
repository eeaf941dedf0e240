"""The batch script at small size: it goes by exit codes alone, and one broken clip does not stop it."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imer.demo.corpus import make_demo

Finished = subprocess.CompletedProcess[str]
SMALL = {
    "SEEDS": "0 1",
    "RATES": "mixed",
    "EVAL_RATES": "0,0.4",
    "MASK_SEEDS": "1",
    "EXTRACT_FLAGS": "--visual none --workers 1",
    "TRAIN_FLAGS": "--max-epochs 1",
}


@pytest.fixture(scope="module")
def damaged_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of twelve utterances, one clip of which is no clip."""
    folder = tmp_path_factory.mktemp("batch") / "corpus"
    make_demo(folder, n_utterances=12, seed=1, workers=1)
    with open(folder / "manifest.csv", newline="") as file:
        first = next(csv.DictReader(file))
    (folder / first["media"]).write_bytes(b"not a clip at all" * 100)
    return folder / "manifest.csv"


def test_goes_on_without_a_broken_clip_and_then_keeps_everything(
    damaged_manifest: Path, tmp_path: Path, script: Callable[..., Finished]
) -> None:
    out = tmp_path / "out"
    done = script("batch.sh", damaged_manifest, out, **SMALL)
    assert done.returncode == 3, done.stderr
    assert "finished with failures" in done.stderr
    for seed in (0, 1):
        run = out / "runs" / f"mixed-seed{seed}"
        assert (run / "metrics.json").is_file()
        assert (run / "eval" / "metrics.json").is_file()
    assert "mixed" in (out / "report.md").read_text()
    assert (out / "report.html").is_file()
    assert (out / "log.jsonl").stat().st_size > 0
    again = script("batch.sh", damaged_manifest, out, **SMALL)
    assert again.returncode == 3, "what failed in the first call is not forgotten"
    assert "kept as it is" in again.stderr


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("missing.csv", "out"), 4)])
def test_stops_with_the_exit_code_of_what_failed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: Callable[..., Finished],
    arguments: tuple[str, ...],
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = script("batch.sh", *arguments)
    assert done.returncode == code, done.stderr
    assert not list(tmp_path.glob("out/runs/*"))
