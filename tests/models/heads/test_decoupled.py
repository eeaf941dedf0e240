"""The comparison with decoupled prototypes: what it must not see, what it must not move, and what it must equal."""

import itertools

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from imer.core.errors import InvalidInput, UsageError
from imer.models.heads.decoupled import FUSED, DecoupledPrototypes
from imer.models.heads.dpl_settings import DPLSettings
from imer.models.heads.prototypes import unit
from tests.models.heads.builders import MODALITIES, PLAIN, SHARING, all_directions, comparer, every_case, features

OBSERVED = every_case()


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("normalise", ["block", "joint"])
@pytest.mark.parametrize("filling", [float("nan"), float("inf"), 1e30, -1e30, 0.37])
def test_content_of_missing_modalities_is_never_read(sharing: str, normalise: str, filling: float) -> None:  # E.1
    comparing = comparer(sharing=sharing, normalise=normalise)
    x = features(comparing, len(OBSERVED))
    weight = torch.rand(len(OBSERVED), 3) + 0.1
    filled = {m: torch.where(OBSERVED[:, [u]], x[m], filling) for u, m in enumerate(MODALITIES)}
    hidden_weight = torch.where(OBSERVED, weight, filling)
    expected = comparing(x, OBSERVED, weight).cosine_K
    assert torch.equal(comparing(filled, OBSERVED, hidden_weight).cosine_K, expected)


def test_length_of_an_observed_vector_does_not_matter() -> None:  # E.3
    comparing = comparer()
    x = features(comparing, len(OBSERVED))
    longer = {m: v * (10.0 ** (torch.rand(len(OBSERVED), 1) * 6 - 3)) for m, v in x.items()}
    difference = comparing(longer, OBSERVED).cosine_K - comparing(x, OBSERVED).cosine_K
    assert difference.abs().max() <= 1e-6


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("weighted", [False, True])
def test_score_is_the_true_cosine_of_the_concatenations(sharing: str, weighted: bool) -> None:  # E.4, E.5
    comparing = comparer((5, 9, 12), sharing=sharing)
    x = features(comparing, len(OBSERVED))
    weight = torch.rand(len(OBSERVED), 3) + 0.2 if weighted else torch.ones(len(OBSERVED), 3)
    score = comparing(x, OBSERVED, weight).cosine_K
    directions = {(code, block): d for code, block, d in all_directions(comparing.prototypes)}
    for row, observed in enumerate(OBSERVED):
        code = int(comparing.cases.codes(observed))
        there = [(u, m) for u, m in enumerate(MODALITIES) if observed[u]]
        length = [weight[row, u].sqrt() for u, _ in there]
        whole = torch.cat([g * normalize(x[m][row], dim=0) for g, (_, m) in zip(length, there, strict=True)])
        table = torch.cat([g * directions[code, m] for g, (_, m) in zip(length, there, strict=True)], 1)
        assert torch.allclose(score[row], normalize(whole, dim=0) @ normalize(table, dim=1).T, atol=1e-6)
    assert score.abs().max() <= 1 + 1e-6


def test_mixed_batch_equals_batches_of_one_case_and_follows_a_permutation() -> None:  # E.6
    comparing = comparer()
    x = features(comparing, len(OBSERVED))
    score = comparing(x, OBSERVED).cosine_K
    case = comparing.cases.codes(OBSERVED)
    for code in range(1, 8):
        rows = case == code
        alone = comparing({m: v[rows] for m, v in x.items()}, OBSERVED[rows]).cosine_K
        # One matrix product over all rows: another batch size may sum in another order.
        assert torch.allclose(alone, score[rows], atol=1e-6)
    order = torch.randperm(len(OBSERVED))
    permuted = comparing({m: v[order] for m, v in x.items()}, OBSERVED[order]).cosine_K
    assert torch.allclose(permuted, score[order], atol=1e-6)


