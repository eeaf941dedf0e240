"""The results table: methods × missing rates, mean ± sd over seeds, and every method against the best baseline.

Methods that were trained alike (for any rate, or one model for each) stand in one table. The best baseline is the one
with the best mean over the missing rates on the very test part, which favours the baselines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from imer.comparison.contestants import MARK, MARKED, Contestant, best_baseline, contestants_of
from imer.comparison.differences import Difference, MethodDifferences, paired, tally_differences
from imer.comparison.document import Block, Grid, Heading, Paragraph
from imer.comparison.evaluated_run import EvaluatedRun
from imer.comparison.methods import known_settings, method_settings
from imer.comparison.over_runs import ConditionKey, condition_key
from imer.comparison.sections import OVER, condition_title, difference_cell, other_masks
from imer.core.errors import listed
from imer.evaluation.results import ConditionSummary, rate_curve
from imer.evaluation.tables import UNDEFINED, mean_and_sd, number
from imer.metrics.compute import LOWER_IS_BETTER, sign_of
from imer.metrics.definitions import TITLES, lower_is_better
from imer.metrics.leading import compared
from imer.training.settings import CHANGES_VALIDATION


def scoreboard(runs: Sequence[EvaluatedRun], reference: str | None = None) -> list[Block]:
    """Return the tables of runs on one data set and one test part.

    Parameters
    ----------
    reference
        Name of the method that the others are compared to; by default, and in a table without it, the best baseline, or where
        there is none the first method.
    """
    blocks: list[Block] = []
    tables = [contestants_of(members) for members in by_protocol(runs).values()]
    for contestants in tables:
        if len(tables) > 1:
            blocks.append(Heading(f"Trained with the protocol {contestants[0].protocol}", 3))
        blocks += _table(contestants, reference)
    return [*blocks, *_mixed_against_matched(tables)]


def by_protocol(runs: Sequence[EvaluatedRun]) -> dict[str, list[EvaluatedRun]]:
    """Return the runs of each table: those that were trained alike."""
    found: dict[str, list[EvaluatedRun]] = {}
    for run in runs:
        found.setdefault(str(run.evaluation.run["settings"]["train.protocol"]), []).append(run)
    return found


def _shown(contestants: Sequence[Contestant]) -> tuple[str, ...]:
    """Return the metrics of a table, the one that counts most first."""
    first = contestants[0].merged
    return compared(first.task, first.label_range)


def _reference(contestants: Sequence[Contestant], reference: str | None, metric: str) -> Contestant:
    named = [one for one in contestants if one.method.name == reference]
    return named[0] if named else best_baseline(contestants, metric) or contestants[0]


def _table(contestants: Sequence[Contestant], reference: str | None) -> Iterator[Block]:
    shown = _shown(contestants)
    base = _reference(contestants, reference, shown[0])
    found = {
        one.name: tally_differences(one.tallies, base.tallies, over=base.rates)
        for one in contestants
        if one is not base and paired(one.tallies, base.tallies)
    }
    rates, patterns = _conditions(contestants, patterns=False), _conditions(contestants, patterns=True)
    marked = f" {MARKED}" if any(one.name.endswith(MARK) for one in contestants) else ""
    yield from _chosen(contestants)
    yield from _ensembles(contestants)
    yield from _other_masks(contestants, base)
    for metric in shown:
        differences = {name: one.over_rates.get(metric) for name, one in found.items()}
        better = "lower is better; " if metric in LOWER_IS_BETTER else ""
        caption = (
            f"{TITLES[metric]} by missing rate (nominal / realised), {better}mean ± sd over seeds, each the mean over its "
            f"masks. Validation: mean {TITLES[_selection(contestants)]} of the selected epochs. Mean: over the rates that all "
            f"methods have{_but_once(contestants)}. Difference: that minus the mean of {base.name}, on the same utterances, "
            f"with its {OVER}; * excludes 0.{marked}"
        )
        if rates:
            yield Grid(_rate_grid(contestants, rates, metric, base, differences), caption)
    primary = shown[0]
    yield from _standing(contestants, rates, primary)
    if rates and found:
        yield Grid(_difference_grid(found, rates, primary), f"{_against(primary, base)}, at each missing rate.{marked}")
    if patterns:
        columns = ["method", *map(condition_title, patterns)]
        rows = [[one.name, *_cells(one, patterns, primary)] for one in contestants]
        others = "by observed modalities" if all(one.pattern for one in patterns) else "in the other conditions"
        yield Grid((columns, rows), f"{TITLES[primary]} {others}{lower_is_better(primary)}.{marked}")
        if found:
            yield Grid(
                _difference_grid(found, patterns, primary),
                f"{_against(primary, base)}, {others}.{marked}",
            )


def _standing(contestants: Sequence[Contestant], rates: Sequence[ConditionSummary], metric: str) -> Iterator[Block]:
    """Say at how many missing rates each other method is at or above every baseline, in the mean over seeds."""
    sign = sign_of(metric)

    def scores(one: Contestant) -> dict[ConditionKey, float]:
        values = {condition_key(c): c.metrics[metric].mean for c in one.merged.summary}
        return {key: sign * value for key, value in values.items() if value is not None}

    baselines = [scores(one) for one in contestants if one.is_baseline]
    sentences = []
    for one in contestants:
        own = scores(one)
        shared = [key for c in rates if (key := condition_key(c)) in own and any(key in b for b in baselines)]
        if one.is_baseline or not shared:
            continue
        won = sum(own[key] >= max(b[key] for b in baselines if key in b) for key in shared)
        sentences.append(f"{one.name} at {won} of {len(shared)}")
    if sentences:
        yield Paragraph(f"At or above every baseline in mean {TITLES[metric]}: {'; '.join(sentences)} missing rates.")


def _ensembles(contestants: Sequence[Contestant]) -> Iterator[Block]:
    """Say whose answer is the mean of several models, which is an advantage over one model."""
    told = [f"{one.name} of {one.members}" for one in contestants if one.members > 1]
    if told:
        yield Paragraph(f"Answers are the mean of several models in {'; '.join(told)}; of one model in all others.")


def _other_masks(contestants: Sequence[Contestant], base: Contestant) -> Iterator[Block]:
    """Say whose differences are not those of the means, since not all masks are shared."""
    told = [
        one.name
        for one in contestants
        if any(
            set(one.tallies.by_condition.get(key, {})) ^ set(base.tallies.by_condition.get(key, {}))
            for key in base.rates
        )
    ]
    if told:
        yield other_masks(told, base.name)


def _but_once(contestants: Sequence[Contestant]) -> str:
    """Say which missing rates are one condition, since that much is missing by nature."""
    repeated = contestants[0].natural
    return f", of which {listed(repeated, 8)} are one: so much is missing by nature" if repeated else ""


def _chosen(contestants: Sequence[Contestant]) -> Iterator[Block]:
    """Name the variant of each model that validation prefers, so that nobody has to choose by the test figures.

    Only variants of as many members are compared: the score of several is the mean of their own, not that of their
    common answer, which no validation part has judged; and only those that were judged under the same masks.
    """
    metric = _selection(contestants)
    sign = sign_of(metric)
    for kind in dict.fromkeys(map(_judged, contestants)):
        variants = [
            (sign * one.validation, one) for one in contestants if _judged(one) == kind and one.validation is not None
        ]
        if len(variants) > 1:
            score, best = max(variants, key=lambda entry: entry[0])
            yield Paragraph(
                f"Of the {len(variants)} variants of {kind[0]}, validation prefers {best.name} "
                f"({TITLES[metric]} {abs(score):.3f})."
            )


def _judged(one: Contestant) -> tuple[object, ...]:
    """Return what two validation scores must share to be comparable, the model first."""
    settings = known_settings(one.method.runs[0])
    keys = (
        "train.missing_rate",
        "data.folds",
        "data.modalities",
        "data.validation_by",
        "data.validation_share",
        *(f"train.{name}" for name in CHANGES_VALIDATION),
    )
    return (one.model, *(str(settings.get(key)) for key in keys))


def _selection(contestants: Sequence[Contestant]) -> str:
    """Return the metric of the validation scores."""
    honest = [one for one in contestants if one.validation is not None] or list(contestants)
    chosen = honest[0].merged.run.get("selected") or {}
    return str(chosen.get("metric") or _shown(honest)[0])


def _conditions(contestants: Sequence[Contestant], *, patterns: bool) -> list[ConditionSummary]:
    """Return the rates of all methods' curves, in order, or what else they were judged in: patterns and mask files."""
    seen: dict[ConditionKey, ConditionSummary] = {}
    for one in contestants:
        curve = rate_curve(one.merged.summary)
        on_it = {condition_key(condition) for condition in curve}
        others = [condition for condition in one.merged.summary if condition_key(condition) not in on_it]
        for condition in others if patterns else curve:
            seen.setdefault(condition_key(condition), condition)
    return list(seen.values()) if patterns else sorted(seen.values(), key=lambda c: c.realised_rate)


