"""What a run's settings may be, and what does not go together."""

from __future__ import annotations

import pytest

from imer.core.errors import UsageError
from imer.training.settings_layers import load_settings


@pytest.mark.parametrize(
    "assignment",
    [
        "train.threads=-1", "train.batch_dialogues=-1", "train.pad_to=-1", "train.least_dialogues=0", "train.members=-1",
        "model.regulator_limit=0", "model.regulator_strength=-1", "model.feed_forward=-1", "model.feed_forward=0",
        "model.clip_z=-1", "model.branch_weight=-1", "model.blocks=-1", "head.dropout=1.5", "head.dropout=-0.3",
        "head.label_smoothing=2", "head.late_fusion=-1", "head.regression_loss=l3",
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_by_its_name(assignment: str) -> None:
    name = assignment.split(".")[1].split("=")[0]
    with pytest.raises(UsageError, match=name):
        load_settings(assignments=[assignment])


@pytest.mark.parametrize("assignment", ["head.dropout=2", "head.label_smoothing=1.5", "head.dropout=-1"])
def test_so_is_one_of_the_prototype_head(assignment: str) -> None:
    with pytest.raises(UsageError, match=assignment.split("=")[0]):
        load_settings(preset="dpl", assignments=[assignment])


def test_a_running_mean_does_not_go_on_into_the_next_stage() -> None:
    with pytest.raises(UsageError, match="average_epochs = 0"):
        load_settings(assignments=["train.carry_optimiser=true"])


def test_a_cosine_does_not_go_on_into_the_next_stage() -> None:
    with pytest.raises(UsageError, match="carry_optimiser"):
        load_settings(assignments=["train.carry_optimiser=true", "train.schedule=cosine", "train.average_epochs=0"])


def test_a_model_of_the_past_takes_no_features_relative_to_all_that_a_speaker_says() -> None:
    with pytest.raises(UsageError, match=r"data\.within_speaker"):
        load_settings(assignments=["model.causal=true", "data.within_speaker=audio"])
    load_settings(assignments=["model.causal=true"])
    load_settings(assignments=["data.within_speaker=audio"])
