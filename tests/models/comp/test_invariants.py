"""What must hold of ComP whatever it has learnt: nothing hidden, nobody else, and no padding has a part in an answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given as given_
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from imer.batches.batch import Batch
from imer.core.errors import UsageError
from imer.models.base import BRANCHES
from imer.models.comp.settings import CompSettings
from tests.models.comp.build import answers, batch, build, stir

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "no-positions": {"positions": "none"},
    "sinusoidal": {"positions": "sinusoidal"},
    "rotary": {"positions": "rotary"},
    "causal": {"causal": True},
    "soft": {"coordinator_mask": "soft"},
    "hard": {"coordinator_mask": "hard"},
    "unmasked": {"coordinator_mask": "none"},
    "uniform": {"coordinator": "uniform"},
    "concat": {"coordinator": "concat"},
    "dialogue-prototypes": {"prototypes": "dialogue"},
    "valid-keys": {"keys": "valid"},
    "rescale": {"prompt_aggregation": "rescale"},
    "no-prompts": {"prompts": False},
    "speakers": {"speaker_embedding": True},
    "deep": {"blocks": 3, "layers": 2, "final_norm": False},
    "published-layers": {
        "attention": "published",
        "prompt_head": "paper",
        "identity_start": False,
        "positions": "none",
    },
}


@pytest.mark.parametrize("n_modalities", [2, 3, 4])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_dialogue_alone_is_answered_as_among_others(variant: str, n_modalities: int) -> None:
    model = stir(build(n_modalities, **VARIANTS[variant]))
    together = batch(model)
    said = answers(model, together)
    for b in range(4):
        alone = Batch(
            {m: x[[b]] for m, x in together.features.items()},
            *(t[[b]] for t in (
                together.observed_BUM, together.valid_BU, together.target_BU, together.row_BU, together.speaker_BU
            )),
        )  # fmt: skip
        real = together.valid_BU[b]
        assert torch.allclose(answers(model, alone)[0][real], said[b][real], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_changes_nothing(variant: str) -> None:
    model = stir(build(**VARIANTS[variant]))
    plain = batch(model, padded=False)
    garbage = {m: torch.cat([x, torch.full((4, 3, x.shape[2]), 1e30)], 1) for m, x in plain.features.items()}
    nothing = torch.zeros(4, 3, dtype=torch.bool)
    longer = Batch(
        garbage,
        torch.cat([plain.observed_BUM, torch.ones(4, 3, 3, dtype=torch.bool)], 1),
        torch.cat([plain.valid_BU, nothing], 1),
        torch.cat([plain.target_BU, torch.zeros(4, 3).long()], 1),
        torch.cat([plain.row_BU, torch.full((4, 3), -1)], 1),
        torch.cat([plain.speaker_BU, torch.zeros(4, 3).long()], 1),
    )
    # Not bit for bit: the matrix products have another shape, and sum in another order.
    assert torch.allclose(answers(model, longer)[:, :6], answers(model, plain), atol=1e-5)
    other = {m: torch.cat([x[:, :6], torch.full_like(x[:, 6:], torch.nan)], 1) for m, x in garbage.items()}
    more_garbage = Batch(other, *list(vars(longer).values())[1:])
    assert torch.equal(answers(model, more_garbage)[:, :6], answers(model, longer)[:, :6])


@hypothesis_settings(max_examples=20)
@given_(value=st.sampled_from([1e4, -1e30, float("nan"), float("inf"), float("-inf")]), seed=st.integers(0, 99))
@pytest.mark.parametrize("variant", ["default", "soft", "unmasked", "dialogue-prototypes", "valid-keys"])
def test_what_stands_in_hidden_slots_is_never_read(variant: str, value: float, seed: int) -> None:
    model = stir(build(**VARIANTS[variant]))
    given = batch(model, seed=seed)
    before = answers(model, given)
    hidden = {m: torch.where(given.observed_BUM[..., [u]], x, value) for u, (m, x) in enumerate(given.features.items())}
    assert torch.equal(answers(model, given, features=hidden), before)
    assert torch.isfinite(before).all()


def test_hidden_inputs_get_no_gradient() -> None:
    model = stir(build())
    given = batch(model)
    features = {m: x.clone().requires_grad_() for m, x in given.features.items()}
    model(features, given.observed_BUM, given.valid_BU).joint_BUC.square().sum().backward()
    for u, x in enumerate(features.values()):
        hidden = ~given.observed_BUM[..., u]
        assert x.grad is not None
        assert (x.grad[hidden] == 0).all()
        assert (x.grad[~hidden] != 0).any()


def test_a_missing_modality_sends_no_prompt() -> None:
    """If v is missing everywhere, its prototypes and prompt generator have no say in anything."""
    model = stir(build(coordinator_mask="hard"))
    given = batch(model)
    observed = given.observed_BUM.clone()
    observed[..., 1] = False
    before = answers(model, given, observed_BUM=observed)
    with torch.no_grad():
        model.prototypes.bank[1] += 3.0
        for generator in model.generators:
            for parameter in generator.parameters():
                parameter[1] += 1.0
    after = answers(model, given, observed_BUM=observed)
    # The branch of v itself still hears the others; its own prompts go nowhere.
    assert torch.equal(after, before)


@pytest.mark.parametrize("variant", ["default", "hard", "soft", "unmasked", "uniform", "concat", "valid-keys"])
def test_nothing_observed_and_single_utterances_are_finite(variant: str) -> None:
    model = stir(build(**VARIANTS[variant]))
    for length in (1, 5):
        given = batch(model, length=length, padded=False)
        none = torch.zeros_like(given.observed_BUM)
        said = answers(model, given, observed_BUM=none)
        assert torch.isfinite(said).all()
        # With nothing observed anywhere the inputs are all alike, so the answers differ by position at most.
        assert torch.allclose(said[0], said[1])
        assert torch.isfinite(answers(model, given)).all()


@pytest.mark.parametrize("n_modalities", [2, 3, 4])
@pytest.mark.parametrize("final_norm", [False, True])
def test_the_joint_stage_starts_at_the_function_of_the_branches(n_modalities: int, final_norm: bool) -> None:
    model = build(n_modalities, final_norm=final_norm).eval()
    given = batch(model)
    with torch.no_grad():
        alone = model(given.features, given.observed_BUM, given.valid_BU, stage=BRANCHES).branch
        joint = model(given.features, given.observed_BUM, given.valid_BU).branch
    assert all(torch.equal(alone[name], joint[name]) for name in alone)


@pytest.mark.parametrize("variant", ["no-positions", "soft", "dialogue-prototypes"])
def test_without_positions_the_order_does_not_matter(variant: str) -> None:
    model = stir(build(**{**VARIANTS[variant], "positions": "none"}))
    given = batch(model, padded=False)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    turned = Batch(
        {m: x[:, order] for m, x in given.features.items()}, *(t[:, order] for t in list(vars(given).values())[1:])
    )
    assert torch.allclose(answers(model, turned), answers(model, given)[:, order], atol=1e-5)


@pytest.mark.parametrize("positions", ["conv", "sinusoidal", "rotary"])
def test_with_positions_the_order_matters(positions: str) -> None:
    model = stir(build(positions=positions))
    given = batch(model, padded=False)
    turned = Batch(
        {m: x.flip(1) for m, x in given.features.items()}, *(t.flip(1) for t in list(vars(given).values())[1:])
    )
    assert not torch.allclose(answers(model, turned).flip(1), answers(model, given), atol=1e-4)


@pytest.mark.parametrize("positions", ["none", "conv", "sinusoidal", "rotary"])
@pytest.mark.parametrize("mask", ["hard", "soft"])
def test_causal_models_do_not_look_ahead(positions: str, mask: str) -> None:
    model = stir(build(causal=True, positions=positions, coordinator_mask=mask))
    given = batch(model, padded=False)
    later = {m: x.clone() for m, x in given.features.items()}
    for x in later.values():
        x[:, 4:] += 5.0
    before, after = answers(model, given), answers(model, given, features=later)
    assert torch.allclose(after[:, :4], before[:, :4], atol=1e-6)
    assert not torch.allclose(after[:, 4:], before[:, 4:], atol=1e-3)
    first_lost = given.observed_BUM.clone()
    first_lost[:, :4, 0] = False
    lost = first_lost.clone()
    lost[:, 4:, 0] = False
    before, after = (answers(model, given, observed_BUM=observed) for observed in (first_lost, lost))
    assert torch.allclose(after[:, :4], before[:, :4], atol=1e-6), "what is missing later is not known yet"


@pytest.mark.parametrize("prototypes", ["dialogue", "batch"])
def test_prototypes_of_whole_dialogues_are_refused_where_the_future_is_unknown(prototypes: str) -> None:
    with pytest.raises(UsageError, match="the future included"):
        build(causal=True, prototypes=prototypes)


@pytest.mark.parametrize("coordinator", ["router", "uniform"])
@pytest.mark.parametrize("n_modalities", [2, 3, 4])
def test_weights_are_0_where_missing_and_sum_to_the_number_observed(coordinator: str, n_modalities: int) -> None:
    model = stir(build(n_modalities, coordinator=coordinator, coordinator_mask="hard"))
    given = batch(model)
    with torch.no_grad():
        weight = model(given.features, given.observed_BUM, given.valid_BU).weight_BUM
    assert (weight[~given.observed_BUM] == 0).all()
    assert torch.allclose(weight.sum(-1), given.observed_BUM.sum(-1).float(), atol=1e-6)


def test_a_soft_coordinator_hears_what_the_dialogue_has_elsewhere() -> None:
    model = stir(build(coordinator_mask="soft"))
    given = batch(model, padded=False)
    observed = torch.ones_like(given.observed_BUM)
    observed[0, 2, 0] = False  # missing here, present in the rest of the dialogue
    observed[1, :, 0] = False  # missing in the whole dialogue
    with torch.no_grad():
        weight = model(given.features, observed, given.valid_BU).weight_BUM
    assert weight[0, 2, 0] > 0
    assert (weight[1, :, 0] == 0).all()
    assert torch.allclose(weight.sum(-1)[[0, 1]], torch.tensor([3.0, 2.0])[:, None].expand(2, 6), atol=1e-5)


def test_published_prototypes_depend_on_the_batch_and_on_the_length() -> None:
    """The faithful option keeps the faults of the original: that is what it is for."""
    model = stir(build(prototypes="batch", longest_dialogue=8))
    together = batch(model, padded=False)
    alone = Batch({m: x[:1] for m, x in together.features.items()}, *(t[:1] for t in list(vars(together).values())[1:]))
    assert (answers(model, alone)[0] - answers(model, together)[0]).abs().max() > 1e-6
    with pytest.raises(UsageError, match=r"9 utterances, more than model\.longest_dialogue = 8"):
        answers(model, batch(model, length=9))


def test_missing_modalities_send_prompts_where_the_paper_says_so() -> None:
    for sends in (False, True):
        model = stir(build(prompts_from_missing=sends, coordinator_mask="hard"))
        given = batch(model)
        observed = given.observed_BUM.clone()
        observed[..., 1] = False
        before = answers(model, given, observed_BUM=observed)
        with torch.no_grad():
            model.generators[0].from_branch.bias[1] += 3.0
        assert torch.equal(answers(model, given, observed_BUM=observed), before) != sends


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positions": "convolution"}, "positions cannot be 'convolution'"),
        ({"hidden": 10, "heads": 4}, "multiple of model.heads"),
        ({"hidden": 6, "heads": 2, "positions": "rotary"}, "even width"),
        ({"dropout": 1.0}, "model.dropout"),
        ({"blocks": -1}, "not below 0"),
        ({"attention": "published", "positions": "rotary"}, "neither rotary"),
        ({"prompt_momentum": 1.5}, "prompt_momentum"),
    ],
)
def test_settings_that_make_no_model(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CompSettings(**settings)
