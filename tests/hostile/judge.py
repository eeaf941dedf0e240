"""Compare what became of a corpus with the table."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from imer.core.types import FAILURES, Verdict
from imer.store.reader import FeatureStore
from tests.hostile.encode import SOUND_ONLY
from tests.hostile.generate import Corpus

BROKEN_LINES = 1  # rows that the manifest has besides the cases: one with too few cells


@dataclass
class Judgement:
    """What differs from the table, in sentences; and per family how many files were as expected."""

    wrong: list[str] = field(default_factory=list)
    right: Counter[str] = field(default_factory=Counter)
    codes: dict[str, Counter[str]] = field(default_factory=dict)


def found_verdicts(store_path: Path) -> tuple[dict[tuple[str, str], str], Counter[str]]:
    """Return (utterance, modality) → verdict or code, and how often each refused row's utterance id occurs."""
    lines = [
        json.loads(line)
        for line in (store_path.parent / "errors.jsonl").read_text(encoding="utf-8").split("\n")
        if line
    ]
    lines = [line for line in lines if line["output"] == store_path.name]
    rows = Counter(line["utterance_id"] for line in lines if line["code"] == "E-ROW")
    codes = {(line["utterance_id"], line["modality"]): line["code"] for line in lines if line["code"] != "E-ROW"}
    found: dict[tuple[str, str], str] = {}
    with FeatureStore.open(store_path, verify=True) as store:
        for modality in store.modalities:
            for name, value in zip(store.utterance_ids, store.quality[modality], strict=True):
                verdict = Verdict(int(value))
                failed = verdict in FAILURES
                found[name, modality] = codes.pop((name, modality), "no code") if failed else verdict.name
    found.update({key: f"{code}, but no failure in the store" for key, code in codes.items()})
    return found, rows


def judge(corpus: Corpus, store_path: Path, modalities: tuple[str, ...]) -> Judgement:
    found, rows = found_verdicts(store_path)
    result = Judgement()
    for case in corpus.cases:
        name = case.utterance_id
        seen = {m: found.get((name, m), "nothing") for m in modalities}
        refused = rows[name] > 0 and case.accepts("audio", "E-ROW")
        if refused:
            rows[name] -= 1
            seen = dict.fromkeys(modalities, "E-ROW")
        good = refused or all(case.accepts(m, seen[m]) for m in modalities)
        result.right[case.family] += good
        result.codes.setdefault(case.family, Counter()).update({*seen.values()})
        if not good:
            wanted = {"audio": case.audio, "visual": case.visual, "text": case.text}
            says = ", ".join(
                f"{m} {seen[m]} (expected {wanted[m]})" for m in modalities if not case.accepts(m, seen[m])
            )
            result.wrong.append(f"{case.name!a}: {says}")
    left = +rows
    if left.total() != BROKEN_LINES:
        result.wrong.append(f"rows that were refused and should not be: {dict(left)}")
    for name in corpus.good:
        for modality in modalities:
            expected = "no_stream" if modality == "visual" and name.rsplit("/")[1] in SOUND_ONLY else "ok"
            if found.get((name, modality)) != expected:
                result.wrong.append(f"{name}: {modality} {found.get((name, modality))} (expected {expected})")
    return result


def differing(good: Path, whole: Path) -> list[str]:
    """Return the good utterances whose values are not the same bytes in both stores."""
    out = []
    with FeatureStore.open(good) as alone, FeatureStore.open(whole) as among:
        places = {name: row for row, name in enumerate(among.utterance_ids)}
        for modality in alone.modalities:
            values, present = alone.vectors(modality)
            others, others_present = among.vectors(modality)
            for row, name in enumerate(alone.utterance_ids):
                other = places.get(name)
                if other is None or present[row] != others_present[other]:
                    out.append(f"{name} {modality}: not in both")
                elif present[row] and values[row].tobytes() != others[other].tobytes():
                    out.append(f"{name} {modality}: other bytes")
    return out
