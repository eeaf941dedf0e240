"""Checkpoints of runs from before a setting existed are what they were, whatever its default is today."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from imer.batches.corpus import Corpus
from imer.core.errors import UsageError
from imer.core.files import write_json
from imer.core.folders import folder_entries
from imer.store.reader import FeatureStore
from imer.training.settings import BEFORE_IT_EXISTED
from imer.training.trained_fold import load_fold
from tests.training.small import quick

SHORT = ("train.max_epochs_branches=1", "train.max_epochs_joint=1")
DPL = {"flags": {"run": {"head": "dpl"}}}
KEPT = {f"{section}.{key}": value for section, keys in BEFORE_IT_EXISTED.items() for key, value in keys.items()}


def forget(run: Path, key: str) -> None:
    """Make a run's files those of a version that does not know a setting."""
    section, _, name = key.partition(".")
    lines = (run / "config.toml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(f"{name} =")]
    assert len(kept) == len(lines) - 1
    (run / "config.toml").write_text("\n".join(kept) + "\n", encoding="utf-8")
    values = json.loads((run / "checkpoint" / "checkpoint.json").read_text(encoding="utf-8"))
    del values["settings"][section][name]
    write_json(run / "checkpoint" / "checkpoint.json", values)
    for folder in (run, run / "checkpoint"):
        (folder / "manifest.json").unlink()
    write_json(run / "checkpoint" / "manifest.json", {"files": folder_entries(run / "checkpoint")})


@pytest.mark.parametrize("key", KEPT)
def test_a_run_from_before_a_setting_answers_as_ever_and_is_not_continued_as_another(
    key: str, store: Path, tmp_path: Path
) -> None:
    value, options = str(KEPT[key]).lower(), DPL if key.startswith("head.") else {}
    quick(store, run := tmp_path / "run", *SHORT, f"{key}={value}", **options)
    with FeatureStore.open(store) as opened:
        corpus = Corpus.from_store(opened, label="emotion")
    rows = np.arange(corpus.n)
    before = load_fold(run / "checkpoint").predict(corpus, rows, corpus.present_NM)
    forget(run, key)
    after = load_fold(run / "checkpoint").predict(corpus, rows, corpus.present_NM)
    assert np.array_equal(after.probabilities_NC, before.probabilities_NC)
    assert quick(store, run, *SHORT, f"{key}={value}", resume=True, **options).already_finished
    other = {"train.members": "2", "train.precision": "bfloat16", "model.magnitudes_up_to": "128",
             "head.branch_answers": "prototypes", "head.bin_margins": "true"}[key]  # fmt: skip
    with pytest.raises(UsageError, match=rf"started with {key} = "):
        quick(store, run, *SHORT, f"{key}={other}", resume=True, **options)