@pytest.mark.parametrize("code", range(1, 8))
def test_a_case_reaches_exactly_its_own_rows(code: int) -> None:  # E.7, E.8, E.9
    comparing = comparer()
    observed = comparing.cases.members_CM[code].expand(10, -1)
    x = {m: v.requires_grad_() for m, v in features(comparing, 10).items()}
    cross_entropy(8 * comparing(x, observed).cosine_K, torch.arange(10) % 4).backward()
    for u, block in enumerate(MODALITIES):
        weights = comparing.prototypes.own[block]
        grad = weights.grad
        own = comparing.prototypes.case_codes(block) == code
        assert (grad[~own] == 0).all()
        assert (grad[own] != 0).any() == bool(observed[0, u])
        assert (grad * weights).sum(-1).abs().max() <= 1e-6  # tangent: only directions matter
        features_moved = x[block].grad
        assert features_moved is not None
        assert ((features_moved != 0).any(1) == observed[:, u]).all()


def test_one_modality_is_a_normalised_linear_layer() -> None:  # E.10
    comparing = comparer((12,))
    x = features(comparing, 8)
    (_, _, direction) = next(iter(all_directions(comparing.prototypes)))
    expected = normalize(x["audio"], dim=-1) @ direction.T
    assert torch.allclose(comparing(x, torch.ones(8, 1, dtype=torch.bool)).cosine_K, expected, atol=1e-6)


def test_complete_data_are_a_third_of_the_block_cosine_layer() -> None:  # E.10
    comparing = comparer()
    x = features(comparing, 8)
    complete = [d for code, _, d in all_directions(comparing.prototypes) if code == 7]
    blocks = torch.cat([normalize(x[m], dim=-1) for m in MODALITIES], -1)
    expected = blocks @ torch.cat(complete, -1).T / 3
    assert torch.allclose(comparing(x, torch.ones(8, 3, dtype=torch.bool)).cosine_K, expected, atol=1e-6)


def test_tied_full_equals_shared_and_delta_without_offsets_equals_shared() -> None:  # E.11
    shared = comparer(sharing="shared")
    x = features(shared, len(OBSERVED))
    expected = shared(x, OBSERVED).cosine_K
    tied, delta = comparer(sharing="full", initial="tied", seed=1), comparer(sharing="delta", seed=2)
    additive = comparer(sharing="additive", seed=3)
    with torch.no_grad():
        for m in MODALITIES:
            tied.prototypes.own[m].copy_(shared.prototypes.common[m].expand(4, -1, -1))
            delta.prototypes.common[m].copy_(shared.prototypes.common[m] * 3)
            additive.prototypes.common[m].copy_(shared.prototypes.common[m])
    assert torch.allclose(tied(x, OBSERVED).cosine_K, expected, atol=1e-7)
    assert torch.allclose(delta(x, OBSERVED).cosine_K, expected, atol=1e-6)
    assert torch.allclose(additive(x, OBSERVED).cosine_K, expected, atol=1e-6)


def test_tied_start_is_equal_in_every_case_and_xavier_is_not() -> None:
    for initial, equal in (("tied", True), ("class_mean", True), ("xavier", False)):
        own = comparer(initial=initial).prototypes.own["audio"]
        assert torch.equal(own[0], own[3]) == equal


@pytest.mark.parametrize("code", range(1, 8))
def test_delta_moves_the_shared_direction_and_its_own_offset_only(code: int) -> None:  # E.11
    comparing = comparer(sharing="delta")
    observed = comparing.cases.members_CM[code].expand(10, -1)
    cross_entropy(8 * comparing(features(comparing, 10), observed).cosine_K, torch.arange(10) % 4).backward()
    for u, block in enumerate(MODALITIES):
        own = comparing.prototypes.case_codes(block) == code
        assert (comparing.prototypes.common[block].grad != 0).any() == bool(observed[0, u])
        offset = comparing.prototypes.offset[block].grad
        assert (offset[~own] == 0).all()
        assert (offset[own] != 0).any() == bool(observed[0, u])


@pytest.mark.parametrize("n_modalities", [2, 3, 4, 5])
def test_parameter_counts(n_modalities: int) -> None:  # E.15
    widths, m = (12,) * n_modalities, n_modalities
    vectors = {
        "full": m * 2 ** (m - 1), "shared": m, "delta": m * (1 + 2 ** (m - 1)), "additive": m**2, "cardinality": m**2,
    }  # fmt: skip
    for sharing, count in vectors.items():
        parameters = sum(p.numel() for p in comparer(widths, sharing=sharing).parameters())
        assert parameters == count * 4 * 12
    trainable = comparer(widths, absent="trainable")
    assert sum(p.numel() for p in trainable.parameters()) == m * (2**m - 1) * 4 * 12


