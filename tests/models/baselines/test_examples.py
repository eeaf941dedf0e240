"""What a fitted model sees of many draws: every utterance's features once, and equal examples as one."""

from __future__ import annotations

import torch

from imer.batches.batch import Batch
from imer.models.baselines.examples import Examples


def batch(rows: list[int], values: list[list[float]], observed: list[list[bool]], targets: list[int]) -> Batch:
    """One dialogue of two modalities, each of one number."""
    return Batch(
        features={name: torch.tensor(values)[None, :, [u]] for u, name in enumerate(("audio", "text"))},
        observed_BUM=torch.tensor([observed]),
        valid_BU=torch.tensor([[row >= 0 for row in rows]]),
        target_BU=torch.tensor([targets]),
        row_BU=torch.tensor([rows]),
        speaker_BU=torch.zeros(1, len(rows), dtype=torch.int64),
    )


def of(*batches: Batch, weights: tuple[float, ...] | None = None) -> Examples:
    return Examples.of(iter(batches), ["audio", "text"], 10.0, weights)


def test_draws_that_repeat_each_other_are_one_example() -> None:
    values, both, sound = [[1.0, 2.0], [3.0, 4.0]], [True, True], [True, False]
    found = of(
        batch([0, 7], values, [both, both], [0, 1]),
        batch([0, 7], values, [both, sound], [0, 1]),
        batch([7, 0], values[::-1], [sound, both], [1, 0]),
    )
    assert [x.flatten().tolist() for x in found.features_RD] == [[1.0, 3.0], [2.0, 4.0]]
    assert found.row_K.tolist() == [0, 1, 1]
    assert found.observed_KM.tolist() == [[1, 1], [1, 0], [1, 1]]
    assert found.target_K.tolist() == [0, 1, 1]
    assert torch.allclose(found.share_K, torch.tensor([3, 2, 1], dtype=torch.float64) / 6)


def test_features_that_differ_between_draws_are_rows_of_their_own() -> None:
    """Relative to their speaker, features depend on what else a draw shows."""
    found = of(
        batch([0, 1], [[0.1, 1.0], [0.2, 1.0]], [[True, True]] * 2, [0, 0]),
        batch([0, 1], [[0.3, 1.0], [0.2, 1.0]], [[True, True]] * 2, [0, 0]),
    )
    assert [round(value, 6) for value in found.features_RD[0].flatten().tolist()] == [0.1, 0.2, 0.3]
    assert found.row_K.tolist() == [0, 1, 2]
    assert found.share_K.tolist() == [0.25, 0.5, 0.25]


def test_padding_and_utterances_without_a_label_are_left_out_and_wild_values_are_tamed() -> None:
    wild = [[float("nan"), float("inf")], [-99.0, 1.0], [5.0, 5.0]]
    found = of(batch([3, 4, -1], wild, [[True, True]] * 3, [1, -1, -1]))
    assert [x.flatten().tolist() for x in found.features_RD] == [[0.0], [10.0]]
    assert found.share_K.tolist() == [1.0]


def test_a_class_weighs_as_much_as_it_is_given() -> None:
    found = of(batch([0, 1], [[1.0, 1.0]] * 2, [[True, True]] * 2, [0, 1]), weights=(1.0, 3.0))
    assert found.share_K.tolist() == [0.25, 0.75]
