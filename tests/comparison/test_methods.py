"""Runs side by side: seeds, matched rates, paired differences; on real, tiny runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from imer.comparison.contestants import Contestant, contestants_of
from imer.comparison.differences import paired, read_tallies, tally_differences
from imer.comparison.evaluated_run import EvaluatedRun, read_run
from imer.comparison.matched import join_matched
from imer.comparison.methods import group_methods
from imer.comparison.over_runs import over_runs
from imer.comparison.scoreboard import _ensembles, _mixed_against_matched
from imer.core.errors import InvalidInput
from imer.evaluation.evaluate import evaluate
from imer.evaluation.results import MetricSummary
from tests.evaluation.tiny_runs import train_tiny
from tests.stores import write_small_store

MATCHED = ("train.protocol=matched",)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Evaluated runs by name: two seeds of mixed training, and one model each for two rates."""
    folder = tmp_path_factory.mktemp("compare")
    store = write_small_store(folder / "features.h5")
    settings = {
        "seed0": (),
        "seed1": ("train.seed=1",),
        "rate3": (*MATCHED, "train.missing_rate=0.3"),
        "rate6": (*MATCHED, "train.missing_rate=0.6"),
    }
    found = {}
    for name, assignments in settings.items():
        run = train_tiny(store, folder / name, "emotion", "", *assignments)
        evaluate(run, missing_rate="0.3,0.6", pattern="at", mask_seeds=2, device="cpu", replicates=100)
        found[name] = read_run(run)
    return found


def mean(run, rate: float, metric: str = "ua") -> float:
    return next(one.metrics[metric].mean for one in run.evaluation.summary if one.missing_rate == rate)


def test_seeds_are_one_method(runs):
    methods = group_methods([runs["seed0"], runs["seed1"]])
    assert [(one.name, len(one.runs)) for one in methods] == [("comp", 2)]
    merged = over_runs(methods[0])
    values = [mean(runs[name], 0.3) for name in ("seed0", "seed1")]
    metric = merged.summary[0].metrics["ua"]
    assert metric.mean == pytest.approx(sum(values) / 2)
    assert metric.sd == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert merged.aulc_mr["ua"] == pytest.approx((metric.mean + merged.summary[1].metrics["ua"].mean) / 2)


def test_a_metric_that_is_undefined_for_one_seed_has_no_mean(runs):
    evaluation = runs["seed1"].evaluation
    first, *rest = evaluation.summary
    undefined = replace(first, metrics={**first.metrics, "ua": MetricSummary(None, None, None, None)})
    seeds = [runs["seed0"], replace(runs["seed1"], evaluation=replace(evaluation, summary=[undefined, *rest]))]
    merged = over_runs(group_methods(seeds)[0])
    assert merged.summary[0].metrics["ua"] == MetricSummary(None, None, None, None)
    assert merged.summary[0].metrics["wa"].mean is not None
    assert merged.summary[1].metrics["ua"].mean is not None


def test_runs_from_before_there_were_members_are_of_one(runs):
    def with_members(n: int | None) -> EvaluatedRun:
        evaluation = runs["seed0"].evaluation
        settings = {key: value for key, value in evaluation.run["settings"].items() if key != "train.members"}
        settings |= {} if n is None else {"train.members": n}
        return EvaluatedRun(
            runs["seed0"].folders, replace(evaluation, run={**evaluation.run, "settings": settings, "seed": n})
        )

    before, one, three = with_members(None), with_members(1), with_members(3)
    assert [(m.name, len(m.runs)) for m in group_methods([before, one, three])] == [
        ("comp (members=1)", 2),
        ("comp (members=3)", 1),
    ]
    contestants = [Contestant(m, m.evaluation, None) for m in group_methods([before, one, three])]
    assert [one.members for one in contestants] == [1, 3]
    (said,) = _ensembles(contestants)
    assert "several models in comp (members=3) of 3; of one model in all others" in said.text
    assert not list(_ensembles(contestants[:1]))