def test_fused_vector_has_prototypes_per_case() -> None:
    comparing = DecoupledPrototypes(MODALITIES, {FUSED: 20}, 4, PLAIN)
    assert sum(p.numel() for p in comparing.parameters()) == 7 * 4 * 20
    x = {FUSED: torch.randn(len(OBSERVED), 20)}
    score = comparing(x, OBSERVED).cosine_K
    directions = {code: d for code, _, d in all_directions(comparing.prototypes)}
    for row, code in enumerate(comparing.cases.codes(OBSERVED).tolist()):
        assert torch.allclose(score[row], normalize(x[FUSED][row], dim=0) @ directions[code].T, atol=1e-6)


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("order", [p for p in itertools.permutations(range(3)) if p != (0, 1, 2)])
def test_order_of_the_modalities_does_not_matter(sharing: str, order: tuple[int, ...]) -> None:  # E.16
    comparing = comparer((5, 9, 12), sharing=sharing)
    for offset in comparing.prototypes.offset.values():
        torch.nn.init.normal_(offset)
    names = tuple(MODALITIES[u] for u in order)
    widths = {m: comparing.prototypes.blocks[m] for m in names}
    permuted = DecoupledPrototypes(names, widths, 4, comparing.settings)
    with torch.no_grad():
        for m in MODALITIES:
            copy_rows(comparing, permuted, m)
    x = features(comparing, len(OBSERVED))
    expected = comparing(x, OBSERVED).cosine_K
    result = permuted({m: x[m] for m in names}, OBSERVED[:, list(order)]).cosine_K
    assert (result - expected).abs().max() <= 1e-6


def copy_rows(source: DecoupledPrototypes, to: DecoupledPrototypes, block: str) -> None:
    """Give `to`, whose modalities stand in another order, the prototypes of `source`."""
    old, new = source.prototypes, to.prototypes
    if block in old.common:
        new.common[block].copy_(old.common[block])
    if source.settings.sharing == "cardinality":
        new.own[block].copy_(old.own[block])
    if source.settings.sharing == "additive":
        causes = [m for m in old.cases.modalities if m != block]
        for place, cause in enumerate(m for m in new.cases.modalities if m != block):
            new.offset[block][place] = old.offset[block][causes.index(cause)]
    if source.settings.sharing in ("full", "delta"):
        part = "own" if source.settings.sharing == "full" else "offset"
        old_codes = old.case_codes(block).tolist()
        for place, code in enumerate(new.case_codes(block).tolist()):
            row = old_codes.index(old.cases.code_of(new.cases.name(code)))
            getattr(new, part)[block][place] = getattr(old, part)[block][row]


def test_coordinator_acts_through_weights_and_never_through_lengths() -> None:  # E.17
    comparing = comparer()
    x = features(comparing, len(OBSERVED))
    raw = torch.randn(len(OBSERVED), 3, requires_grad=True)
    weight = torch.where(OBSERVED, raw.exp(), 0.0)
    plain = comparing(x, OBSERVED).cosine_K
    assert torch.allclose(comparing(x, OBSERVED, torch.full((len(OBSERVED), 3), 0.7)).cosine_K, plain, atol=1e-6)
    target = torch.arange(len(OBSERVED)) % 4

    scaled = {m: v * raw.exp()[:, [u]] for u, (m, v) in enumerate(x.items())}
    by_length = comparing(scaled, OBSERVED).cosine_K
    assert torch.allclose(by_length, plain, atol=1e-6)
    (dead,) = torch.autograd.grad(cross_entropy(16 * by_length, target), raw)
    (alive,) = torch.autograd.grad(cross_entropy(16 * comparing(x, OBSERVED, weight).cosine_K, target), raw)
    assert dead.abs().max() < 1e-5
    assert alive.abs().max() > 1e-3
    off = comparer(coordinator="off")
    assert torch.allclose(off(x, OBSERVED, weight).cosine_K, plain, atol=1e-6)


def test_nothing_observed_scores_zero_with_zero_gradient() -> None:  # E.18
    comparing = comparer()
    x = {m: v.fill_(float("nan")).requires_grad_() for m, v in features(comparing, 4).items()}
    score = comparing(x, torch.zeros(4, 3, dtype=torch.bool)).cosine_K
    assert (score == 0).all()
    score.sum().backward()
    for parameter in comparing.parameters():
        assert parameter.grad is None or (parameter.grad == 0).all()


