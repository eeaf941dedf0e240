"""Missing-aware prompts in ComP's attention: who reads them, what they leave alone, and what they can learn."""

import pytest
import torch
from torch import Tensor

from imer.models.base import ModelSpec
from imer.models.comp.missing_prompts import admit_prompts
from imer.models.comp.model import Comp
from imer.models.comp.settings import CompSettings
from imer.models.heads.linear import LinearHead, LinearSettings

WIDTHS = {"audio": 5, "text": 7, "visual": 4}


def comp(kind: str, seed: int = 0, trained: bool = True) -> Comp:
    torch.manual_seed(seed)
    spec = ModelSpec(WIDTHS, "classification", 4)
    settings = CompSettings(
        hidden=16, heads=4, dropout=0.0, input_dropout=0.0, missing_prompts=kind, missing_prompt_length=3
    )
    model = Comp(spec, settings, LinearHead(spec, 16, LinearSettings())).eval()
    if trained:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "prompt" in name:
                    parameter.normal_()
    return model


def dialogues(seed: int = 1) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    features = {m: torch.randn(3, 6, d, generator=drawn) for m, d in WIDTHS.items()}
    codes = torch.randint(1, 8, (3, 6), generator=drawn)
    observed = (codes.unsqueeze(-1) >> torch.arange(3)) & 1 == 1
    valid = torch.ones(3, 6, dtype=torch.bool)
    valid[1, 4:] = False
    return features, observed & valid.unsqueeze(-1), valid


@pytest.mark.parametrize("kind", ["case", "modality"])
def test_a_query_reads_the_prompts_of_its_own_set_only(kind: str) -> None:
    observed = torch.tensor([[[True, False, False], [True, True, True], [False, False, False]]])  # B=1, U=3, M=3
    allowed = admit_prompts(torch.ones(3, 1, 1, 3, dtype=torch.bool), observed.permute(2, 0, 1), kind, 2)
    own = allowed[:, :, :, 3:]
    assert (own == own[:1]).all()
    owners = own[0, 0].view(3, -1, 2)
    assert (owners[..., 0] == owners[..., 1]).all()
    if kind == "case":
        assert owners[..., 0].nonzero().tolist() == [[0, 0], [1, 6]]
    else:
        assert torch.equal(owners[..., 0], observed[0])


@pytest.mark.parametrize("kind", ["case", "modality"])
def test_missing_content_padding_and_batch_mates_stay_unread(kind: str) -> None:
    model, (features, observed, valid) = comp(kind), dialogues()
    expected = model(features, observed, valid).joint_BUC
    poisoned = {m: torch.where(observed[..., [u]], x, torch.nan) for u, (m, x) in enumerate(features.items())}
    assert torch.equal(model(poisoned, observed, valid).joint_BUC, expected)
    for b in range(3):
        alone = model({m: x[[b]] for m, x in features.items()}, observed[[b]], valid[[b]]).joint_BUC
        assert torch.allclose(alone[valid[[b]]], expected[[b]][valid[[b]]], atol=1e-5)


def test_changing_a_cases_prompts_reaches_its_utterances_alone() -> None:
    model, (features, observed, valid) = comp("case"), dialogues()
    one_row = {m: x[:, :1] for m, x in features.items()}  # dialogues of one utterance: nobody else can pass it on
    before = model(one_row, observed[:, :1], valid[:, :1]).joint_BUC
    codes = (observed[:, 0].long() * torch.tensor([1, 2, 4])).sum(-1)
    chosen = int(codes[0])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("prompt_value"):
                parameter[:, (chosen - 1) * 3 : chosen * 3] += 1
    moved = (model(one_row, observed[:, :1], valid[:, :1]).joint_BUC - before).abs().sum(-1).squeeze(1) > 1e-6
    assert moved.tolist() == (codes == chosen).tolist()


def test_case_prompts_grow_with_the_cases_and_modality_prompts_with_the_modalities() -> None:
    def rows(kind: str) -> int:
        return next(p.shape[1] for n, p in comp(kind).named_parameters() if n.endswith("prompt_key"))

    assert rows("case") == 7 * 3
    assert rows("modality") == 3 * 3
    assert not any("prompt_key" in name for name, _ in comp("none").named_parameters())


def test_both_stages_learn_the_prompts_and_the_second_starts_where_the_first_ended() -> None:
    model, (features, observed, valid) = comp("case", trained=False).train(), dialogues()
    first = model(features, observed, valid, stage="branches")
    second = model(features, observed, valid, stage="joint")
    for name in WIDTHS:
        assert torch.allclose(first.branch[name], second.branch[name], atol=1e-5)
    for output in (first, second):
        model.zero_grad()
        sum(answer.square().sum() for answer in output.branch.values()).backward()
        moved = [p.grad.abs().sum() > 0 for n, p in model.named_parameters() if n.endswith("prompt_value")]
        assert len(moved) == 2
        assert all(moved)
    assert {n for n, _ in model.named_parameters() if "prompt_key" in n} <= model.undecayed()