def test_matched_runs_are_one_curve_in_which_each_speaks_for_its_rate(runs):
    joined = join_matched(list(runs.values()))
    assert len(joined) == 3
    curve = joined[2].evaluation.summary
    assert [one.missing_rate for one in curve] == [0.3, 0.6]
    chosen = [runs[name].evaluation.run["selected"]["value"] for name in ("rate3", "rate6")]
    assert joined[2].evaluation.run["selected"]["value"] == pytest.approx(sum(chosen) / 2)
    assert joined[2].evaluation.run["sha256"] not in {run.evaluation.run["sha256"] for run in runs.values()}
    assert curve[0].metrics["ua"].mean == mean(runs["rate3"], 0.3)
    assert curve[1].metrics["ua"].mean == mean(runs["rate6"], 0.6)
    methods = group_methods(joined)
    assert [one.name for one in methods] == ["comp (protocol=mixed)", "comp (protocol=matched)"]


def test_one_optimistic_run_makes_its_curve_optimistic(runs):
    evaluation = runs["rate6"].evaluation
    told = replace(runs["rate6"], evaluation=replace(evaluation, run={**evaluation.run, "optimistic": True}))
    for last, optimistic in ((runs["rate6"], False), (told, True)):
        (joined,) = join_matched([runs["rate3"], last])
        assert joined.evaluation.run["optimistic"] is optimistic


def test_a_matched_run_without_its_own_rate_is_named(runs):
    evaluation = runs["rate3"].evaluation
    elsewhere = replace(evaluation, summary=[one for one in evaluation.summary if one.missing_rate != 0.3])
    with pytest.raises(
        InvalidInput, match=r"trained for the missing rate 0\.3.* not evaluated there: `imer eval .*0\.3`"
    ):
        join_matched([EvaluatedRun(runs["rate3"].folders, elsewhere), runs["rate6"]])


def test_settings_are_named_as_words(runs):
    evaluation = runs["seed0"].evaluation
    fewer = replace(evaluation, modalities=["audio", "text"], run={**evaluation.run, "seed": 7})
    found = group_methods([runs["seed0"], EvaluatedRun(runs["seed0"].folders, fewer)])
    assert {one.name for one in found} >= {"comp (modalities=audio+text)"}


def like(run, name, seed=0, parent="here", **changes):
    """Return an evaluation as that of another run: facts of the run by their names, settings by `section__key`."""
    settings = {key.replace("__", "."): changes.pop(key) for key in list(changes) if "__" in key}
    facts = {**run.evaluation.run, "name": name, "path": f"somewhere/{name}", "seed": seed, **changes}
    facts["settings"] = {**facts["settings"], **settings}
    return EvaluatedRun(((Path(parent) / name, None),), replace(run.evaluation, run=facts))


def test_only_runs_that_differ_in_their_seed_alone_are_one_method(runs):
    run = runs["seed0"]
    assert [len(one.runs) for one in group_methods([run, like(run, "b", 1), like(run, "c", 2)])] == [3]
    elsewhere = like(run, "b", 1, trained_on="0123456789abcdef")
    assert [len(one.runs) for one in group_methods([run, elsewhere])] == [1, 1]
    assert [len(one.runs) for one in group_methods([run, like(run, "b", 1, folds=["2"])])] == [1, 1]
    again = group_methods([run, like(run, "b", 0), like(run, "c", 1)])  # the same seed twice is no further seed
    assert [(one.name, len(one.runs)) for one in again] == [
        (f"comp [{run.evaluation.run['name']}]", 2),
        ("comp [b]", 1),
    ]
    classes = replace(run.evaluation, class_names=["x", "y"], run={**run.evaluation.run, "seed": 1})
    assert len(group_methods([run, EvaluatedRun(run.folders, classes)])) == 2