def _cells(one: Contestant, conditions: Sequence[ConditionSummary], metric: str) -> list[str]:
    by_key = {condition_key(c): c for c in one.merged.summary}
    chosen = [by_key.get(condition_key(condition)) for condition in conditions]
    several = len(one.method.runs) > 1
    found = [None if c is None else c.metrics[metric] for c in chosen]
    return [UNDEFINED if m is None else mean_and_sd(m.mean, m.sd if several else None) for m in found]


def _rate_grid(
    contestants: Sequence[Contestant],
    rates: Sequence[ConditionSummary],
    metric: str,
    base: Contestant,
    differences: Mapping[str, Difference | None],
) -> tuple[list[str], list[list[str]]]:
    columns = ["method", "seeds", "validation", *map(condition_title, rates), "mean", "difference"]
    rows = []
    for one in contestants:
        average = mean_and_sd(one.over_rates(metric), one.spread_over_rates(metric))
        against = "reference" if one is base else _difference(differences.get(one.name))
        cells = _cells(one, rates, metric)
        rows.append([one.name, str(len(one.method.runs)), number(one.validation), *cells, average, against])
    return columns, rows


def _against(metric: str, base: Contestant) -> str:
    better = ", negative is better" if metric in LOWER_IS_BETTER else ""
    return f"{TITLES[metric]}: each method minus {base.name}{better}, with its 95 % interval"


