"""The public code's known behaviour, fault by fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from imer.batches.batch import Batch
from imer.comparison.contestants import MARK
from imer.comparison.report import write_report
from imer.comparison.scoreboard import MARKED
from imer.core.json_lines import each_json_line
from imer.evaluation.evaluate import evaluate
from imer.evaluation.publish import PREDICTIONS_FILE
from imer.evaluation.results import Evaluation
from imer.models.base import BRANCHES, JOINT, ModelSpec
from imer.models.comp.official import OfficialComp, OfficialSettings, distances
from imer.training.listener import Listener
from imer.training.run_folder import RunFolder
from imer.training.train import train
from tests.stores import write_small_store

WIDTHS = {"audio": 5, "text": 7, "visual": 4}


def model(task: str = "classification", **more: float) -> OfficialComp:
    torch.manual_seed(0)
    settings = OfficialSettings(hidden=16, prompt_width=4, n_prototypes=5, dropout=0.0, longest_dialogue=12, **more)
    outputs = 3 if task == "classification" else 1
    return OfficialComp(ModelSpec(WIDTHS, task, outputs, target_centre=0.5, target_spread=2.0), settings)


def batch(dialogues: int = 3, length: int = 6) -> Batch:
    torch.manual_seed(1)
    features = {name: torch.randn(dialogues, length, width) for name, width in WIDTHS.items()}
    observed = torch.ones(dialogues, length, 3, dtype=torch.bool)
    valid = torch.ones(dialogues, length, dtype=torch.bool)
    target = torch.randint(3, (dialogues, length))
    return Batch(
        features, observed, valid, target, torch.arange(dialogues * length).view(dialogues, length), target * 0
    )


def call(network: OfficialComp, given: Batch, stage: str | None = None):
    return network(given.features, given.observed_BUM, given.valid_BU, stage=stage)


def test_an_answer_depends_on_the_batch_in_the_second_stage_only() -> None:
    network, given = model().eval(), batch()
    alone = Batch(*[{m: x[:1] for m, x in given.features.items()}, *(getattr(given, name)[:1] for name in (
        "observed_BUM", "valid_BU", "target_BU", "row_BU", "speaker_BU"))])  # fmt: skip
    for stage, depends in ((BRANCHES, False), (JOINT, True)):
        together, by_itself = call(network, given, stage).joint_BUC[:1], call(network, alone, stage).joint_BUC
        assert torch.allclose(together, by_itself, atol=1e-6) != depends


def test_a_missing_modality_is_heard_and_sends_prompts() -> None:
    network, given = model().eval(), batch()
    given.observed_BUM[..., 1] = False
    weight_BUM = call(network, given).weight_BUM
    assert (weight_BUM[..., 1] > 0).all()
    assert torch.allclose(weight_BUM.sum(dim=-1), torch.tensor(3.0))
    before = call(network, given).branch["audio"]
    with torch.no_grad():
        network.enter["text"].bias += 1.0  # all that is left of a missing text
    assert not torch.allclose(call(network, given).branch["audio"], before)


def test_every_private_head_reads_audio() -> None:
    network, given = model().train(), batch()
    terms = network.losses(call(network, given, BRANCHES), given, BRANCHES)
    terms["private_text"].backward()
    gradient = network.to_private.inner.weight.grad
    assert gradient[0].abs().max() > 0
    assert gradient[1:].abs().max() == 0


def test_private_parts_are_fitted_to_one_minus_their_answers_or_to_noise() -> None:
    network, given = model().train(), batch()
    output = call(network, given, BRANCHES)
    terms = network.losses(output, given, BRANCHES)
    for name, answer in zip(WIDTHS, output.extra["private_answers"], strict=True):
        expected = torch.nn.functional.cross_entropy((1 - answer).flatten(0, 1), given.target_BU.flatten())
        assert torch.allclose(terms[f"private_{name}"], expected)
    network, given = model("regression").train(), replace(given, target_BU=given.target_BU.float())
    output = call(network, given, BRANCHES)
    torch.manual_seed(2)
    terms = network.losses(output, given, BRANCHES)
    torch.manual_seed(2)
    for name, answer in zip(WIDTHS, output.extra["private_answers"], strict=True):
        noise = (1.5 * torch.randn(given.target_BU.shape)).clamp(-3, 3)
        expected = torch.nn.functional.mse_loss(answer[..., 0], (noise - 0.5) / 2)
        assert torch.allclose(terms[f"private_{name}"], expected)


def test_momentum_is_the_share_of_what_came_back() -> None:
    """With λ = 1 nothing of the second round's prompts is heard."""
    for momentum, heard in ((1.0, False), (0.3, True)):
        network, given = model(prompt_momentum=momentum).eval(), batch()
        before = call(network, given).joint_BUC
        with torch.no_grad():
            for parameter in network.generators[1].parameters():
                parameter.add_(1.0)
        assert torch.equal(before, call(network, given).joint_BUC) != heard


