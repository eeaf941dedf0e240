"""Which fold is exported, what is refused, and that nothing half-made or wrong is left behind."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from imer.core.errors import ImerError, InvalidInput, OutputExists, UsageError
from imer.core.files import read_json
from imer.export import publish
from imer.export.chosen import choose_fold
from imer.export.publish import Exported, export
from imer.training.run_folder import RunFolder
from imer.training.train import train
from tests.export.conftest import Shipped
from tests.shipped import train_small
from tests.stores import write_small_store


def test_the_fold_that_was_best_on_validation_is_the_default(regressor: Shipped) -> None:
    folds = RunFolder.open(regressor.run).folds
    best = min(folds, key=lambda fold: fold.val["mae"] or float("inf"))
    assert choose_fold(folds, None).name == best.name
    assert choose_fold(folds, folds[2].name).name == folds[2].name
    assert choose_fold(folds, f"fold-{folds[1].name}").name == folds[1].name


def test_a_fold_that_is_not_there_is_named(regressor: Shipped, classifier: Shipped, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no fold '7'; valid names: 0, 1, 2"):
        export(regressor.run, tmp_path / "b", fold="7")
    with pytest.raises(UsageError, match="what is exported is a single model"):
        export(regressor.run, tmp_path / "b", fold="all")
    with pytest.raises(UsageError, match="single model, without folds"):
        export(classifier.run, tmp_path / "b", fold="0")


def test_a_bundle_of_a_fold_says_so(regressor: Shipped, tmp_path: Path) -> None:
    said: list[str] = []
    made = export(regressor.run, tmp_path / "b", notice=said.append)
    assert said == [f"exporting fold {made.fold} of 3: the best on its validation part."]
    record = read_json(tmp_path / "b" / "bundle.json")
    assert (record["fold"], record["n_folds"]) == (made.fold, 3)
    assert record["utterances"]["train"] + record["utterances"]["val"] + record["utterances"]["test"] == 120


def test_an_export_that_answers_differently_is_not_published(
    classifier: Shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights that reach the bundle are off by a little: the comparison must find it, and leave nothing."""
    write = publish.write_bundle

    def write_wrong(folder: Path, fold: Any, *rest: Any) -> None:
        wrong = copy.deepcopy(fold)
        with torch.no_grad():
            for parameter in wrong.model.parameters():
                parameter.mul_(1.0 + 1e-3)
        write(folder, wrong, *rest)

    monkeypatch.setattr(publish, "write_bundle", write_wrong)
    with pytest.raises(ImerError, match=r"The bundle differs from the model by .* nothing was published"):
        export(classifier.run, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_not_overwritten_unless_asked(classifier: Shipped, bundle: Path, classifier_onnx: Exported) -> None:
    path = classifier_onnx.outputs[0]
    with pytest.raises(OutputExists, match="bundle exists already"):
        export(classifier.run, bundle)
    with pytest.raises(OutputExists, match="is a folder; name the file to write"):
        export(classifier.run, bundle, "onnx", overwrite=True)
    with pytest.raises(OutputExists, match="is a file, but a bundle is a folder"):
        export(classifier.run, path, "bundle", overwrite=True)
    with pytest.raises(OutputExists, match=r"onnx exists already"):
        export(classifier.run, path, "onnx")
    before = bundle.stat().st_ino
    assert export(classifier.run, bundle, overwrite=True).parity.max_abs_difference == 0.0
    assert bundle.stat().st_ino != before


def test_overwrite_deletes_nothing_but_a_bundle(classifier: Shipped, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("the only copy")
    with pytest.raises(OutputExists, match="is a folder, but not a bundle"):
        export(classifier.run, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_what_is_no_run_is_refused(classifier: Shipped, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a run folder"):
        export(tmp_path, tmp_path / "b")
    with pytest.raises(UsageError, match="There is no export format 'onx'; did you mean 'onnx'"):
        export(classifier.run, tmp_path / "b", "onx")
    with pytest.raises(UsageError, match="is a bundle already"):
        export(bundle, tmp_path / "b")


def test_figures_of_an_epoch_that_was_chosen_on_the_test_part_are_never_called_validation(tmp_path: Path) -> None:
    run, _ = train_small(
        tmp_path, label="emotion", model="mlp", folds="take", settings=("train.select=test_best", "train.members=1")
    )
    folds = RunFolder.open(run).folds
    said: list[str] = []
    made = export(run, tmp_path / "b", notice=said.append)
    assert made.optimistic
    assert made.fold == folds[0].name  # none may be chosen by its test score
    assert said == [f"exporting fold {made.fold} of 3: the first."]
    card = (tmp_path / "b" / "README.md").read_text()
    record = read_json(tmp_path / "b" / "bundle.json")
    assert record["optimistic"] is True
    assert "validation" not in card
    assert "on the test part: **all figures of it are optimistic**" in card
    assert f"| test, at the selected epoch, which was chosen on it | {record['labelled']['test']} |" in card


def test_the_card_says_how_much_was_missing(tmp_path: Path) -> None:
    asked = ("train.protocol=imbalanced", "train.missing_rate=audio=0.6,text=0.7", "train.members=1")
    run, _ = train_small(tmp_path, label="emotion", model="majority", settings=asked)
    export(run, tmp_path / "b")
    card = (tmp_path / "b" / "README.md").read_text()
    realised = read_json(run / "metrics.json")["test"][0]["realised_rate"]
    assert realised > 0.4
    assert f"test, missing rate imbalanced, {realised:.3f} realised" in card
    assert "as the data are" not in card


def test_members_that_left_out_other_utterances_are_counted_together(tmp_path: Path) -> None:
    run, _ = train_small(tmp_path, label="emotion", model="mlp", folds="take")
    (fold, *_), metrics = RunFolder.open(run).folds, read_json(run / "metrics.json")
    counts = metrics["folds"][0]["utterances"]
    assert len(fold.train_ids) > counts["train"]
    export(run, tmp_path / "b", fold=fold.name)
    card = (tmp_path / "b" / "README.md").read_text()
    assert (
        f"{len(fold.train_ids)} (by all members together; each leaves out about {counts['val']} of them) train" in card
    )
    assert "validation, mean of the members, each on a part of its own" in card


@pytest.mark.parametrize(("preset", "format"), [("comp-paper", "onnx"), ("comp-official", "torch-export")])
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_published_designs_say_how_many_utterances_they_take(tmp_path: Path, preset: str, format: str) -> None:
    store, few = write_small_store(tmp_path / "f.h5"), ["model.hidden=16", "train.threads=1"]
    flags = {"data": {"label": "emotion"}, "train": {"device": "cpu", "max_epochs_branches": 1, "max_epochs_joint": 1}}
    train(store, tmp_path / "run", preset=preset, flags=flags, assignments=[*few, "model.longest_dialogue=40"])
    made = export(tmp_path / "run", tmp_path / "model", format)
    about = read_json(made.outputs[1])
    assert about["most_utterances"] == 40
    assert about["parity"]["max_abs_difference"] <= about["parity"]["tolerance"] == 1e-4
