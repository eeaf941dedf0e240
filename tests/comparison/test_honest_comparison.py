"""What may stand in one column, and what may not: other masks, other rates, one model twice, changed files."""

import shutil

import numpy as np
import pytest

from imer.batches.corpus import Corpus
from imer.comparison.contestants import best_baseline, contestants_of
from imer.comparison.differences import paired, read_tallies, tally_differences
from imer.comparison.evaluated_run import check_distinct, read_run
from imer.comparison.methods import group_methods
from imer.comparison.over_runs import left_out
from imer.comparison.report import report_blocks, write_report
from imer.core.errors import InvalidInput, UsageError
from imer.core.files import read_json, write_json
from imer.evaluation.conditions import make_conditions
from imer.evaluation.evaluate import draw_masks, evaluate
from imer.masks.make import make_mask
from imer.store.reader import FeatureStore
from imer.training.train import train
from tests.evaluation.tiny_runs import train_tiny
from tests.stores import write_small_store

QUICK = {"device": "cpu", "replicates": 100, "plots": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The store, two seeds of ComP, and a baseline."""
    folder = tmp_path_factory.mktemp("honest")
    store = write_small_store(folder / "features.h5")
    linear = {"run": {"model": "linear"}, "data": {"label": "emotion"}, "train": {"threads": 1}}
    train(store, folder / "linear", flags=linear)
    return {
        "store": store,
        "linear": folder / "linear",
        "seed0": train_tiny(store, folder / "seed0"),
        "seed1": train_tiny(store, folder / "seed1", "emotion", "", "train.seed=1"),
    }


def judged(made, name, out, **how):
    evaluate(made[name], out=out, **{**QUICK, **how})
    return read_run(out)


def test_other_rates_of_the_modalities_are_another_condition(made, tmp_path):
    one = judged(made, "linear", tmp_path / "a", missing_rate="audio=0.2,text=0.7", mask_seeds=2)
    other = judged(made, "seed0", tmp_path / "b", missing_rate="audio=0.6,text=0.1", mask_seeds=2)
    assert [c.detail for run in (one, other) for c in run.evaluation.summary] == [
        "audio=0.2,text=0.7",
        "audio=0.6,text=0.1",
    ]
    tallies = [read_tallies(method) for method in group_methods([one, other])]
    assert tally_differences(*tallies).by_condition == {}
    columns = (tmp_path / "a" / "results.tsv").read_text().splitlines()
    assert columns[0].split("\t")[-1] == "detail"
    assert columns[1].split("\t")[-1] == "audio=0.2,text=0.7"


def test_a_mask_file_is_a_condition_of_its_own(made, tmp_path):
    """Also beside masks of the same protocol and rate that the evaluation draws itself."""
    with FeatureStore.open(made["store"]) as store:
        masks = [make_mask(store, "nested", rate=0.5, seed=seed, split="test") for seed in (0, 1)]
    for seed, mask in enumerate(masks):
        mask.write(tmp_path / f"{seed}.h5")
    run = judged(made, "linear", tmp_path / "a", missing_rate="0.5", mask=tmp_path / "0.h5", mask_seeds=1)
    own, file = run.evaluation.summary
    assert (own.protocol, own.missing_rate) == (file.protocol, file.missing_rate) == ("nested", 0.5)
    assert (own.detail, file.detail) == ("", f"mask {masks[0].fingerprint}")
    assert masks[0].fingerprint != masks[1].fingerprint
    lines = (tmp_path / "a" / "predictions.jsonl").read_text()
    assert lines.count(f'"detail": "{file.detail}"') == lines.count('"detail": ""') > 0
    assert [one.detail for one in run.evaluation.rate_curve()] == [""]
    text = str(report_blocks([run], table=True))
    assert f"0.5 {file.detail}" in text, "and the table shows it"


def test_a_mean_over_rates_is_over_those_that_all_have(made, tmp_path):
    few = judged(made, "linear", tmp_path / "few", missing_rate="0", mask_seeds=2)
    many = judged(made, "seed0", tmp_path / "many", missing_rate="0,0.5", mask_seeds=2)
    contestants = contestants_of([few, many])
    complete = [one.evaluation.summary[0].metrics["ua"].mean for one in (few, many)]
    assert [one.over_rates("ua") for one in contestants] == pytest.approx(complete)
    assert best_baseline(contestants, "ua").name == contestants[0].name
    other = judged(made, "seed0", tmp_path / "other", missing_rate="0.5", mask_seeds=2)
    assert [one.over_rates("ua") for one in contestants_of([few, other])] == [None, None]


def test_one_model_is_not_two_seeds(made, tmp_path):
    first = judged(made, "seed0", tmp_path / "a", missing_rate="0", mask_seeds=1)
    again = judged(made, "seed0", tmp_path / "b", missing_rate="0.5", mask_seeds=1)
    with pytest.raises(UsageError, match="evaluations of one model"):
        report_blocks([first, again], table=True)
    check_distinct([first, judged(made, "seed1", tmp_path / "c", missing_rate="0", mask_seeds=1)])


def test_what_not_every_seed_has_is_said(made, tmp_path):
    judged(made, "seed0", tmp_path / "a", missing_rate="0,0.5", mask_seeds=2)
    judged(made, "seed1", tmp_path / "b", missing_rate="0", pattern="a", mask_seeds=2)
    (method,) = group_methods([read_run(tmp_path / name) for name in "ab"])
    assert left_out(method) == ["0.5", "a"]
    said: list[str] = []
    write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "r.md", table=True, warn=said.append)
    assert said == ["Not every run of comp was evaluated under 0.5, a: left out."]
    assert said[0] in (tmp_path / "r.md").read_text()
    judged(made, "seed1", tmp_path / "c", pattern="a", mask_seeds=2)
    with pytest.raises(InvalidInput, match="nothing that all of them have"):
        write_report([tmp_path / "a", tmp_path / "c"], tmp_path / "s.md", table=True)


@pytest.mark.parametrize("name", ["metrics.json", "predictions.jsonl"])
def test_an_evaluation_that_was_changed_is_refused(made, tmp_path, name):
    judged(made, "linear", tmp_path / "a", missing_rate="0", mask_seeds=1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "results.tsv").unlink()
    read_run(tmp_path / "b")  # what is not read may be gone
    if name == "metrics.json":
        document = read_json(tmp_path / "b" / name)
        document["summary"][0]["metrics"]["ua"]["mean"] = 0.99
        write_json(tmp_path / "b" / name, document)
    else:
        lines = (tmp_path / "b" / name).read_text()
        (tmp_path / "b" / name).write_text(lines.replace('"label": "happy"', '"label": "sad"', 1) + "\n")
    with pytest.raises(InvalidInput, match="was changed or damaged"):
        read_run(tmp_path / "b")


def test_an_evaluation_of_other_weights_is_refused(made, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(made["seed0"], run)
    evaluate(run, **{**QUICK, "missing_rate": "0", "mask_seeds": 1})
    read_run(run)
    config = (run / "config.toml").read_bytes()
    (run / "config.toml").write_bytes(config.replace(b"seed = 0", b"seed = 1"))
    with pytest.raises(InvalidInput, match=r"config\.toml was changed or damaged"):
        read_run(run)
    (run / "config.toml").write_bytes(config)
    shutil.rmtree(run / "checkpoint")
    read_run(run / "eval")  # figures alone may be handed on
    shutil.copytree(made["seed1"] / "checkpoint", run / "checkpoint")
    with pytest.raises(InvalidInput, match="is the evaluation of another model than"):
        read_run(run)


def test_other_masks_are_told_of(made, tmp_path):
    """A mean is over a method's own masks, a difference over those that both met."""
    few = judged(made, "linear", tmp_path / "few", missing_rate="0.3,0.5", mask_seeds=2)
    many = judged(made, "seed0", tmp_path / "many", missing_rate="0.3,0.5", mask_seeds=3)
    same = judged(made, "seed0", tmp_path / "same", missing_rate="0.3,0.5", mask_seeds=2)
    assert "comp did not meet the same masks as linear" in str(report_blocks([few, many], table=True))
    assert "comp did not meet the same masks as linear" in str(report_blocks([few, many]))
    assert "the same masks" not in str(report_blocks([few, same], table=True))
    assert "the same masks" not in str(report_blocks([few, same]))


def test_what_is_missing_by_nature_counts_once_in_a_mean_over_rates(made, tmp_path):
    run = judged(made, "linear", tmp_path / "a", missing_rate="0,0.01,0.02,0.5", mask_seeds=2, split="train")
    curve = run.evaluation.rate_curve()
    assert [one.realised_rate == curve[0].realised_rate for one in curve] == [True, True, True, False]
    (one,) = contestants_of([run])
    assert one.over_rates("ua") == pytest.approx((curve[0].metrics["ua"].mean + curve[3].metrics["ua"].mean) / 2)
    assert "of which 0, 0.01, 0.02 are one: so much is missing by nature" in str(report_blocks([run], table=True))


def test_areas_under_curves_of_other_rates_are_told_of(made, tmp_path):
    one = judged(made, "linear", tmp_path / "a", missing_rate="0,0.5", mask_seeds=1)
    other = judged(made, "seed0", tmp_path / "b", missing_rate="0.2,0.5", mask_seeds=1)
    assert "AULC-MR is over different missing rates" in str(report_blocks([one, other]))
    alike = judged(made, "seed0", tmp_path / "c", missing_rate="0,0.5", mask_seeds=1)
    assert "AULC-MR is over" not in str(report_blocks([one, alike]))


def test_validation_chooses_only_among_those_that_it_judged_alike(made, tmp_path):
    def variant(name, *assignments):
        train_tiny(made["store"], tmp_path / name, "emotion", "", *assignments)
        return judged({name: tmp_path / name}, name, tmp_path / f"{name}-eval", missing_rate="0,0.5", mask_seeds=1)

    narrow, wide = variant("narrow", "model.hidden=16"), variant("wide")
    assert "Of the 2 variants of comp, validation prefers" in str(report_blocks([narrow, wide], table=True))
    half = variant("half", "train.protocol=instance", "train.missing_rate=0.5")
    little = variant("little", "train.protocol=instance", "train.missing_rate=0.1")
    assert "validation prefers" not in str(report_blocks([half, little], table=True))


def test_the_cells_of_a_single_run_beside_several_are_explained(made, tmp_path):
    runs = [
        judged(made, name, tmp_path / name, missing_rate="0", mask_seeds=1) for name in ("seed0", "seed1", "linear")
    ]
    cells = "mean ± sd over runs (each the mean over its masks); of a single run the mean over masks, with the"
    assert cells in str(report_blocks(runs))
    assert "of a single run" not in str(report_blocks(runs[:2]))


def test_masks_that_coincide_count_as_often_as_they_were_drawn(made, tmp_path):
    """One utterance of two modalities has two masks at rate 0.5; the mean over seeds weighs them as they came."""
    with FeatureStore.open(made["store"]) as store:
        corpus = Corpus.from_store(store, ["audio", "text"], "emotion")
    row = np.flatnonzero(corpus.present_NM.all(axis=1))[:1]
    conditions = make_conditions(("audio", "text"), missing_rate="0,0.5")
    drawn, masks = draw_masks(corpus, row, conditions, split="test", mask_seeds=20)
    natural, half = drawn
    assert (natural.mask_index, natural.mask_seeds) == ([0], [0])
    assert len(half.mask_index) == len(half.mask_seeds) == 20
    assert len(masks) == 3


def test_one_run_on_two_parts_is_no_second_seed(made, tmp_path):
    parts = [judged(made, "linear", tmp_path / split, split=split) for split in ("test", "val")]
    check_distinct(parts)
    with pytest.raises(UsageError, match="count as two seeds"):
        check_distinct([parts[0], parts[0]])


def test_warnings_name_all_whom_they_concern_in_the_table_too(made, tmp_path):
    for name in ("linear", "seed0"):
        judged(made, name, tmp_path / name, split="train")
    for table in (False, True):
        write_report([tmp_path / "linear", tmp_path / "seed0"], tmp_path / f"r{table}.md", table=table)
        assert "All: The model learnt from these very utterances" in (tmp_path / f"r{table}.md").read_text()


def test_the_reference_of_one_part_need_not_be_in_the_other(made, tmp_path):
    judged(made, "linear", tmp_path / "a", missing_rate="0,0.3")
    judged(made, "seed0", tmp_path / "b", missing_rate="0,0.3")
    judged(made, "seed1", tmp_path / "c", split="val", missing_rate="0,0.3")
    folders = [tmp_path / name for name in "abc"]
    write_report(folders, tmp_path / "r.md", table=True, reference="linear")
    with pytest.raises(UsageError, match="is no method of this report; there are comp, linear"):
        write_report(folders, tmp_path / "no.md", table=True, reference="mlp")


def test_folds_that_all_answered_everything_are_paired_with_a_single_run(made, tmp_path):
    train(
        made["store"],
        tmp_path / "folds",
        flags={"run": {"model": "linear"}, "data": {"label": "emotion", "folds": "3"}},
    )
    new = write_small_store(tmp_path / "new.h5", seed=5, prefix="new_")
    evaluate(tmp_path / "folds", new, out=tmp_path / "a", **QUICK)
    evaluate(made["linear"], new, out=tmp_path / "b", split="test", **QUICK)
    tallies = [read_tallies(method) for method in group_methods([read_run(tmp_path / "a"), read_run(tmp_path / "b")])]
    assert paired(*tallies) == (tallies[0].ids == tallies[1].ids)
    (names,) = tallies[0].ids
    assert len(names) == len(set(names))