def test_a_run_from_before_a_setting_is_of_the_method_with_its_default(runs):
    run = runs["seed0"]
    newer = like(run, "b", 1, head__branch_answers="linear", head__bin_margins=False)
    other = like(run, "c", 1, head__branch_answers="prototypes", head__bin_margins=False)
    assert [(one.name, len(one.runs)) for one in group_methods([run, newer, other])] == [
        ("comp (branch_answers=linear)", 2), ("comp (branch_answers=prototypes)", 1),
    ]  # fmt: skip


def test_methods_never_share_a_name(runs):
    run = runs["seed0"]
    within = like(run, "a", data__within_speaker=["audio"])
    plain = like(run, "b")
    faster = like(run, "c", train__learning_rate=0.5)
    assert [one.name for one in group_methods([within, plain, faster])] == [
        "comp",
        "comp (within_speaker=none)",
        "comp (within_speaker=none, learning_rate=0.5)",
    ]
    settings = run.evaluation.run["settings"]
    bundles = [like(run, "model", 0, x, settings={**settings, "bundle.sha256": x}) for x in "ab"]
    assert len({one.name for one in group_methods([*bundles, like(run, "model")])}) == 3


def test_a_seed_with_one_rate_is_a_curve_beside_its_other_seeds(runs):
    lone = like(runs["rate3"], "lone", 1)
    joined = join_matched([runs["rate3"], runs["rate6"], lone])
    assert [len(run.folders) for run in joined] == [2, 1]
    assert [(one.name, len(one.runs)) for one in group_methods(joined)] == [("comp", 2)]


def test_a_rate_that_was_trained_twice_with_one_seed_counts_once_in_its_curve(runs):
    again = like(runs["rate3"], "again", 0)
    joined = join_matched([runs["rate3"], again, runs["rate6"]])
    assert [[one.missing_rate for one in run.evaluation.summary] for run in joined] == [[0.3, 0.6], [0.3]]
    assert len({one.name for one in group_methods(joined)}) == 2


def test_mixed_and_matched_are_compared_though_one_is_older_than_a_setting(runs):
    evaluation = runs["seed0"].evaluation
    settings = {key: value for key, value in evaluation.run["settings"].items() if key != "train.members"}
    older = EvaluatedRun(runs["seed0"].folders, replace(evaluation, run={**evaluation.run, "settings": settings}))
    matched = contestants_of(join_matched([runs["rate3"], runs["rate6"]]))
    settings = {**evaluation.run["settings"], "train.checkpoint_every_s": 60.0}  # how often is not what
    saved_less = EvaluatedRun(runs["seed0"].folders, replace(evaluation, run={**evaluation.run, "settings": settings}))
    for mixed in (older, saved_less, runs["seed0"]):
        *_, grid = _mixed_against_matched([contestants_of([mixed]), matched])
        assert [row[0] for row in grid.table[1]] == ["comp"]


def test_differences_are_those_of_the_means_and_turn_their_sign_round(runs):
    methods = group_methods(join_matched(list(runs.values())))
    first, second = (read_tallies(method) for method in methods[:2])
    there = tally_differences(second, first).by_condition
    back = tally_differences(first, second).by_condition
    assert set(there) == {("nested", 0.3, None, ""), ("nested", 0.6, None, "")}
    for rate, own in ((0.3, "rate3"), (0.6, "rate6")):
        value, (low, high) = there["nested", rate, None, ""]["ua"]
        expected = mean(runs[own], rate) - (mean(runs["seed0"], rate) + mean(runs["seed1"], rate)) / 2
        assert value == pytest.approx(expected)
        assert low <= high
        other, bounds = back["nested", rate, None, ""]["ua"]
        assert (other, *bounds) == pytest.approx((-value, -high, -low))