@pytest.mark.parametrize("zero_as_missing", [True, False])
def test_vector_of_zeros_is_missing_or_shrinks_the_score(zero_as_missing: bool) -> None:
    comparing = comparer(zero_as_missing=zero_as_missing)
    x = {m: v.requires_grad_() for m, v in features(comparing, 5).items()}
    empty = {**x, "visual": torch.zeros(5, 12, requires_grad=True)}
    complete = torch.ones(5, 3, dtype=torch.bool)
    output = comparing(empty, complete)
    if zero_as_missing:
        without = comparing(x, torch.tensor([True, True, False]).expand(5, -1)).cosine_K
        assert torch.equal(output.cosine_K, without)
    else:
        pairs = comparing(x, complete).block_cosine_BK[:, :2].sum(1) / 3
        assert torch.allclose(output.cosine_K, pairs, atol=1e-6)
    output.cosine_K.square().sum().backward()
    assert empty["visual"].grad is not None
    assert (empty["visual"].grad == 0).all()  # a direction that does not exist must not explode


def test_step_on_one_case_leaves_other_directions_alone_but_momentum_does_not() -> None:  # E.21
    target = torch.arange(10) % 4

    def moved(optimiser_class: type[torch.optim.Optimizer], warm: bool, **options: float) -> float:
        comparing = comparer()
        optimiser = optimiser_class(comparing.parameters(), lr=1e-2, **options)
        for code in (1, 7) if warm else (7,):
            before = unit(comparing.prototypes.own["audio"].detach().clone())
            optimiser.zero_grad()
            observed = comparing.cases.members_CM[code].expand(10, -1)
            cross_entropy(16 * comparing(features(comparing, 10), observed).cosine_K, target).backward()
            optimiser.step()
        other = comparing.prototypes.case_codes("audio") == 1
        return float((unit(comparing.prototypes.own["audio"].detach()) - before)[other].abs().max())

    assert moved(torch.optim.SGD, warm=True, weight_decay=0.02) <= 1e-6
    assert moved(torch.optim.AdamW, warm=False, weight_decay=0.02) <= 1e-6
    drift = moved(torch.optim.AdamW, warm=True, weight_decay=0.02)
    assert 1e-4 < drift < 3e-2  # gradient isolation is not update isolation: momentum carries on


def test_half_precision_context_does_not_reach_the_cosines() -> None:  # E.22
    comparing = comparer()
    x = features(comparing, len(OBSERVED))
    expected = comparing(x, OBSERVED).cosine_K
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = comparing(x, OBSERVED).cosine_K
        coarse = comparing({m: v.bfloat16() for m, v in x.items()}, OBSERVED).cosine_K
    assert inside.dtype == coarse.dtype == torch.float32
    assert torch.equal(inside, expected)
    assert (coarse - expected).abs().max() <= 1e-2


@pytest.mark.parametrize("sharing", SHARING)
def test_saved_prototypes_load_and_another_order_of_modalities_is_refused(sharing: str) -> None:  # E.23
    comparing, other = comparer(sharing=sharing), comparer(sharing=sharing, seed=9)
    x = features(comparing, len(OBSERVED))
    comparing.count(comparing(x, OBSERVED), torch.ones(len(OBSERVED), dtype=torch.bool))
    comparing.eval().train()
    other.load_state_dict(comparing.state_dict())
    assert torch.equal(other(x, OBSERVED).cosine_K, comparing(x, OBSERVED).cosine_K)
    assert other.count_C.tolist() == [0] + [3] * 7
    reordered = DecoupledPrototypes(
        ("text", "audio", "visual"), dict.fromkeys(("text", "audio", "visual"), 12), 4, PLAIN
    )
    with pytest.raises(InvalidInput, match=r"audio,text,visual.*text,audio,visual"):
        reordered.load_state_dict(comparing.state_dict())


def test_reconstructed_branches_vote_where_asked() -> None:
    comparing = comparer(absent="trainable")
    x = features(comparing, len(OBSERVED))
    changed = {**x, "audio": x["audio"] + 1}
    difference = (comparing(x, OBSERVED).cosine_K - comparing(changed, OBSERVED).cosine_K).abs().sum(1)
    assert (difference > 0).all()


