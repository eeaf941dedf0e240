"""Evaluation of real, tiny runs from end to end."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imer.core.errors import InvalidInput, OutputExists, UsageError
from imer.core.files import read_json, write_json
from imer.core.folders import write_manifest
from imer.core.json_lines import read_json_lines
from imer.core.types import FeatureSpec, Utterance, Verdict
from imer.evaluation.bootstrap import intervals
from imer.evaluation.conditions import make_conditions
from imer.evaluation.evaluate import draw_masks, evaluate
from imer.evaluation.pooled import pooled_predictions
from imer.evaluation.results import Evaluation
from imer.evaluation.source import open_source
from imer.evaluation.subject import subject_of_run
from imer.masks.make import make_mask
from imer.metrics.compute import METRICS, classification_metrics, regression_metrics
from imer.metrics.tally import tally
from imer.store.reader import FeatureStore
from imer.store.writer import vector_block, write_store
from imer.training.run_folder import publish_digests
from imer.training.train import train
from tests.evaluation.tiny_runs import tiny_setting, train_tiny
from tests.stores import write_small_store

FAST = {"device": "cpu", "replicates": 200}
SWEEP = {"missing_rate": "0:0.6:0.2", "pattern": "all", **FAST}


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    return tiny_setting(tmp_path_factory)


@pytest.fixture(scope="module")
def swept(setting, tmp_path_factory):
    """Both runs evaluated over rates and patterns: name → (evaluation, folder)."""
    folder = tmp_path_factory.mktemp("swept")
    return {
        name: (evaluate(setting[name], out=folder / name, **SWEEP), folder / name) for name in ("classes", "values")
    }


def answers(folder: Path, **wanted):
    return [
        line for line in read_json_lines(folder / "predictions.jsonl") if all(line[k] == v for k, v in wanted.items())
    ]


@pytest.mark.parametrize("name", ["classes", "values"])
def test_the_data_as_they_are_give_the_metrics_of_the_run_itself(setting, swept, name):
    own = read_json(setting[name] / "metrics.json")["test"][0]
    evaluation, _ = swept[name]
    first = evaluation.results[0]
    assert own["missing_rate"] in (None, 0, 0.0)
    assert (first.missing_rate, first.n) == (0.0, own["n"])
    for metric, value in own["metrics"].items():
        assert first.metrics[metric] == pytest.approx(value, abs=1e-5), metric


def test_utterances_that_are_left_with_nothing_are_counted_and_told(swept):
    evaluation, folder = swept["values"]
    for one in evaluation.patterns():
        lines = answers(folder, protocol="pattern", pattern=one.pattern)
        assert one.without_any == sum(not line["observed"] for line in lines)
    most = max(one.without_any for one in evaluation.patterns())
    assert most >= 1
    said = f"up to {most:g} of {len(lines)} utterances have no observed modality"
    assert any(said in warning for warning in evaluation.warnings)


@pytest.mark.parametrize("name", ["classes", "values"])
def test_every_metric_can_be_recomputed_from_the_predictions(swept, name):
    evaluation, folder = swept[name]
    for one in evaluation.results:
        wanted = {"protocol": one.protocol, "missing_rate": one.missing_rate, "pattern": one.pattern}
        lines = [line for line in answers(folder, mask_seed=one.mask_seed, **wanted) if line["label"] is not None]
        assert len(lines) == one.n
        if evaluation.class_names:
            target, predicted = (
                np.array([evaluation.class_names.index(line[key]) for line in lines]) for key in ("label", "prediction")
            )
            expected = classification_metrics(target, predicted, len(evaluation.class_names))
            assert all(
                max(line["probabilities"], key=line["probabilities"].get) == line["prediction"] for line in lines
            )
        else:
            target, predicted = (np.array([line[key] for line in lines]) for key in ("label", "prediction"))
            expected = regression_metrics(target, predicted)
        assert one.metrics == {
            metric: None if value is None else pytest.approx(value, abs=1e-9) for metric, value in expected.items()
        }


def test_intervals_draw_whole_dialogues(swept):
    evaluation, folder = swept["classes"]
    classes = evaluation.class_names
    for one in (evaluation.summary[0], evaluation.patterns()[0]):
        lines = answers(folder, protocol=one.protocol, missing_rate=one.missing_rate, pattern=one.pattern)
        dialogues, group_N = np.unique([line["dialogue_id"] for line in lines], return_inverse=True)
        assert evaluation.counts["dialogues"] == len(dialogues) < len(lines)
        target_N = np.array([-1 if line["label"] is None else classes.index(line["label"]) for line in lines])
        predicted_N = np.array([classes.index(line["prediction"]) for line in lines])
        by_dialogue = tally(target_N, predicted_N, group_N, len(dialogues), len(classes))
        expected = intervals([by_dialogue], n_replicates=FAST["replicates"])
        for metric, summary in one.metrics.items():
            assert (summary.ci_low, summary.ci_high) == pytest.approx(expected[metric])


def test_masks_hit_their_rate_and_are_nested(swept):
    _, folder = swept["values"]
    previous = None
    for rate in (0.2, 0.4, 0.6):
        lines = answers(folder, missing_rate=rate, mask_seed=3)
        observed = {(line["utterance_id"], m) for line in lines for m in line["observed"]}
        assert len(observed) == round(len(lines) * 3 * (1 - rate))
        assert {name for name, _ in observed} == {line["utterance_id"] for line in lines}
        assert previous is None or observed < previous
        previous = observed


def test_rates_have_a_result_per_mask_and_rate_zero_has_one(swept):
    evaluation, _ = swept["classes"]
    masks = {one.name: one.n_masks for one in evaluation.summary}
    assert masks == {"0": 1, "0.2": 5, "0.4": 5, "0.6": 5, **dict.fromkeys(["a", "t", "v", "at", "av", "tv", "atv"], 1)}
    seeds = [one.mask_seed for one in evaluation.results if one.missing_rate == 0.4]
    assert seeds == [0, 1, 2, 3, 4]
    half = next(one for one in evaluation.summary if one.missing_rate == 0.4)
    values = [one.metrics["ua"] for one in evaluation.results if one.missing_rate == 0.4]
    assert half.metrics["ua"].mean == pytest.approx(np.mean(values))
    assert half.metrics["ua"].sd == pytest.approx(np.std(values, ddof=1))
    assert half.metrics["ua"].ci_low <= half.metrics["ua"].mean <= half.metrics["ua"].ci_high


def test_a_pattern_shows_only_its_modalities(swept):
    _, folder = swept["classes"]
    seen = {m for line in answers(folder, pattern="av") for m in line["observed"]}
    assert seen == {"audio", "visual"}
    whole = [(line["utterance_id"], line["prediction"]) for line in answers(folder, pattern="atv")]
    assert whole == [(line["utterance_id"], line["prediction"]) for line in answers(folder, missing_rate=0.0)]


def test_folds_are_pooled_and_shown_one_by_one(swept):
    evaluation, _ = swept["values"]
    assert evaluation.counts["folds"] == 3
    assert evaluation.counts["utterances"] == 120
    for one in evaluation.summary:
        assert sum(fold["n"] for fold in one.folds) == one.n == evaluation.counts["labelled"]
    # MAE is a mean over utterances, so the pooled value is the weighted mean of the folds.
    first = evaluation.summary[1]
    weighted = sum(fold["n"] * fold["metrics"]["mae"] for fold in first.folds) / first.n
    assert first.metrics["mae"].mean == pytest.approx(weighted)


def test_unlabelled_utterances_are_context_and_not_counted(swept):
    evaluation, folder = swept["classes"]
    lines = answers(folder, missing_rate=0.0)
    assert evaluation.counts["utterances"] == len(lines) > evaluation.counts["labelled"]
    assert sum(line["label"] is not None for line in lines) == evaluation.counts["labelled"]


def majority_of(path):
    """Return the index of the most frequent class of the training part."""
    with FeatureStore.open(path) as store:
        values = store.labels["emotion"].values
        return int(np.bincount(values[(store.splits == "train") & (values >= 0)]).argmax())


@pytest.mark.parametrize(("split", "why"), [("train", "learnt from these"), ("val", "chosen on these")])
def test_figures_of_its_own_training_are_marked(setting, tmp_path, split, why):
    found = evaluate(setting["classes"], split=split, out=tmp_path / "out", **FAST)
    assert found.run["optimistic"]
    assert any(why in warning for warning in found.warnings)
    several = evaluate(setting["values"], split=split, out=tmp_path / "folds", **FAST)
    assert several.run["optimistic"]
    assert any("several of the 3 folds answer the same" in warning for warning in several.warnings) == (
        split == "train"
    )


def test_an_older_run_has_a_baseline_where_all_its_training_is_there(setting, tmp_path):
    run = shutil.copytree(setting["classes"], tmp_path / "run")
    values = read_json(run / "checkpoint" / "checkpoint.json")
    del values["constant_answer"]
    write_json(run / "checkpoint" / "checkpoint.json", values)
    write_manifest(run / "checkpoint", [p.name for p in (run / "checkpoint").iterdir() if p.name != "manifest.json"])
    publish_digests(run, [""])
    here = evaluate(run, setting["store"], out=tmp_path / "a", **FAST)
    assert here.baseline == evaluate(setting["classes"], out=tmp_path / "b", **FAST).baseline
    elsewhere = evaluate(run, other_store(tmp_path / "new.h5"), out=tmp_path / "c", **FAST)
    assert elsewhere.baseline["metrics"] is None


def test_the_baseline_comes_from_the_training_labels(setting, swept):
    evaluation, _ = swept["classes"]
    with FeatureStore.open(setting["store"]) as store:
        label, splits = store.labels["emotion"], store.splits
    test = label.values[(splits == "test") & (label.values >= 0)]
    majority = majority_of(setting["store"])
    assert evaluation.baseline["metrics"]["wa"] == pytest.approx(np.mean(test == majority))
    values = swept["values"][0].baseline["metrics"]
    assert values["corr"] is None
    assert values["mae"] > 0


def test_the_range_of_labels_is_of_those_learnt_from_and_those_judged(setting, swept, tmp_path):
    with FeatureStore.open(setting["store"]) as store:
        label = store.labels["sentiment"].values
    sentiment, folder = swept["values"]  # folds learn from all and are judged on all
    assert sentiment.label_range == pytest.approx([np.nanmin(label), np.nanmax(label)])
    assert list(sentiment.diagnostics["balance"]) == list(sentiment.headline) == ["acc2_non0", "mae"]
    assert Evaluation.read(folder / "metrics.json").label_range == pytest.approx(sentiment.label_range)
    assert swept["classes"][0].label_range is None
    ratings = write_small_store(tmp_path / "ratings.h5", prefix="new", sentiment_around=3.0)
    learnt = train_tiny(ratings, tmp_path / "learnt", "sentiment", "", "train.max_epochs_joint=1")
    own = evaluate(learnt, out=tmp_path / "own", pattern="all", **FAST)
    assert list(own.diagnostics["balance"]) == list(own.headline) == ["mae", "ccc"]
    assert own.label_range[0] > 0.0
    judged = evaluate(setting["values"], ratings, out=tmp_path / "judged", **FAST)
    assert judged.label_range[0] == pytest.approx(sentiment.label_range[0])
    assert judged.label_range[1] > 4.0
    assert judged.headline == ("mae", "ccc")
    for evaluation, is_told in ((sentiment, False), (own, True), (judged, True)):
        assert any("Acc-2" in warning for warning in evaluation.warnings) == is_told


def test_sentiment_of_which_only_one_side_is_judged_is_sentiment(setting, tmp_path):
    """What leads and what is warned of follow from the same range: that of all labels."""
    glad = write_small_store(tmp_path / "glad.h5", prefix="new", sentiment_around=1.5, sentiment_step=0.5)
    evaluation = evaluate(setting["values"], glad, out=tmp_path / "out", **FAST)
    judged = [line["label"] for line in answers(tmp_path / "out") if line["label"] is not None]
    assert 0.0 < min(judged) < max(judged) < 3.5
    assert evaluation.headline[0] == "acc2_non0"
    assert not any("Acc-2" in warning for warning in evaluation.warnings)


def test_the_diagnostics_belong_to_the_numbers(swept):
    evaluation, _ = swept["classes"]
    score = {one.name: one.metrics["ua"].mean for one in evaluation.patterns()}
    balance = evaluation.diagnostics["balance"]["ua"]
    assert balance["alone"] == {"audio": score["a"], "text": score["t"], "visual": score["v"]}
    assert balance["drop_one"]["text"] == pytest.approx(score["atv"] - score["av"])
    assert balance["worst_pattern"]["value"] == min(score.values())
    assert set(evaluation.diagnostics["branches"]) == {"audio", "text", "visual"}
    alone, pairs, all_three = evaluation.diagnostics["calibration"]
    assert (alone["observed"], pairs["observed"], all_three["observed"]) == (1, 2, 3)
    assert all(
        0 <= one["ece"] <= 1 and one["n"] == sum(b["n"] for b in one["bins"]) for one in (alone, pairs, all_three)
    )
    assert swept["values"][0].diagnostics["calibration"] == []
    weights = evaluation.summary[0].weights
    assert set(weights) == {"audio", "text", "visual"}
    lone = next(one for one in evaluation.patterns() if one.pattern == "a")
    assert not any(lone.weights.values())


def test_twice_the_same_evaluation_is_the_same_files(setting, tmp_path):
    options = {"missing_rate": "0,0.5", "pattern": "t", **FAST}
    for name in ("one", "two"):
        evaluate(setting["classes"], out=tmp_path / name, **options)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert {"metrics.json", "results.tsv", "predictions.jsonl", "curve.png", "patterns.png"} <= set(names)
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_predicting_all_masks_at_once_changes_no_answer(setting):
    source = open_source(subject_of_run(setting["values"], "cpu"), None, split="test")
    conditions = make_conditions(source.modalities, missing_rate="0.3,0.6", pattern="a")
    drawn, masks = draw_masks(source.corpus, source.rows, conditions, split="test", mask_seeds=2)
    assert [len(one.mask_index) for one in drawn] == [2, 2, 1]
    together = pooled_predictions(source.corpus, source.folds, masks)
    for index, mask in enumerate(masks):
        alone = [one.fold.predict(source.corpus, one.rows, mask).probabilities_NC for one in source.folds]
        assert np.abs(together.output_SPC[index] - np.concatenate(alone)).max() < 1e-5


def test_a_mask_file_gives_what_its_rate_and_seed_give(setting, swept, tmp_path):
    with FeatureStore.open(setting["store"]) as store:
        make_mask(store, "nested", rate=0.4, seed=2, split="test").write(tmp_path / "mask.h5")
    found = evaluate(setting["classes"], mask=tmp_path / "mask.h5", out=tmp_path / "out", **FAST).results
    drawn = [one for one in swept["classes"][0].results if (one.missing_rate, one.mask_seed) == (0.4, 2)]
    assert found[0].metrics == {name: pytest.approx(value) for name, value in drawn[0].metrics.items()}
    assert (len(found), found[0].mask_seed, found[0].realised_rate) == (1, 2, pytest.approx(drawn[0].realised_rate))


def test_a_mask_file_of_other_utterances_is_refused(setting, tmp_path):
    with FeatureStore.open(setting["store"]) as store:
        make_mask(store, "nested", rate=0.4, split="train").write(tmp_path / "mask.h5")
    with pytest.raises(InvalidInput, match="no row for"):
        evaluate(setting["classes"], mask=tmp_path / "mask.h5", out=tmp_path / "out", **FAST)


def test_a_rate_per_modality(setting, tmp_path):
    evaluate(setting["classes"], missing_rate="text=0.8", out=tmp_path / "out", **FAST)
    lines = answers(tmp_path / "out", mask_seed=0)
    shown = np.mean(["text" in line["observed"] for line in lines])
    assert shown == pytest.approx(0.2, abs=0.06)


def test_point_seven_means_two_thirds_with_three_modalities(setting, tmp_path):
    found = evaluate(setting["classes"], missing_rate=0.7, mask_seeds=2, out=tmp_path / "out", **FAST)
    assert found.summary[0].missing_rate == 0.7
    assert found.summary[0].realised_rate == pytest.approx(2 / 3, abs=0.01)
    assert {len(line["observed"]) for line in answers(tmp_path / "out")} == {1}


def test_a_grid_goes_as_far_as_it_can_be_reached(setting, tmp_path):
    found = evaluate(setting["classes"], missing_rate="0:0.9:0.3", pattern="at", out=tmp_path / "out", **FAST)
    assert [one.missing_rate for one in found.rate_curve()] == [0.0, 0.3, 0.6]
    assert [one.pattern for one in found.summary if one.pattern] == ["at"]
    assert any("0.9 of 0:0.9:0.3 cannot be reached" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing_rate": "0.9"}, "highest reachable rate here is 0.66"),
        ({"missing_rate": "0,0.3,0.9"}, "cannot be reached"),
        ({"pattern": "ax"}, "audio, text, visual"),
        ({"split": "dev"}, "train, val, test"),
        ({"mask_seeds": 0}, "1 … 1000"),
        ({"mask_seeds": 10**8}, "1 … 1000"),
        ({"protocol": "often", "missing_rate": "0.5"}, "nested"),
    ],
)
def test_impossible_wishes_are_usage_errors(setting, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        evaluate(setting["classes"], out=tmp_path / "out", **{**FAST, **options})
    assert not (tmp_path / "out").exists()


def test_other_splits_can_be_looked_at(setting, tmp_path):
    found = {
        split: evaluate(setting["values"], split=split, out=tmp_path / split, **FAST).counts
        for split in ("val", "train")
    }
    assert found["train"]["utterances"] > found["val"]["utterances"] > 0
    assert {line["split"] for line in answers(tmp_path / "val")} == {"val"}


def test_the_default_folder_is_replaced_and_others_are_kept(setting, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(setting["classes"], run)
    for rate in (0.0, 0.5):
        evaluate(run, missing_rate=rate, mask_seeds=1, **FAST)
    assert [one.missing_rate for one in Evaluation.read(run / "eval" / "metrics.json").summary] == [0.5]
    out = tmp_path / "out"
    out.mkdir()
    evaluate(run, out=out, **FAST)
    with pytest.raises(OutputExists, match="--overwrite"):
        evaluate(run, out=out, **FAST)
    evaluate(run, out=out, overwrite=True, **FAST)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not delete")
    with pytest.raises(OutputExists, match="choose another folder"):
        evaluate(run, out=tmp_path / "mine", overwrite=True, **FAST)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "do not delete"


def other_store(
    path: Path, *, prefix: str = "new", labels: bool = True, version: str = "1", visual: bool = True
) -> Path:
    """Write a store of other utterances with the features of the tiny one."""
    rng = np.random.default_rng(9)
    utterances = []
    for i in range(12):
        given = {"emotion": ["angry", "happy", "sad"][i % 3], "sentiment": f"{i % 5 - 2}"}
        given = given if labels else dict.fromkeys(given, "")
        utterances.append(
            Utterance(f"{prefix}_u{i}", f"{prefix}{i // 4}", i % 4, line=i + 2, row=i, split="test", labels=given)
        )
    widths = {"audio": 6, "text": 5, **({"visual": 4} if visual else {})}
    blocks = [
        vector_block(
            FeatureSpec(m, f"test/{m}", version if m == "text" else "1", "utterance", width),
            rng.normal(size=(12, width)),
            np.ones(12, bool),
        )
        for m, width in widths.items()
    ]
    write_store(path, utterances, blocks, {m: np.full(12, Verdict.ok) for m in widths}, provenance={})
    return path


def test_new_data_with_the_same_features(setting, tmp_path):
    store = other_store(tmp_path / "new.h5")
    found = evaluate(setting["classes"], store, out=tmp_path / "out", **FAST)
    assert found.counts["labelled"] == 12
    own = evaluate(setting["classes"], out=tmp_path / "own", **FAST)
    majority = majority_of(setting["store"])
    with FeatureStore.open(store) as opened:
        expected = np.mean(opened.labels["emotion"].values == majority)
    assert found.baseline["metrics"]["wa"] == pytest.approx(expected)  # what the training would have answered
    assert not any("optimistic" in warning for warning in own.warnings)
    assert any("not the store of the training" in warning for warning in found.warnings)


def test_new_data_with_ids_of_the_training_is_told(setting, tmp_path):
    """Rows are numbered from 0 in many arrays: new ones with old ids are not silently cut to the old test part."""
    path = write_small_store(tmp_path / "new.h5", n_dialogues=30, seed=5)
    found = evaluate(setting["classes"], path, out=tmp_path / "out", **FAST)
    (said,) = [warning for warning in found.warnings if "ids of the run" in warning]
    assert said.startswith(f"{found.counts['utterances']} of its 150 utterances are evaluated")
    path = write_small_store(tmp_path / "alike.h5", seed=5)
    found = evaluate(setting["classes"], path, out=tmp_path / "again", **FAST)
    assert not any("ids of the run" in warning for warning in found.warnings), "its test part is the run's"


def test_every_fold_answers_new_data_and_says_so(setting, tmp_path):
    path = write_small_store(tmp_path / "new.h5", n_dialogues=10, seed=5, prefix="new")
    found = evaluate(setting["values"], path, out=tmp_path / "out", **FAST)
    assert any("each of the 3 folds answers all" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "2"}, r"text features .* were not made as those"),
        ({"visual": False}, "visual is missing"),
        ({"labels": False}, "emotion"),
        ({"prefix": "d03"}, "only 4 of the 20 utterances|has only"),
    ],
)
def test_a_store_that_does_not_fit_is_refused(setting, tmp_path, changes, message):
    store = other_store(tmp_path / "other.h5", **changes)
    with pytest.raises(InvalidInput, match=message):
        evaluate(setting["classes"], store, out=tmp_path / "out", **FAST)


def moved_run(setting, tmp_path: Path) -> Path:
    """Copy the run and point it at a copy of its store."""
    run, store = tmp_path / "run", tmp_path / "store.h5"
    shutil.copytree(setting["classes"], run)
    shutil.copy(setting["store"], store)
    config = (run / "config.toml").read_text().replace(json.dumps(str(setting["store"])), json.dumps(str(store)))
    (run / "config.toml").write_text(config)
    publish_digests(run, [""])
    return run


def test_a_store_that_moved_or_changed_is_named(setting, tmp_path):
    run = moved_run(setting, tmp_path)
    assert evaluate(run, **FAST).features["path"] == str(tmp_path / "store.h5")
    shutil.copy(other_store(tmp_path / "new.h5"), tmp_path / "store.h5")
    with pytest.raises(InvalidInput, match=r"store\.h5 has changed since"):
        evaluate(run, **FAST)
    (tmp_path / "store.h5").unlink()
    with pytest.raises(InvalidInput, match="not there any more"):
        evaluate(run, **FAST)
    shutil.copy(setting["store"], tmp_path / "store.h5")


def test_missing_and_damaged_runs_are_invalid_input(setting, tmp_path):
    with pytest.raises(InvalidInput, match="not a run folder"):
        evaluate(tmp_path / "nothing", **FAST)
    assert not (tmp_path / "nothing").exists()
    run = moved_run(setting, tmp_path)
    weights = run / "checkpoint" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(InvalidInput, match=r"model\.safetensors was changed or damaged"):
        evaluate(run, **FAST)


def test_a_diverged_model_is_reported(setting):
    source = open_source(subject_of_run(setting["classes"], "cpu"), None, split="test")
    broken = source.folds[0].fold
    for parameter in broken.model.parameters():
        parameter.data.fill_(float("nan"))
    _, masks = draw_masks(source.corpus, source.rows, make_conditions(source.modalities), split="test", mask_seeds=1)
    with pytest.raises(InvalidInput, match="not finite"):
        pooled_predictions(source.corpus, [replace(source.folds[0], fold=broken)], masks)


def test_every_metric_is_there_for_both_tasks(swept):
    for name, task in (("classes", "classification"), ("values", "regression")):
        evaluation, folder = swept[name]
        assert evaluation.task == task
        assert set(evaluation.aulc_mr) == set(METRICS[task])
        assert Evaluation.read(folder / "metrics.json").to_json() == evaluation.to_json()


def test_a_fold_whose_members_kept_nothing_for_validation_is_named(setting, tmp_path):
    """Members with validation parts of their own: what one kept, another learnt from."""
    flags = {
        "run": {"model": "mlp"},
        "data": {"label": "emotion", "folds": "3"},
        "train": {"device": "cpu", "members": 3},
    }
    train(setting["store"], tmp_path / "run", flags=flags, assignments=["train.max_epochs_joint=1", "train.threads=1"])
    with pytest.raises(InvalidInput, match=r"kept for validation in fold .*each taught one of them"):
        evaluate(tmp_path / "run", split="val", device="cpu")
