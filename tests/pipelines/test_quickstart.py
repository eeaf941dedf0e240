"""The quickstart at small size: everything is there at its end, and a second call does only what is missing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imer.core.files import read_json, sha256_file
from tests.pipelines.conftest import SMALL

Finished = subprocess.CompletedProcess[str]


def test_makes_everything_it_names(quickstart: tuple[Path, Finished]) -> None:
    _, done = quickstart
    assert done.returncode == 0, done.stderr
    listed = dict(line.split("\t") for line in done.stdout.splitlines()[-8:])
    assert {"corpus", "features", "tables", "plots", "report", "predictions", "model", "model (ONNX)"} == set(listed)
    for paths in listed.values():
        assert all(Path(path).exists() for path in paths.split())
        assert paths
    assert "synthetic" in done.stderr


def test_evaluates_rates_and_all_seven_patterns(quickstart: tuple[Path, Finished]) -> None:
    folder, done = quickstart
    assert done.returncode == 0, done.stderr
    results = read_json(folder / "run" / "eval" / "metrics.json")["results"]
    assert {entry["pattern"] for entry in results} >= {"a", "t", "v", "at", "av", "tv", "atv"}
    rates = {round(entry["missing_rate"], 1) for entry in results if entry["pattern"] is None}
    assert rates == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}


def test_predicts_clips_it_has_not_seen(quickstart: tuple[Path, Finished]) -> None:
    folder, done = quickstart
    assert done.returncode == 0, done.stderr
    one = [json.loads(line) for line in (folder / "unseen-happy.jsonl").read_text().splitlines()]
    all_four = [json.loads(line) for line in (folder / "unseen.jsonl").read_text().splitlines()]
    assert [line["utterance_id"] for line in one] == ["unseen_happy"]
    assert [line["utterance_id"] for line in all_four] == [
        f"unseen_{emotion}" for emotion in ("angry", "happy", "neutral", "sad")
    ]
    assert all(sorted(line["observed"]) == ["audio", "text", "visual"] for line in one + all_four)
    assert all(sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-4) for line in one + all_four)
    # The same clip, words and weights: the bundle says what the run says.
    assert all_four[1]["probabilities"] == pytest.approx(one[0]["probabilities"], abs=1e-5)


def test_a_second_call_keeps_what_is_complete(
    quickstart: tuple[Path, Finished], script: Callable[..., Finished]
) -> None:
    folder, done = quickstart
    assert done.returncode == 0, done.stderr
    kept = {name: sha256_file(folder / name) for name in ("features.h5", "mask.h5", "model.onnx", "unseen.jsonl")}
    (folder / "mask.h5").unlink()
    again = script("quickstart.sh", folder, **SMALL)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("is there already") >= 8
    assert {name: sha256_file(folder / name) for name in kept} == kept


def test_stops_with_the_exit_code_of_what_failed(tmp_path: Path, script: Callable[..., Finished]) -> None:
    done = script("quickstart.sh", tmp_path / "demo", IMER_DEMO_UTTERANCES="3")
    assert done.returncode == 2
    assert "at least 12" in done.stderr
    assert not (tmp_path / "demo" / "corpus").exists()
