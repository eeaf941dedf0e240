"""Selection looks at the validation part alone; stages restore what was best; what cannot be learnt is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imer.batches.corpus import Corpus
from imer.batches.splits import Split
from imer.core.errors import InvalidInput, UsageError
from imer.masks.make import draw_mask
from imer.metrics.compute import SELECTION_METRIC, sign_of
from imer.training.build import class_weight, model_spec
from imer.training.fold_data import SharedData
from imer.training.gradients import gradient_shares
from imer.training.loop import FoldTrainer
from imer.training.masks import Masks
from imer.training.repeatable import repeatable
from imer.training.selection import selecting_metric, selection
from imer.training.settings_layers import load_settings
from tests.batches.small import small_corpus
from tests.training.small import QUICK

CPU = torch.device("cpu")


def _learnable(task: str, seed: int = 0) -> Corpus:
    corpus = small_corpus([5] * 16, task=task, seed=seed)
    rng = np.random.default_rng(seed)
    for width, values in zip(corpus.modalities.values(), corpus.features.values(), strict=True):
        signal = corpus.target_N[:, None] * rng.normal(size=(1, width))
        values[:] = signal + rng.normal(size=values.shape)
    return corpus


def _split(corpus: Corpus) -> Split:
    number = np.array([int(d[1:]) for d in corpus.dialogue_ids])
    return Split("", *(np.flatnonzero(part) for part in (number < 10, (number >= 10) & (number < 13), number >= 13)))


def _trained(corpus: Corpus, *more: str) -> FoldTrainer:
    settings = load_settings(assignments=[*QUICK, *more])
    with repeatable(CPU):
        trainer = FoldTrainer(corpus, _split(corpus), settings, Masks(corpus, settings.train), CPU)
        trainer.run(lambda _: None)
    return trainer


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_selected_weights_are_those_of_the_best_epoch_on_validation(task: str) -> None:
    trainer = _trained(_learnable(task), "train.max_epochs_joint=16")
    log = [record for record in trainer.progress.log if record["stage"] == "joint"]
    key = SELECTION_METRIC[task]
    scores = [record["val"][key] if task == "classification" else -record["val"][key] for record in log]
    assert trainer.progress.best.epoch == log[int(np.argmax(scores))]["epoch"]
    with repeatable(CPU):
        again, *_ = trainer.validation_metrics("joint")
    assert again == trainer.progress.best.metrics
    assert scores[-1] > scores[0]  # it learns


def _otherwise(corpus: Corpus, rows: np.ndarray) -> Corpus:
    """Return a corpus of which these rows have other features, other labels, and less that is present."""
    features = {name: values.copy() for name, values in corpus.features.items()}
    present, target = corpus.present_NM.copy(), corpus.target_N.copy()
    present[rows[::2], 0] = False
    for values in features.values():
        values[rows] = 50.0 * values[rows] + 7.0
    target[rows] = np.random.default_rng(1).permutation(target[rows])
    return replace(corpus, features=features, present_NM=present, target_N=target)


@pytest.mark.parametrize("within", [[], ["data.within_speaker=all"]])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_nothing_of_the_test_part_is_learnt(task: str, within: list[str]) -> None:
    """No label chooses an epoch, and no feature enters a weight, the standardisation, or what is known of a speaker."""
    corpus = _learnable(task)
    everywhere = np.array([f"s{int(dialogue[1:]) % 3}" for dialogue in corpus.dialogue_ids], dtype=object)
    corpus = replace(corpus, speakers=everywhere)
    one, other = _trained(corpus, *within), _trained(_otherwise(corpus, _split(corpus).test), *within)
    assert one.progress.log == other.progress.log
    weights = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    for name in corpus.modalities:
        assert np.array_equal(one.data.scaler.centre[name], other.data.scaler.centre[name])
        assert np.array_equal(one.data.scaler.spread[name], other.data.scaler.spread[name])


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_what_is_measured_beforehand_is_of_the_training_part(task: str) -> None:
    """The standardisation, the weights of the classes, and the centre, spread and range of the values."""
    corpus = _learnable(task)
    changed = _otherwise(corpus, np.concatenate([_split(corpus).val, _split(corpus).test]))
    if task == "regression":
        changed.target_N[_split(corpus).val] *= 9.0
    else:
        changed.target_N[_split(corpus).val] = 0
    settings = load_settings(assignments=[*QUICK])
    shared = [
        SharedData.of(which, _split(which).train, "", Masks(which, settings.train), settings, CPU)
        for which in (corpus, changed)
    ]
    assert shared[0].spec == shared[1].spec
    for name in corpus.modalities:
        assert np.array_equal(shared[0].scaler.centre[name], shared[1].scaler.centre[name])
        assert np.array_equal(shared[0].scaler.spread[name], shared[1].scaler.spread[name])


def test_the_joint_stage_starts_from_each_modalitys_best_epoch() -> None:
    corpus = _learnable("classification")
    settings = load_settings(assignments=[*QUICK, "train.max_epochs_branches=6", "train.learning_rate=0.02"])
    with repeatable(CPU):
        trainer = FoldTrainer(corpus, _split(corpus), settings, Masks(corpus, settings.train), CPU)
        # End the first stage by hand: its best states are then in place, before any step of the second.
        while trainer.progress.stage == 0:
            if trainer.progress.epoch < 6:
                trainer._epoch()
            else:
                trainer._end_stage()
        _, branches, _ = trainer.validation_metrics("branches")
    bests = trainer.progress.branch_best
    assert {name: best.metrics for name, best in bests.items()} == branches
    assert len({best.epoch for best in bests.values()} | {6}) > 1  # else the test could not tell


def test_stage_1_can_be_left_out() -> None:
    trainer = _trained(_learnable("regression"), "model.stage1=false")
    assert {record["stage"] for record in trainer.progress.log} == {"joint"}
    assert not trainer.progress.branch_best


def test_early_stopping_waits_for_its_patience() -> None:
    trainer = _trained(
        _learnable("regression"), "train.max_epochs_joint=60", "train.patience=2", "train.learning_rate=0.05"
    )
    joint = [record for record in trainer.progress.log if record["stage"] == "joint"]
    assert len(joint) == trainer.progress.best.epoch + 2 < 60


def test_a_stage_of_branches_goes_on_while_any_of_them_improves() -> None:
    """Audio gets better in one epoch, text in the next, the other nowhere; none may lose what it still learns."""
    corpus, key = _learnable("classification"), SELECTION_METRIC["classification"]
    settings = load_settings(assignments=[*QUICK, "train.max_epochs_branches=6", "train.patience=1"])
    with repeatable(CPU):
        trainer = FoldTrainer(corpus, _split(corpus), settings, Masks(corpus, settings.train), CPU)
        names = list(corpus.modalities)

        def scores(stage: str) -> tuple[dict[str, float], dict[str, dict[str, float]], dict[str, float]]:
            epoch = trainer.progress.epoch
            steps = ((epoch + 1) // 2, epoch // 2, *[0] * (len(names) - 2))
            return {key: 0.5}, {name: {key: 0.1 * step} for name, step in zip(names, steps, strict=True)}, {}

        trainer.validation_metrics = scores
        trainer.run(lambda _: None)
    epochs = [record["epoch"] for record in trainer.progress.log if record["stage"] == "branches"]
    assert epochs == [1, 2, 3, 4, 5, 6]
    assert [trainer.progress.branch_best[name].epoch for name in names[:2]] == [5, 6]


def test_a_stage_starts_from_branches_without_dropout() -> None:
    corpus = _learnable("classification")
    settings = load_settings(assignments=[*QUICK, "model.bank_start=kmeans"])
    banks = []
    with repeatable(CPU):
        trainer = FoldTrainer(corpus, _split(corpus), settings, Masks(corpus, settings.train), CPU)
        trainer.progress.stage = 1
        for seed in (0, 1):
            trainer.model.train()
            torch.manual_seed(seed)
            trainer._introduce_stage()
            banks.append(trainer.model.prototypes.bank.detach().clone())
    assert torch.equal(*banks)


def test_the_last_stage_starts_from_what_the_first_one_learnt() -> None:
    corpus = _learnable("classification")
    normal, kmeans = (_trained(corpus, f"model.bank_start={start}") for start in ("normal", "kmeans"))
    joint = len([record for record in normal.progress.log if record["stage"] == "branches"])
    assert normal.progress.log[:joint] == kmeans.progress.log[:joint]
    assert normal.progress.log[joint]["loss"] != kmeans.progress.log[joint]["loss"]


def test_a_loss_that_is_not_finite_is_an_error_that_says_so() -> None:
    corpus = _learnable("regression")
    with pytest.raises(UsageError, match=r"The loss became (nan|inf) in epoch \d+ of stage .*learning_rate"):
        _trained(
            corpus,
            "train.learning_rate=1e30",
            "train.clip_norm=0",
            "train.average_epochs=0",
            "train.max_epochs_branches=20",
        )


def test_labels_that_do_not_vary_and_modalities_that_are_nowhere() -> None:
    corpus = small_corpus([5] * 8, modalities={"audio": 2, "text": 2, "visual": 2})
    rows = np.arange(20)
    same = replace(corpus, target_N=np.where(corpus.target_N >= 0, 1, -1))
    with pytest.raises(InvalidInput, match="have the emotion 'b'; there is nothing to tell apart"):
        model_spec(same, rows, "none")
    with pytest.raises(InvalidInput, match=r"of fold b have .* Choose other folds"):
        model_spec(same, rows, "none", "b")
    values = replace(corpus, task="regression", target_N=np.full(corpus.n, 2.5), class_names=())
    with pytest.raises(InvalidInput, match=r"have the emotion '2\.5'"):
        model_spec(values, rows, "none")
    present = corpus.present_NM.copy()
    present[:20, 1] = False
    with pytest.raises(InvalidInput, match=r"text is not present in any training utterance.*--modalities audio,visual"):
        model_spec(replace(corpus, present_NM=present), rows, "none")


def test_class_weights_average_to_1_over_the_data() -> None:
    count = np.array([80, 15, 5, 0])
    for kind in ("sqrt", "balanced"):
        weights = np.array(class_weight(count, kind))
        assert (weights[:3] * count[:3]).sum() / 100 == pytest.approx(1.0)
        assert weights[0] < weights[1] < weights[2]
    assert np.array(class_weight(count, "balanced"))[:3] * count[:3] == pytest.approx([100 / 3] * 3)
    assert np.array(class_weight(count, "sqrt"))[1:3] @ [np.sqrt(15), -np.sqrt(5)] == pytest.approx(0.0)
    assert class_weight(count, "none") is None


def test_the_log_says_which_modality_the_gradient_went_to() -> None:
    trainer = _trained(_learnable("classification"), "train.max_epochs_joint=2")
    for record in trainer.progress.log:
        shares = record["gradient_share"]
        assert set(shares) == set(trainer.spec.modalities)
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-5)
        assert min(shares.values()) > 0
    last = trainer.progress.log[-1]
    assert set(last["val_branches"]) == set(last["val_weights"]) == set(trainer.spec.modalities)
    assert 0.0 < last["missing_rate"] < 1.0
    assert 0.0 <= last["regulated"] <= 1.0
    assert "regulated" not in trainer.progress.log[0]  # the first stage has no prompts
    for parameter in trainer.model.encoder.enter.audio.parameters():
        parameter.grad *= 0.0
    assert gradient_shares(trainer.model, list(trainer.spec.modalities))["audio"] == 0.0


def test_choosing_on_the_test_part_is_possible_and_says_so() -> None:
    trainer = _trained(_learnable("classification"), "train.select=test_best", "train.max_epochs_joint=5")
    scores = [record["val"]["wa"] for record in trainer.progress.log if record["stage"] == "joint"]
    assert trainer.progress.best.score == max(scores)
    assert trainer.progress.best.epoch == 1 + scores.index(max(scores))
    tested = set(np.concatenate([t.ravel() for t in trainer.data.val_tables]).tolist()) - {-1}
    assert tested == set(trainer.data.split.test.tolist())
    masks = []
    for trainer.progress.epoch in (1, 2):
        (judged,) = trainer._judged_under()
        assert set(np.flatnonzero(judged.observed_NM.any(axis=1))) == tested
        masks.append(judged.observed_NM)
    assert not np.array_equal(*masks)  # redrawn every epoch
    said = selection(3, {"wa": 0.5, "ua": 0.4}, "wa", "test_best")
    assert said == {"epoch": 3, "metric": "wa", "value": 0.5, "on": "test"}


def test_ratings_are_never_chosen_by_the_side_of_0_on_which_they_all_are() -> None:
    sentiment, ratings = _learnable("regression"), _learnable("regression")
    sentiment.target_N[:] = np.clip(sentiment.target_N, -3, 3)
    ratings.target_N[:] += 20.0
    glad = replace(
        sentiment, target_N=sentiment.target_N.copy()
    )  # one fold that learns from one side is chosen as the others
    glad.target_N[_split(glad).train] = np.abs(glad.target_N[_split(glad).train]) + 0.1
    for corpus, metric in ((sentiment, "f1_non0"), (glad, "f1_non0"), (ratings, "mae")):
        trainer = _trained(corpus, "train.select=test_best", "train.max_epochs_joint=5")
        assert selecting_metric("regression", "test_best", corpus.target_N) == metric
        assert selecting_metric("regression", "val", corpus.target_N) == SELECTION_METRIC["regression"]
        scores = [
            sign_of(metric) * record["val"][metric] for record in trainer.progress.log if record["stage"] == "joint"
        ]
        assert trainer.progress.best.epoch == 1 + int(np.argmax(scores))
    assert {record["val"]["f1_non0"] for record in trainer.progress.log if record["stage"] == "joint"} == {1.0}


def test_the_optimiser_is_new_in_each_stage_unless_it_is_carried_over() -> None:
    corpus = _learnable("classification")
    one_stage = _trained(corpus).optimiser
    carried = _trained(corpus, "train.carry_optimiser=true", "train.average_epochs=0").optimiser
    assert one_stage is not None
    assert carried is not None
    assert carried.steps > one_stage.steps


def test_bfloat16_trains_repeatably_and_validates_in_float32() -> None:
    corpus = _learnable("classification")
    exact, reduced, again = (
        _trained(corpus, f"train.precision={name}", "train.max_epochs_joint=8")
        for name in ("float32", *["bfloat16"] * 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(reduced.model.parameters(), again.model.parameters(), strict=True))
    assert not torch.equal(reduced.model.head.mix.weight, exact.model.head.mix.weight)
    with repeatable(CPU):
        # Plain answers, outside of any training: what evaluation will say.
        assert reduced.validation_metrics("joint")[0] == reduced.progress.best.metrics
    key = SELECTION_METRIC["classification"]
    assert abs(reduced.progress.best.metrics[key] - exact.progress.best.metrics[key]) < 0.15


@pytest.mark.parametrize("protocol", ["matched-static", "pattern", "table"])
def test_what_is_hidden_for_good_is_never_seen(protocol: str, tmp_path: Path) -> None:
    """Not by another stage, not by another member, not in the standardisation, not where prototypes start."""
    corpus = _learnable("classification")
    asked = {"matched-static": ["train.missing_rate=0.5"], "pattern": ["train.pattern=a"], "table": []}[protocol]
    if protocol == "table":
        names = tuple(corpus.modalities)
        table = draw_mask(corpus.present_NM, corpus.utterance_ids.tolist(), names, protocol="exact", rate=0.5)
        table.write(tmp_path / "mask.h5")
        asked = [f"train.mask={tmp_path / 'mask.h5'}"]
    asked += [f"train.protocol={protocol}", "run.head=dpl", "model.bank_start=kmeans"]
    settings = load_settings(assignments=[*QUICK, *asked])
    split = _split(corpus)
    once = Masks(corpus, settings.train).once(split.train, "")
    assert once is not None
    hidden = np.zeros_like(once)
    hidden[split.train] = corpus.present_NM[split.train] & ~once[split.train]
    assert hidden.any()
    wild = {
        name: np.where(hidden[:, column, None], np.float32(1e4), values)
        for column, (name, values) in enumerate(corpus.features.items())
    }
    for member in (0, 1):
        logs, weights = [], []
        for features in (corpus.features, wild):
            seen = replace(corpus, features=features)
            with repeatable(CPU):
                trainer = FoldTrainer(seen, split, settings, Masks(seen, settings.train), CPU, member=member)
                trainer.run(lambda _: None)
            logs.append(trainer.progress.log)
            weights.append(trainer.model.state_dict())
        assert logs[0] == logs[1]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_branch_that_validation_never_sees_keeps_its_last_epoch() -> None:
    corpus = _learnable("classification")
    present = corpus.present_NM.copy()
    present[_split(corpus).val, 1] = False
    trainer = _trained(replace(corpus, present_NM=present))
    names = list(corpus.modalities)
    best = trainer.progress.branch_best
    assert best[names[1]].epoch == max(r["epoch"] for r in trainer.progress.log if r["stage"] == "branches")
    assert not math.isfinite(best[names[1]].score)
    assert math.isfinite(best[names[0]].score)
