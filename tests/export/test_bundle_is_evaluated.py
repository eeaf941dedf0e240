"""A bundle is measured on somebody's own data as the run is that it was exported from."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from imer.cli.app import app
from imer.comparison.evaluated_run import read_run
from imer.comparison.methods import group_methods
from imer.comparison.report import write_report
from imer.core.errors import InvalidInput
from imer.evaluation.evaluate import evaluate
from imer.export.bundle import bundle_subject
from imer.store.verify import verify_any
from tests.export.conftest import Shipped
from tests.stores import write_small_store

QUICKLY = {
    "missing_rate": "0,0.5",
    "pattern": "all",
    "mask_seeds": 2,
    "replicates": 50,
    "plots": False,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("others") / "others.h5", seed=7, prefix="new_", n_dialogues=10)


def _eval(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_it_has_the_results_of_its_run(classifier: Shipped, bundle: Path, others: Path, tmp_path: Path) -> None:
    of_run = evaluate(classifier.run, others, out=tmp_path / "run", **QUICKLY)
    of_bundle = evaluate(bundle_subject(bundle), others, out=tmp_path / "bundle", **QUICKLY)
    assert of_bundle.results == of_run.results
    assert of_bundle.diagnostics["calibration"] == of_run.diagnostics["calibration"]
    assert (of_bundle.run["seed"], of_bundle.run["selected"]) == (of_run.run["seed"], of_run.run["selected"])
    assert of_bundle.baseline == of_run.baseline  # it knows the constant answer of its training
    assert of_bundle.baseline["metrics"] is not None
    assert any("see to it that none is among these" in one for one in of_bundle.warnings)
    assert not any("see to it" in one for one in of_run.warnings)
    write_report([tmp_path / "bundle"], tmp_path / "report.md")
    assert "best ua on val" in (tmp_path / "report.md").read_text()
    assert verify_any(bundle)[0] == "folder"  # nothing was written into it
    # Beside its run it is told apart by its folder, and not by the settings that a bundle does not know.
    methods = group_methods([read_run(tmp_path / "run"), read_run(tmp_path / "bundle")])
    assert [one.name for one in methods] == [f"comp [{classifier.run.name}]", f"comp [{bundle.name}]"]


def test_on_the_store_of_its_training_it_is_refused(classifier: Shipped, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not know which of its utterances it learnt from"):
        evaluate(bundle_subject(bundle), classifier.store, out=tmp_path / "eval", **QUICKLY)
    assert not (tmp_path / "eval").exists()


def test_from_the_shell(bundle: Path, others: Path, tmp_path: Path) -> None:
    inside = [bundle, others, "-o", bundle / "eval"]
    for lacking in ([bundle], [bundle, others], [bundle, "-o", tmp_path / "eval"], inside):
        done = _eval(*lacking)
        assert (done.exit_code, "FEATURES.h5 -o DIR" in done.stderr) == (2, True)
    done = _eval(bundle, others, "-o", tmp_path / "eval", "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "eval" / "confusion.png").is_file()