def test_branches_are_judged_where_their_modality_is_missing_and_count_twice_in_the_second_stage() -> None:
    network, given = model().eval(), batch()
    given.observed_BUM[..., 1] = False
    output = call(network, given)
    terms = network.losses(output, given, JOINT)
    expected = torch.nn.functional.cross_entropy(output.branch["text"].flatten(0, 1), given.target_BU.flatten())
    assert terms["branch_text"].item() == pytest.approx(2 * expected.item(), rel=1e-5)
    assert "rebuild" in terms
    assert "rebuild" not in network.losses(call(network, given, BRANCHES), given, BRANCHES)


def test_nothing_of_the_first_stage_is_restored() -> None:
    assert model().modality_state(0) == {}


def test_equal_shared_and_orthogonal_private_parts_have_no_distance() -> None:
    shared = torch.zeros(2, 1, 1, 4)
    private = torch.zeros(2, 1, 1, 4)
    shared[..., 0], private[0, ..., 1], private[1, ..., 2] = 1.0, 1.0, 1.0
    valid = torch.ones(1, 1, dtype=torch.bool)
    assert distances(shared, private, valid) == pytest.approx(0.0, abs=1e-6)
    assert distances(shared, shared, valid) == pytest.approx(3.0, abs=1e-5)
    shared[1, ..., 0] = -1.0
    assert distances(shared, private, valid) > 0.01


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("official")
    store = write_small_store(folder / "features.h5")
    warnings: list[str] = []
    small = ["model.hidden=16", "model.longest_dialogue=20", "train.max_epochs_branches=1", "train.max_epochs_joint=3"]
    train(
        store, folder / "run", preset="comp-official", flags={"data": {"label": "emotion"}},
        assignments=[*small, "train.batch_dialogues=3", "train.threads=1", "train.device=cpu"],
        listener=Listener(warn=warnings.append),
    )  # fmt: skip
    return folder / "run", warnings


def test_the_preset_chooses_on_the_test_part_and_everything_says_so(run: tuple[Path, list[str]]) -> None:
    folder, warnings = run
    assert any("optimistic" in warning for warning in warnings)
    metrics = RunFolder.open(folder).metrics
    assert metrics["optimistic"] is True
    assert (metrics["selected"]["on"], metrics["selected"]["metric"]) == ("test", "wa")
    evaluation = evaluate(folder, missing_rate="0.5", mask_seeds=1, device="cpu", replicates=10)
    assert evaluation.run["optimistic"] is True
    assert Evaluation.read(folder / "eval" / "metrics.json").run["optimistic"] is True
    assert any("optimistic" in warning for warning in evaluation.warnings)
    write_report([folder], folder.parent / "table.md", table=True)
    text = (folder.parent / "table.md").read_text()
    assert f"comp-official{MARK}" in text
    assert MARKED in text


def test_masks_evaluated_together_do_not_mix(run: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Copies of a dialogue under several masks must not become each other's batch-mates (4 dialogues in batches of 3)."""
    options = {"mask_seeds": 1, "device": "cpu", "replicates": 10}
    evaluate(run[0], missing_rate="0.5", out=tmp_path / "one", **options)
    evaluate(run[0], missing_rate="0.3,0.5,0.6", pattern="all", out=tmp_path / "many", **options)
    one, many = (list(each_json_line(tmp_path / name / PREDICTIONS_FILE)) for name in ("one", "many"))
    assert one  # probabilities and all: metrics alone would hardly feel it
    assert one == [line for line in many if line["missing_rate"] == 0.5]
