"""The head behind its protocol: losses, starts, regression, and what it can do that a shared head cannot."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from imer.core.errors import UsageError
from imer.core.ranges import OneOf, declared
from imer.models.heads.base import HeadInput
from imer.models.heads.dpl import DPLHead
from imer.models.heads.dpl_settings import DPLSettings, by_case
from imer.models.heads.prototypes import unit
from imer.training.settings_layers import load_settings
from tests.models.heads.builders import MODALITIES, SHARING, all_directions, asking, given, head


def total(head: DPLHead, asked: HeadInput, target: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    return torch.stack(list(head.losses(head(asked), target, counted).values())).sum()


def test_answers_are_scaled_cosines_and_the_loss_adds_the_margin() -> None:
    deciding, asked = head(scale=16.0, margin_complete=0.1, margin_single=0.2), given()
    output = deciding(asked)
    assert torch.allclose(output.answer_BUC, 16 * output.extra["cosine_BUK"], atol=1e-5)
    target = torch.arange(21).reshape(1, 21) % 4
    counted = torch.ones(1, 21, dtype=torch.bool)
    loss = deciding.losses(output, target, counted)["joint"]
    angle = output.extra["cosine_BUK"].arccos()
    margin = torch.tensor([0, 0.2, 0.2, 0.15, 0.2, 0.15, 0.15, 0.1])[output.extra["case_BU"]]
    angle = angle + margin.unsqueeze(-1) * torch.nn.functional.one_hot(target, 4)
    expected = cross_entropy(16 * angle.cos().flatten(0, 1), target.flatten())
    assert torch.allclose(loss, expected, atol=1e-5)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("attach", ["branches", "concatenated"])
def test_every_sharing_learns_its_training_data(task: str, sharing: str, attach: str) -> None:
    deciding = head(
        task, sharing=sharing, attach=attach, refine=True, contrast_weight=0.1, delta_penalty=0.01, dropout=0
    )
    asked, counted = given(), torch.ones(1, 21, dtype=torch.bool)
    target = torch.arange(21).reshape(1, 21) % 4
    target = target if task == "classification" else target * 1.5 - 2.2
    optimiser = torch.optim.AdamW(deciding.parameters(), lr=1e-2)
    first = total(deciding, asked, target, counted)
    for _ in range(60):
        optimiser.zero_grad()
        total(deciding, asked, target, counted).backward()
        optimiser.step()
    terms = deciding.losses(deciding(asked), target, counted)
    assert total(deciding, asked, target, counted) < 0.5 * first
    assert all(term.isfinite() for term in terms.values())
    expected = {"joint", "contrast"} | ({"bins"} if task == "regression" else set())
    assert set(terms) - {"offsets"} == expected
    assert ("offsets" in terms) == (sharing in ("delta", "additive"))


@pytest.mark.parametrize(("term", "weight", "task"), [
    ("bins", "bin_loss_weight", "regression"), ("contrast", "contrast_weight", "classification"),
    ("offsets", "delta_penalty", "classification"),
])  # fmt: skip
def test_each_term_counts_as_much_as_its_weight_says(term: str, weight: str, task: str) -> None:
    asked, counted = given(), torch.ones(1, 21, dtype=torch.bool)
    target = torch.arange(21).reshape(1, 21) % 4
    found = []
    for share in (1.0, 0.25):
        deciding = head(task, sharing="delta", **{weight: share})
        for offset in deciding.prototypes.prototypes.offset.values():
            torch.nn.init.constant_(offset, 0.1)
        assert deciding.prototypes.prototypes.offset_size().item() == pytest.approx(12 * 0.1**2)  # a mean, not a sum
        output = deciding(asked)
        found.append(
            deciding.losses(output, target if task == "classification" else target - 1.5, counted)[term].item()
        )
    assert found[0] > 0
    assert found[1] == pytest.approx(0.25 * found[0])


def test_nothing_counted_and_nothing_observed_are_left_out() -> None:  # E.18
    deciding = head(refine=True)
    observed = torch.tensor([[False, False, False], [True, False, True]])
    asked = given(observed=observed)
    hidden = ~observed.T[:, None, :, None]
    poisoned = asking(asked.branches_MBUH.masked_fill(hidden, torch.nan), asked.observed_BUM)
    output = deciding(poisoned)
    assert (output.answer_BUC[0, 0] == 0).all()
    target, counted = torch.tensor([[1, 2]]), torch.ones(1, 2, dtype=torch.bool)
    alone = deciding.losses(output, target, torch.tensor([[False, True]]))["joint"]
    assert torch.equal(deciding.losses(output, target, counted)["joint"], alone)
    none = deciding.losses(output, torch.tensor([[-1, -1]]), torch.zeros(1, 2, dtype=torch.bool))["joint"]
    assert none == 0
    alone.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in deciding.parameters())


def test_a_refiner_makes_nothing_of_a_branch_of_zeros() -> None:
    deciding, asked = head(refine=True).eval(), given(observed=torch.tensor([[True, True, True]]))
    with torch.no_grad():
        for refiner in deciding.refiners.values():
            refiner.layer.bias.add_(1.0)
    asked.branches_MBUH[2] = 0.0
    without = asking(asked.branches_MBUH, torch.tensor([[[True, True, False]]]))
    assert torch.equal(deciding(asked).answer_BUC, deciding(without).answer_BUC)


def test_counts_only_training_utterances() -> None:
    deciding, asked = head(), given()
    target, counted = torch.zeros(1, 21, dtype=torch.long), torch.arange(21).unsqueeze(0) < 14
    deciding.losses(deciding(asked), target, counted)
    deciding.eval()
    deciding.losses(deciding(asked), target, counted)
    assert deciding.prototypes.count_C.tolist() == [0] + [2] * 7


def test_counts_are_of_utterances_and_not_of_epochs() -> None:
    deciding, asked = head(), given()
    target = torch.zeros(1, 21, dtype=torch.long)
    for n in (7, 14, 7):
        deciding.train()
        deciding.losses(deciding(asked), target, torch.arange(21).unsqueeze(0) < n)
        deciding.eval()
    assert deciding.prototypes.count_C.tolist() == [0] + [2] * 7, "the most of any epoch"


def test_one_fused_vector_is_asked_of_a_model_that_has_one() -> None:
    with pytest.raises(UsageError, match="one vector per utterance; this one gives 3"):
        head(attach="fused")(given())


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_prototype_exactly_on_the_feature_is_finite(margin: float) -> None:  # E.13
    deciding = head(margin_complete=margin, margin_single=margin)
    direction = unit(deciding.prototypes.prototypes.own["audio"].detach())[0]
    branches = torch.zeros(3, 1, 8, 12)
    branches[0, 0] = torch.cat((direction, -direction))
    observed = torch.tensor([True, False, False]).expand(1, 8, 3)
    branches.requires_grad_()
    target = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3]])
    loss = total(deciding, asking(branches, observed), target, torch.ones(1, 8, dtype=torch.bool))
    loss.backward()
    assert loss.isfinite()
    assert branches.grad is not None
    assert branches.grad.isfinite().all()
    assert deciding.prototypes.prototypes.own["audio"].grad.isfinite().all()


def flipping(count: int, seed: int) -> tuple[HeadInput, torch.Tensor]:
    """Two classes whose audio direction changes sign when the text, which is noise, is observed too."""
    drawn = torch.Generator().manual_seed(seed)
    place = torch.arange(count)
    target, pair = place % 2, place // 2 % 2 == 1
    observed = torch.stack((torch.ones(count, dtype=torch.bool), pair, torch.zeros(count, dtype=torch.bool)), -1)
    branches = 0.1 * torch.randn(3, 1, count, 48, generator=drawn)
    branches[0, 0, :, 2] += torch.where(pair, 1.0, -1.0) * (2.0 * target - 1)
    return asking(branches, observed.unsqueeze(0), 2), target.unsqueeze(0)


def test_case_specific_directions_need_case_specific_prototypes() -> None:  # E.19
    (asked, target), (new, answer) = flipping(600, seed=0), flipping(600, seed=1)
    accuracy = {}
    for sharing in ("full", "shared", "delta", "additive"):
        deciding = head(n_outputs=2, width=48, sharing=sharing)
        optimiser = torch.optim.AdamW(deciding.parameters(), lr=3e-2)
        for _ in range(80):
            optimiser.zero_grad()
            total(deciding, asked, target, torch.ones_like(target, dtype=torch.bool)).backward()
            optimiser.step()
        accuracy[sharing] = (deciding.eval()(new).answer_BUC.argmax(-1) == answer).float().mean().item()
    assert accuracy["shared"] <= 0.65
    assert min(accuracy["full"], accuracy["delta"], accuracy["additive"]) >= 0.99


@pytest.mark.parametrize("decoder", ["bins", "axis"])
def test_regression_answers_do_not_see_missing_content(decoder: str) -> None:  # E.20
    deciding, asked = head("regression", decoder=decoder).eval(), given()
    filled = torch.where(asked.observed_BUM.permute(2, 0, 1).unsqueeze(-1), asked.branches_MBUH, 1e30)
    answer = deciding(asked).answer_BUC
    assert answer.shape == (1, 21, 1)
    assert torch.equal(deciding(replace(asked, branches_MBUH=filled)).answer_BUC, answer)
    assert answer.abs().max() <= 3 + 1e-6


def test_bins_span_the_label_in_standardised_units() -> None:
    spec = replace(head("regression").spec, target_centre=0.5, target_spread=2.0, target_range=(-1.0, 5.0))
    deciding = DPLHead(spec, 12, DPLSettings())
    assert deciding.readout.bins is not None
    centre = deciding.readout.bins.centre_K * 2.0 + 0.5
    assert torch.allclose(centre, torch.linspace(-1, 5, 7), atol=1e-6)
    wider = DPLHead(spec, 12, DPLSettings(bin_low=-3.0, bins=5))
    assert wider.readout.bins is not None
    assert wider.readout.bins.centre_K[0] * 2.0 + 0.5 == pytest.approx(-3.0)


def test_learnt_scales_stay_inside_their_bounds() -> None:
    deciding = head("regression", learn_scale="regression", scale=16.0, scales=("audio=8", "audio+text=32"))
    assert deciding.readout.scale_C()[[1, 2, 3]].tolist() == pytest.approx([8, 16, 32], rel=1e-4)
    with torch.no_grad():
        deciding.readout.scale_place_C.copy_(torch.linspace(-50, 50, 8))
    assert deciding.readout.scale_C().min() >= 4
    assert deciding.readout.scale_C().max() <= 64 + 1e-4
    assert not head().readout.scale_place_C.requires_grad


def test_class_weights_and_smoothing_act_as_in_the_standard_loss() -> None:
    spec = replace(head().spec, class_weights=(0.5, 1.0, 2.0, 0.5))
    settings = replace(head().settings, margin_complete=0.0, margin_single=0.0, label_smoothing=0.0)
    deciding, asked = DPLHead(spec, 12, settings), given()
    output = deciding(asked)
    target, counted = torch.arange(21).reshape(1, 21) % 4, torch.ones(1, 21, dtype=torch.bool)
    loss = deciding.losses(output, target, counted)["joint"]
    weight = torch.tensor(spec.class_weights)
    expected = cross_entropy(output.answer_BUC[0], target[0], weight=weight)
    assert torch.allclose(loss, expected, atol=1e-5)
    smooth = DPLHead(head().spec, 12, replace(settings, label_smoothing=0.1))
    output = smooth(asked)
    expected = cross_entropy(output.answer_BUC[0], target[0], label_smoothing=0.1)
    assert torch.allclose(smooth.losses(output, target, counted)["joint"], expected, atol=1e-5)


@pytest.mark.parametrize("sharing", SHARING)
def test_class_means_start_the_prototypes(sharing: str) -> None:
    torch.manual_seed(4)
    centres = torch.randn(3, 4, 12)  # modality, class
    target = torch.arange(280) % 4
    observed = given().observed_BUM[0].repeat(14, 1)[:280]
    branches = centres[:, target] * 3 + 0.1 * torch.randn(3, 280, 12)
    branches = torch.where(observed.T.unsqueeze(-1), branches, torch.nan)
    deciding = head(sharing=sharing, initial="class_mean", class_mean_pull=20.0)
    before = deciding(given()).answer_BUC
    deciding.start(branches, observed, target)
    assert deciding.training
    assert not torch.equal(deciding(given()).answer_BUC, before)
    asked = asking(branches.unsqueeze(1), observed.unsqueeze(0))
    assert (deciding(asked).answer_BUC.argmax(-1)[0] == target).float().mean() > 0.99
    for _, block, direction in all_directions(deciding.prototypes.prototypes):
        wanted = normalize(centres[MODALITIES.index(block)], dim=-1)
        assert ((direction * wanted).sum(-1) > 0.98).all()


def test_rare_case_starts_from_the_mean_over_all_cases() -> None:
    deciding = head(sharing="full", n_outputs=2, initial="class_mean", class_mean_pull=20.0)
    alone = torch.tensor([True, False, False])
    pair = torch.tensor([True, True, False])
    observed = torch.stack([alone] * 2 + [pair] * 400)
    branches = torch.zeros(3, 402, 12)
    branches[0, :2, 0], branches[0, 2:, 1] = 1.0, 1.0
    deciding.start(branches, observed, torch.arange(402) % 2)
    rows = dict(zip(deciding.prototypes.prototypes.case_codes("audio").tolist(), range(4), strict=True))
    own = deciding.prototypes.prototypes.own["audio"].detach()
    common, rare = own[rows[3], 0], own[rows[1], 0]
    assert common[1] > 0.999
    assert rare[0] < 0.1  # one utterance against a pull of 20
    assert torch.allclose(own[rows[5], 0], own[rows[7], 0], atol=1e-6)  # never met: the mean over all


def test_classes_without_utterances_keep_their_direction() -> None:
    for sharing in SHARING:
        deciding = head(sharing=sharing, initial="class_mean")
        before = unit(deciding.prototypes.prototypes.vectors("audio").detach().clone())
        asked = given()
        deciding.start(asked.branches_MBUH[:, 0], asked.observed_BUM[0], torch.arange(21) % 3)
        after = unit(deciding.prototypes.prototypes.vectors("audio").detach())
        assert torch.allclose(after[:, 3], before[:, 3], atol=1e-6)
        assert not torch.allclose(after[:, 0], before[:, 0], atol=1e-2)


def test_contrast_scopes_over_met_cases() -> None:
    for sharing, scope, components in (("full", "all", 12), ("shared", "all", 3), ("full", "intra_modality", 4)):
        deciding = head(sharing=sharing, contrast_weight=1.0, contrast_scope=scope, contrast_temperature=1.0)
        deciding.prototypes.count_C[1:] = 1
        simplex = torch.eye(4) - 0.25
        with torch.no_grad():
            for table in (deciding.prototypes.prototypes.own, deciding.prototypes.prototypes.common):
                for m in table:
                    table[m].zero_()
                    table[m][..., :4] = simplex
        v = components
        expected = -1 + torch.log(torch.tensor((v - 1) * torch.e + v * 3 * torch.e ** (-1 / 3)))
        assert deciding.contrast().item() == pytest.approx(expected.item(), abs=1e-4)
    alone = head(sharing="shared", contrast_weight=1.0, contrast_scope="intra_modality")
    alone.prototypes.count_C[1:] = 1
    assert alone.contrast() == 0
    partly = head(contrast_weight=1.0, contrast_scope="all")
    partly.prototypes.count_C[7] = 5
    partly.contrast().backward()
    for block in MODALITIES:
        unmet = partly.prototypes.prototypes.case_codes(block) != 7
        assert (partly.prototypes.prototypes.own[block].grad[unmet] == 0).all()


def test_decay_reaches_the_prototypes_only_where_asked() -> None:
    names = {n for n, _ in head(refine=True).named_parameters()}
    plain, published_rule = head(refine=True).undecayed, head(refine=True, decay=True).undecayed
    assert plain <= names
    assert {n for n in names if n.startswith("prototypes.")} <= plain
    assert not any(n.startswith(("prototypes.", "refiners.")) for n in published_rule)


def test_settings_refuse_what_makes_no_sense() -> None:
    for name in (n for n, allowed in declared(DPLSettings).items() if isinstance(allowed, OneOf)):
        with pytest.raises(UsageError, match=f"head.{name}"):
            DPLSettings(**{name: "nonsense"})
    for bad in ({"scale": 128.0}, {"scale_low": 0.0}, {"margin_single": -0.1}, {"scales": ("audio=1",)},
                {"margins": ("audio",)}, {"margins": ("audio=x",)}, {"bin_low": 1.0, "bin_high": 0.0},
                *({"branch_answers": "prototypes"} | other for other in ({"attach": "concatenated"},
                  {"normalise": "joint"}, {"late_fusion": 0.5}))):  # fmt: skip
        with pytest.raises(UsageError):
            DPLSettings(**bad)
    with pytest.raises(UsageError, match="'txt'"):
        head(margins=("txt=0.3",))
    assert by_case("head.margins", ()) == {}


@pytest.mark.parametrize("preset", ["dpl", "dpl-paper"])
def test_presets_name_this_head_and_learn(preset: str) -> None:
    settings = load_settings(preset=preset, environment={})
    assert settings.run.head == "dpl"
    assert isinstance(settings.head, DPLSettings)
    assert (settings.head == DPLSettings()) == (preset == "dpl")
    deciding = DPLHead(head().spec, 12, settings.head)
    target, counted = torch.arange(21).reshape(1, 21) % 4, torch.ones(1, 21, dtype=torch.bool)
    total(deciding, given(), target, counted).backward()
    assert all(p.grad is not None for p in deciding.parameters() if p.requires_grad)


def test_branches_own_answers_join_in_the_stated_proportion() -> None:
    plain, joined, asked = head(), head(late_fusion=0.5), given()
    own = torch.randn(3, 1, 21, 4)
    hidden = ~asked.observed_BUM.permute(2, 0, 1).unsqueeze(-1)
    asked = replace(asked, branch_answers_MBUC=own.masked_fill(hidden, torch.nan))
    mean = own.masked_fill(hidden, 0).sum(0) / asked.observed_BUM.sum(-1, keepdim=True)
    assert torch.allclose(joined(asked).answer_BUC, plain(asked).answer_BUC + 0.5 * mean, atol=1e-5)
    plain, joined = head("regression"), head("regression", late_fusion=0.5)
    asked = replace(asked, branch_answers_MBUC=asked.branch_answers_MBUC[..., :1])
    expected = (plain(asked).answer_BUC + 0.5 * mean[..., :1]) / 1.5
    assert torch.allclose(joined(asked).answer_BUC, expected, atol=1e-5)


def test_temperatures_of_bins_are_found_again() -> None:
    """Targets drawn by softmax(s·z / T) of a known T for each number of observed modalities."""
    deciding = head("regression", bin_margins=True, scale=16.0).eval()
    drawn = torch.Generator().manual_seed(0)
    cosine_NK = torch.rand(6000, 7, generator=drawn) * 1.6 - 0.8
    case_N = torch.tensor([1, 3, 7]).repeat(2000)  # one, two and three modalities
    truth_N = torch.tensor([0.5, 2.0, 4.0]).repeat(2000)
    bin_N = torch.multinomial((16 * cosine_NK / truth_N.unsqueeze(1)).softmax(-1), 1, generator=drawn).squeeze(1)
    assert deciding.readout.bins is not None
    deciding.readout.fit_temperatures(cosine_NK, case_N, deciding.readout.bins.centre_K[bin_N])
    assert deciding.readout.temperature_n.tolist() == pytest.approx([1.0, 0.5, 2.0, 4.0], rel=0.15)
    fitted = deciding.readout.temperature_n.clone()
    deciding.readout.fit_temperatures(cosine_NK[:2], case_N[:2], deciding.readout.bins.centre_K[bin_N[:2]])
    assert deciding.readout.temperature_n[3] == fitted[3]  # nobody of three was there: as before
