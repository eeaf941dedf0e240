"""A packed batch is answered and learnt from exactly as its padded table, whatever the dialogues look like."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imer.batches.batch import Batch, PackedBatch
from imer.batches.layout import Packed
from imer.models.base import BRANCHES, JOINT
from imer.models.comp.model import Comp
from imer.training.inference import run
from tests.models.comp.build import batch, build, stir
from tests.models.comp.test_invariants import VARIANTS

PACKED = {name: values for name, values in VARIANTS.items() if name != "dialogue-prototypes"}
PACKED |= {
    "missing-prompts": {"missing_prompts": "case"},
    "rebuilding": {"reconstruction_weight_joint": 0.1},
    "causal-rotary": {"causal": True, "positions": "rotary"},
}


def packed(given: Batch) -> PackedBatch:
    def rows(x: Tensor) -> Tensor:
        return given.of_real(x).unsqueeze(0)

    return PackedBatch(
        {name: rows(x) for name, x in given.features.items()},
        *(rows(x) for x in (given.observed_BUM, given.valid_BU, given.target_BU, given.row_BU, given.speaker_BU)),
        layout=Packed(given.valid_BU.numpy()),
    )


def outcome(model: Comp, given: Batch, stage: str) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Return the answers of the real utterances, the losses, and the gradients."""
    model.zero_grad()
    output = run(model, given, stage)
    terms = model.losses(output, given, stage)
    torch.stack(list(terms.values())).sum().backward()
    weight = [] if output.weight_BUM is None else [output.weight_BUM]
    said = torch.cat([output.joint_BUC, *output.branch.values(), *weight], dim=-1)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return given.of_real(said).detach(), {name: term.detach() for name, term in terms.items()}, gradients


def assert_alike(model: Comp, given: Batch, stage: str) -> None:
    said, terms, gradients = outcome(model, given, stage)
    packed_said, packed_terms, packed_gradients = outcome(model, packed(given), stage)
    assert torch.allclose(packed_said, said, rtol=1e-4, atol=1e-5)
    assert packed_gradients.keys() == gradients.keys()
    for found, expected in ((packed_terms, terms), (packed_gradients, gradients)):
        for name, value in expected.items():
            assert torch.allclose(found[name], value, rtol=1e-3, atol=2e-5 * max(1.0, float(value.abs().max()))), name


@pytest.mark.parametrize("stage", [BRANCHES, JOINT])
@pytest.mark.parametrize("variant", PACKED)
def test_packed_and_padded_agree(variant: str, stage: str) -> None:
    model = stir(build(**PACKED[variant])).train()
    assert model.reads_packed
    assert_alike(model, batch(model, dialogues=6), stage)


@settings(max_examples=25)
@given(data=st.data(), task=st.sampled_from(["classification", "regression"]), m=st.integers(2, 4))
def test_packed_and_padded_agree_for_any_dialogues(data: Any, task: str, m: int) -> None:
    """Single utterances, a batch of one dialogue, lengths in any order, and more padding than needed."""
    lengths = torch.tensor(data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=6)))
    longest = int(lengths.max()) + data.draw(st.integers(0, 2))
    model = stir(build(m, task=task)).train()
    given = batch(model, dialogues=len(lengths), length=longest, seed=data.draw(st.integers(0, 99)), padded=False)
    given.valid_BU = torch.arange(longest)[None] < lengths[:, None]
    given.observed_BUM &= given.valid_BU.unsqueeze(-1)
    assert_alike(model, given, JOINT)


@pytest.mark.parametrize("variant", [{"prototypes": "dialogue"}, {"prototypes": "batch"}])
def test_prototypes_that_look_at_the_table_keep_their_padding(variant: dict[str, Any]) -> None:
    assert not build(**variant).reads_packed
    assert build(**variant, prompts=False).reads_packed