def _difference_grid(
    found: Mapping[str, MethodDifferences], conditions: Sequence[ConditionSummary], metric: str
) -> tuple[list[str], list[list[str]]]:
    columns = ["method", *map(condition_title, conditions)]
    keys = [condition_key(c) for c in conditions]
    return columns, [[name, *(_at(one.by_condition.get(k), metric) for k in keys)] for name, one in found.items()]


def _at(differences: Mapping[str, Difference] | None, metric: str) -> str:
    return _difference(None if differences is None else differences[metric])


def _difference(found: Difference | None) -> str:
    return UNDEFINED if found is None else difference_cell(*found)


def _mixed_against_matched(tables: Sequence[Sequence[Contestant]]) -> Iterator[Block]:
    """One model for all missing rates minus one model for each, for the methods that have both."""
    table_of = {table[0].protocol: table for table in tables}
    rows = []
    shown = _shown(tables[0])
    for one in table_of.get("mixed", []):
        for other in table_of.get("matched", []):
            if _but_for_protocol(one) == _but_for_protocol(other) and paired(one.tallies, other.tallies):
                found = tally_differences(one.tallies, other.tallies, over=one.rates & other.rates).over_rates
                rows.append([one.name, *(_difference(found.get(metric)) for metric in shown)])
    if rows:
        errors = [TITLES[metric] for metric in shown if metric in LOWER_IS_BETTER]
        better = f" For {listed(errors)} a negative difference is better." if errors else ""
        yield Heading("One model for all missing rates against one for each", 3)
        yield Paragraph(
            f"Protocol mixed minus protocol matched, mean over the missing rates, with its {OVER}; * excludes 0. Only methods "
            f"with the same settings under both are compared.{better}"
        )
        yield Grid((["method", *(TITLES[metric] for metric in shown)], rows))


def _but_for_protocol(one: Contestant) -> dict[str, object]:
    left_out = ("train.protocol", "train.missing_rate")
    return {key: value for key, value in method_settings(one.method.runs[0]).items() if key not in left_out}