def test_absent_modalities_vote_where_the_coordinator_hears_them() -> None:
    comparing = comparer(absent="heard")
    x = features(comparing, len(OBSERVED))
    weight = OBSERVED.float()
    unheard = comparing(x, OBSERVED, weight)
    assert torch.equal(unheard.votes_B, OBSERVED)
    assert torch.equal(comparing(x, OBSERVED).votes_B, OBSERVED), "without a coordinator nobody else is heard"
    weight[:, 0] = 0.5
    heard = comparing(x, OBSERVED, weight)
    there = OBSERVED.any(-1)
    assert torch.equal(heard.votes_B, OBSERVED | torch.tensor([True, False, False]) & there.unsqueeze(-1))
    changed = comparing({**x, "audio": x["audio"] + 1}, OBSERVED, weight)
    assert ((changed.cosine_K - heard.cosine_K).abs().sum(1) > 0).tolist() == there.tolist()
    # Half a vote beside whole ones, with the prototypes that the case has for this modality.
    row = OBSERVED.tolist().index([False, True, False])
    table = {(code, block): d for code, block, d in all_directions(comparing.prototypes)}
    code = int(comparing.cases.codes(OBSERVED[row]))
    audio, text = (table[code, m] @ normalize(x[m][row], dim=0) for m in ("audio", "text"))
    assert torch.allclose(heard.cosine_K[row], (0.5 * audio + text) / 1.5, atol=1e-6)


def test_a_heard_vector_of_zeros_has_no_vote() -> None:
    comparing = comparer(absent="heard")
    x, weight = features(comparing, 5), torch.tensor([0.5, 1.0, 1.5]).expand(5, -1)
    empty = {**x, "visual": torch.zeros(5, 12)}
    silent = weight * torch.tensor([1.0, 1.0, 0.0])
    for visual in (True, False):
        observed = torch.tensor([False, True, visual]).expand(5, -1)
        found = comparing(empty, observed, weight)
        expected = comparing(x, torch.tensor([False, True, False]).expand(5, -1), silent)
        assert torch.equal(found.votes_B, expected.votes_B)
        assert torch.equal(found.cosine_K, expected.cosine_K)


def test_prototypes_that_never_voted_take_no_part() -> None:
    comparing = comparer(absent="heard").train()
    x, weight = features(comparing, len(OBSERVED)), OBSERVED.float()
    weight[:, 1] = 0.5
    comparing.count(comparing(x, OBSERVED, weight), torch.ones(len(OBSERVED), dtype=torch.bool))
    codes = comparing.cases.codes(OBSERVED)
    seen = {int(c) for c in codes if c > 0}
    for u, block in enumerate(MODALITIES):
        rows = comparing.prototypes.case_codes(block).tolist()
        expected = [c in seen and (u == 1 or bool(comparing.cases.members_CM[c, u])) for c in rows]
        assert comparing.met(block).tolist() == expected
    resumed = comparer(absent="heard")
    resumed.load_state_dict(comparing.eval().state_dict())
    assert all(torch.equal(resumed.met(block), comparing.met(block)) for block in MODALITIES)


def test_joint_normalisation_is_one_cosine_of_the_raw_concatenations() -> None:
    comparing = comparer(normalise="joint")
    x = features(comparing, 6)
    complete = torch.cat([comparing.prototypes.own[m][-1] for m in MODALITIES], -1)
    expected = normalize(torch.cat(list(x.values()), -1), dim=-1) @ normalize(complete, dim=-1).T
    score = comparing(x, torch.ones(6, 3, dtype=torch.bool)).cosine_K
    assert torch.allclose(score, expected, atol=1e-6)


def test_unequal_widths_cannot_be_contrasted_across_modalities() -> None:
    settings = DPLSettings(contrast_scope="all")
    with pytest.raises(UsageError, match=r"equal feature widths.*intra_modality"):
        DecoupledPrototypes(("audio", "text"), {"audio": 4, "text": 5}, 3, settings)
    with pytest.raises(UsageError, match="one feature block per modality"):
        DecoupledPrototypes(("audio", "text"), {"text": 5}, 3, settings)
