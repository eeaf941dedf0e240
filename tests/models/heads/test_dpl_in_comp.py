"""The DPL head on ComP: what the whole model must not see, what must learn, and that it leaves the house whole."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from imer.batches.batch import Batch
from imer.core.errors import InvalidInput
from imer.export.deployable import Deployable
from imer.export.onnx import onnx_parity, write_onnx
from imer.export.parity import random_cases
from imer.models.base import ModelSpec
from imer.models.comp.model import Comp
from imer.models.comp.settings import CompSettings
from imer.models.heads.dpl import DPLHead
from imer.models.heads.dpl_settings import DPLSettings
from tests.models.heads.builders import all_directions

WIDTHS = {"audio": 5, "text": 7, "visual": 4}


def comp(
    task: str = "classification",
    widths: dict[str, int] = WIDTHS,
    seed: int = 0,
    missing_prompts: str = "none",
    **head: object,
) -> Comp:
    torch.manual_seed(seed)
    spec = ModelSpec(widths, task, 4 if task == "classification" else 1, target_range=(-3.0, 3.0))
    settings = CompSettings(hidden=16, heads=4, missing_prompts=missing_prompts)
    return Comp(spec, settings, DPLHead(spec, 16, DPLSettings(**head)))


def batch(task: str = "classification", seed: int = 1, widths: dict[str, int] = WIDTHS) -> Batch:
    drawn = torch.Generator().manual_seed(seed)
    n = len(widths)
    observed = (torch.randint(1, 2**n, (4, 7, 1), generator=drawn) >> torch.arange(n)) & 1 == 1
    valid = torch.ones(4, 7, dtype=torch.bool)
    valid[2, 5:] = False
    label = torch.randint(4, (4, 7), generator=drawn)
    target = torch.where(valid, label, -1)
    if task == "regression":
        target = torch.where(valid, label * 1.3 - 2, torch.nan)
    row = torch.where(valid, torch.arange(28).view(4, 7), -1)
    features = {m: torch.randn(4, 7, d, generator=drawn) for m, d in widths.items()}
    return Batch(features, observed & valid.unsqueeze(-1), valid, target, row, torch.zeros_like(row))


def answers(model: Comp, given: Batch) -> Tensor:
    with torch.inference_mode():
        return model(given.features, given.observed_BUM, given.valid_BU).joint_BUC


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("absent", ["zero", "heard", "trainable"])
def test_raw_content_of_missing_modalities_never_reaches_the_answer(task: str, absent: str) -> None:  # E.2
    model, given = comp(task, absent=absent, attach="branches").eval(), batch(task)
    expected = answers(model, given)
    poisoned = {
        m: torch.where(given.observed_BUM[..., [u]], x, torch.nan) for u, (m, x) in enumerate(given.features.items())
    }
    assert expected.isfinite().all()
    changed = Batch(poisoned, given.observed_BUM, given.valid_BU, given.target_BU, given.row_BU, given.speaker_BU)
    assert torch.equal(answers(model, changed), expected)
    # The test has power: the same change where the modality is observed is seen.
    shifted = {
        m: torch.where(given.observed_BUM[..., [u]], x + 1, x) for u, (m, x) in enumerate(given.features.items())
    }
    changed = Batch(shifted, given.observed_BUM, given.valid_BU, given.target_BU, given.row_BU, given.speaker_BU)
    assert (answers(model, changed) - expected).abs().max() > 1e-3


def test_batch_mates_do_not_matter() -> None:  # E.2, the part that depends on the model
    model, given = comp().eval(), batch()
    together = answers(model, given)
    for b in range(4):
        features = {m: x[[b]] for m, x in given.features.items()}
        with torch.inference_mode():
            alone = model(features, given.observed_BUM[[b]], given.valid_BU[[b]]).joint_BUC
        assert (alone - together[[b]]).abs().max() <= 1e-4


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_part_learns_in_the_joint_stage(task: str) -> None:
    model, given = comp(task).train(), batch(task)
    output = model(given.features, given.observed_BUM, given.valid_BU, stage="joint")
    terms = model.losses(output, given, "joint")
    assert {"joint", "contrast", "offsets"} <= set(terms)
    torch.stack(list(terms.values())).sum().backward()
    assert sum(p.grad.abs().sum() for p in model.coordinator.parameters() if p.grad is not None) > 1e-6  # E.17
    head = model.head.prototypes.prototypes
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    assert all((p.grad != 0).any() for p in head.common.values())
    assert {f"head.{n}" for n in model.head.undecayed} <= model.undecayed() <= {n for n, _ in model.named_parameters()}
    assert model.eval().head.prototypes.count_C.sum() == given.valid_BU.sum()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_branches_that_answer_by_the_prototypes(task: str) -> None:  # B.8, rule 3
    model, given = comp(task, absent="zero", branch_answers="prototypes", coordinator="off").train(), batch(task)
    object.__setattr__(model.settings, "branch_loss_on_missing", True)  # what holds for linear layers only
    output = model(given.features, given.observed_BUM, given.valid_BU, stage="joint")
    answer_BUMC = torch.stack(list(output.branch.values()), 2)
    if task == "classification":  # equal votes: the answer is the mean of what the observed modalities say
        share_BUM = given.observed_BUM / given.observed_BUM.sum(-1, keepdim=True).clamp(min=1)
        assert torch.allclose((share_BUM.unsqueeze(-1) * answer_BUMC).sum(2), output.joint_BUC, atol=1e-5)
    else:
        assert answer_BUMC.abs().max() <= 3 + 1e-5  # each is an expectation over the bins
    terms = model.losses(output, given, "joint")
    for u, name in enumerate(WIDTHS):
        here = given.observed_BUM[..., u] & given.labelled_BU
        expected = model.settings.branch_weight * model.task_loss(output.branch[name], given.target_BU, here)
        assert torch.equal(terms[f"branch_{name}"], expected)
    torch.stack([terms[f"branch_{name}"] for name in WIDTHS]).sum().backward()
    assert all(p.grad is None for p in model.branch_heads.parameters())
    assert all((p.grad != 0).any() for p in model.head.prototypes.prototypes.common.values())
    first = model(given.features, given.observed_BUM, given.valid_BU, stage="branches")  # no prototypes yet
    sum(model.losses(first, given, "branches").values()).backward()
    assert all(p.grad is not None for p in model.branch_heads.parameters())


def test_joint_stage_starts_at_the_class_means() -> None:
    model, given = comp(initial="class_mean"), batch()
    before = [d.clone() for _, _, d in all_directions(model.head.prototypes.prototypes)]
    rows = given.valid_BU
    with torch.no_grad():
        branches = model.eval()(given.features, given.observed_BUM, given.valid_BU, stage="branches").extra["branches"]
    model.start_stage(
        "joint",
        {"branches_MNH": branches[:, rows], "observed_NM": given.observed_BUM[rows], "target_N": given.target_BU[rows]},
    )
    after = [d for _, _, d in all_directions(model.head.prototypes.prototypes)]
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in zip(after, before, strict=True))


def test_saved_model_answers_the_same_and_knows_its_modalities() -> None:  # E.23
    model, other, given = comp(), comp(seed=3), batch()
    torch.stack(list(model.losses(model(given.features, given.observed_BUM, given.valid_BU), given, "joint").values()))
    other.load_state_dict(model.state_dict())
    assert torch.equal(answers(other.eval(), given), answers(model.eval(), given))
    with pytest.raises(InvalidInput, match="audio,text,visual"):
        comp(widths={"text": 7, "audio": 5, "visual": 4}).head.load_state_dict(model.head.state_dict())


@pytest.mark.parametrize("n_modalities", [2, 4])
def test_other_numbers_of_modalities(n_modalities: int) -> None:
    widths = dict(zip(("audio", "text", "visual", "gaze"), (5, 7, 4, 6), strict=True))
    widths = dict(list(widths.items())[:n_modalities])
    model, given = comp(widths=widths).train(), batch(widths=widths)
    output = model(given.features, given.observed_BUM, given.valid_BU)
    torch.stack(list(model.losses(output, given, "joint").values())).sum().backward()
    assert model.head.prototypes.cases.n_cases == 2**n_modalities
    assert answers(model.eval(), given).isfinite().all()


@pytest.mark.parametrize("absent", ["heard", "trainable"])
def test_model_with_prototypes_and_prompts_exports(tmp_path: Path, absent: str) -> None:
    """Regression with bins, prototypes for absent modalities, stand-ins for rare cases, missing-aware prompts."""
    model = comp("regression", absent=absent, missing_prompts="case", bin_margins=True).train()
    given = batch("regression")
    output = model(given.features, given.observed_BUM, given.valid_BU)
    model.losses(output, given, "joint")
    model.eval()
    model.head.readout.temperature_n.copy_(torch.tensor([1.0, 0.7, 1.5, 3.0]))
    assert model.head.prototypes.rare_cases()
    centres, spreads = [np.zeros(d) for d in WIDTHS.values()], [np.ones(d) for d in WIDTHS.values()]
    whole = Deployable(model, centres, spreads, classification=False).eval()
    write_onnx(whole, tmp_path / "model.onnx", {})
    cases = list(islice(random_cases(centres, spreads), 40))
    parity = onnx_parity(tmp_path / "model.onnx", whole, cases, None)
    assert parity.cases == 40
    assert parity.max_abs_difference <= 1e-4