def test_a_rate_of_many_digits_is_compared_as_any_other(runs, tmp_path):
    """1/3 is rounded in the figures, and not in the predictions."""
    judged = {}
    for name in ("seed0", "rate3"):
        path = runs[name].evaluation.run["path"]
        evaluate(path, out=tmp_path / name, missing_rate=f"0,{1 / 3}", mask_seeds=1, device="cpu", replicates=100)
        judged[name] = read_run(tmp_path / name)
    tallies = [read_tallies(method) for method in group_methods(list(judged.values()))]
    assert [key.missing_rate for key in tally_differences(*tallies).by_condition] == [0, pytest.approx(1 / 3)]
    for_each = [like(judged["rate3"], "rate3", parent=tmp_path, train__missing_rate=rate) for rate in ("0", str(1 / 3))]
    (joined,) = join_matched(for_each)
    assert len(read_tallies(group_methods([joined])[0]).by_condition) == 2


def test_other_utterances_cannot_be_compared(runs, tmp_path):
    source = runs["seed0"].folders[0][0]
    lines = (source / "predictions.jsonl").read_text().splitlines(keepends=True)
    for name, content in (("metrics.json", (source / "metrics.json").read_text()), ("predictions.jsonl", "")):
        (tmp_path / name).write_text(content)
    (tmp_path / "predictions.jsonl").write_text(
        "".join(line for line in lines if '"d03_u0"' not in line and '"d04_u0"' not in line)
    )
    fewer = replace(runs["seed1"], folders=((tmp_path, None),))
    first, second = group_methods([runs["rate3"], fewer])
    assert not paired(read_tallies(first), read_tallies(second))
    assert paired(read_tallies(first), read_tallies(first))


def test_methods_are_named_by_what_differs(runs):
    def with_settings(**changes):
        run = runs["seed0"]
        settings = {**run.evaluation.run["settings"], **{key.replace("__", "."): v for key, v in changes.items()}}
        return replace(run, evaluation=replace(run.evaluation, run={**run.evaluation.run, "settings": settings}))

    named = [
        with_settings(),
        with_settings(run__head="dpl"),
        with_settings(run__head="dpl", model__hidden=64),
        with_settings(run__model="late"),
    ]
    names = [one.name for one in group_methods(named)]
    assert names == [
        "comp (head=linear)",
        "comp (head=dpl, hidden=32)",
        "comp (head=dpl, hidden=64)",
        "late",
    ]
    presets = [with_settings(run__preset="comp-paper"), with_settings(run__model="late")]
    assert [one.name for one in group_methods(presets)] == ["comp (preset=comp-paper)", "late"]
    alone = [with_settings(run__head="dpl"), with_settings(run__model="unimodal", model__modality="text")]
    assert [one.name for one in group_methods(alone)] == ["comp (head=dpl)", "unimodal (modality=text)"]
    official = with_settings(run__preset="comp-official", run__model="comp-official")
    assert [one.name for one in group_methods([official])] == ["comp-official"]


def test_of_many_alike_the_first_keeps_the_short_name(runs):
    def with_setting(key="model.hidden", value=32):
        run = runs["seed0"]
        settings = {**run.evaluation.run["settings"], key: value}
        return replace(run, evaluation=replace(run.evaluation, run={**run.evaluation.run, "settings": settings}))

    changed = [with_setting(), with_setting("model.prompts", False), with_setting("model.stage1", False)]
    assert [one.name for one in group_methods(changed)] == ["comp", "comp (prompts=False)", "comp (stage1=False)"]


def test_a_folder_without_evaluation_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="is not a folder"):
        read_run(tmp_path / "none")
    (tmp_path / "run").mkdir()
    with pytest.raises(InvalidInput, match="has not been evaluated"):
        read_run(tmp_path / "run")


def test_rates_of_other_modalities_are_not_paired(runs):
    first, second = (read_tallies(method) for method in group_methods([runs["seed0"], runs["rate3"]]))
    assert tally_differences(first, second).by_condition
    assert (
        tally_differences(first, replace(second, modalities=("audio", "text")), over=first.by_condition).over_rates
        == {}
    )
    kept = tally_differences(first, replace(second, modalities=("audio", "text"))).by_condition
    assert not [key for key in kept if key[1]]
