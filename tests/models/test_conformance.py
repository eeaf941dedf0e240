"""What every registered model has to do, whatever it is: one list of checks over the whole catalogue."""

from __future__ import annotations

from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imer.batches.batch import Batch
from imer.core.registry import MODELS
from imer.core.settings import Layer, resolve, to_toml, toml_layer
from imer.models.base import ModelOutput, ModelSpec
from imer.training.build import build_model
from imer.training.run_folder import RunFolder
from imer.training.settings import Settings
from imer.training.settings_layers import settings_schema
from imer.training.train import train
from tests.shipped import read_corpus
from tests.stores import write_small_store

WIDTHS = {"audio": 5, "text": 7, "visual": 4}
SMALL = {
    "hidden": 16, "heads": 2, "prompt_width": 4, "n_prototypes": 5, "dropout": 0.0, "input_dropout": 0.0,
    "label_smoothing": 0.0, "modality": "audio", "l2": [0.3, 0.001], "mask_draws": 2,
}  # fmt: skip
FITTED = ("linear", "majority")  # solved, not descended
SUBSETS = list(product([False, True], repeat=3))
both_tasks = pytest.mark.parametrize("task", ["classification", "regression"])
every_model = pytest.mark.parametrize("name", MODELS)
every_descended_model = pytest.mark.parametrize("name", [name for name in MODELS if name not in FITTED])
# The public code of ComP answers a dialogue by its batch-mates, too; see tests/models/comp/test_official.py.
every_independent_model = pytest.mark.parametrize("name", [name for name in MODELS if name != "comp-official"])
every_seeing_model = pytest.mark.parametrize("name", [name for name in MODELS if name != "majority"])


def build(name: str, task: str = "classification") -> nn.Module:
    schema = settings_schema(name, "linear")
    here = {field.name for field in fields(schema["model"])}
    small = {key: value for key, value in SMALL.items() if key in here}
    values = {"run": {"model": name}, "model": small, "head": {"dropout": 0.0, "label_smoothing": 0.0}}
    settings = Settings(**resolve(schema, [Layer("test", values)]))
    weights = (0.5, 1.0, 1.5) if task == "classification" else None
    spec = ModelSpec(WIDTHS, task, 3 if task == "classification" else 1, class_weights=weights)
    return build_model(spec, settings, seed_parts=(1,))


def batch(task: str = "classification", *, dialogues: int = 4, length: int = 8, observed: float = 0.6) -> Batch:
    """Dialogue b has length − b real utterances; labels follow from what the first modality shows."""
    drawn = torch.Generator().manual_seed(5)
    valid = torch.arange(length)[None] < (length - torch.arange(dialogues)[:, None])
    features = {m: torch.randn(dialogues, length, width, generator=drawn) for m, width in WIDTHS.items()}
    score = features["audio"].sum(dim=-1)
    target = (score > -1).long() + (score > 1).long() if task == "classification" else score / 2
    there = torch.rand(dialogues, length, 3, generator=drawn) < observed
    return Batch(
        features, there & valid.unsqueeze(-1), valid, target, torch.arange(dialogues * length).view(dialogues, length),
        torch.zeros(dialogues, length, dtype=torch.int64),
    )  # fmt: skip


def stages(model: nn.Module) -> list[str]:
    return list(model.stages)


def call(model: nn.Module, given: Batch, stage: str | None = None, **changes: Any) -> ModelOutput:
    values = {"features": given.features, "observed_BUM": given.observed_BUM, "valid_BU": given.valid_BU, **changes}
    return model(values["features"], values["observed_BUM"], values["valid_BU"], stage=stage)


def said(output: ModelOutput) -> Tensor:
    weight = [] if output.weight_BUM is None else [output.weight_BUM]
    return torch.cat([output.joint_BUC, *output.branch.values(), *weight], dim=-1)


def learn(model: nn.Module, given: Batch, steps: int) -> nn.Module:
    """Train or fit on one batch."""
    model.train()
    if getattr(model, "candidates", 0):
        model.fit(model.collect([given]), model.candidates - 1)
        return model.eval()
    for stage in stages(model):
        if stage not in model.branch_stages and hasattr(model, "start_stage"):
            counted = given.labelled_BU
            with torch.no_grad():
                branches = call(model, given, stage).extra["branches"][:, counted]
            observed, target = given.observed_BUM[counted], given.target_BU[counted]
            model.start_stage(stage, {"branches_MNH": branches, "observed_NM": observed, "target_N": target})
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(steps):
            optimiser.zero_grad()
            terms = model.losses(call(model, given, stage), given, stage)
            torch.stack(list(terms.values())).sum().backward()
            optimiser.step()
    return model.eval()


@pytest.fixture(scope="module")
def learnt() -> dict[tuple[str, str], nn.Module]:
    """Every model after a few steps, so that nothing is at its special starting value."""
    found = {}
    for name, task in product(MODELS, ("classification", "regression")):
        found[name, task] = learn(build(name, task), batch(task), 3)
    return found


@both_tasks
@every_model
def test_answers_have_their_shape_and_are_finite_whatever_is_observed(learnt: Any, name: str, task: str) -> None:
    model, given = learnt[name, task], batch(task)
    n_outputs = 3 if task == "classification" else 1
    for stage, subset in product([None, *stages(model)], SUBSETS):
        observed = given.valid_BU.unsqueeze(-1) & torch.tensor(subset)
        output = call(model, given, stage, observed_BUM=observed)
        assert output.joint_BUC.shape == (4, 8, n_outputs)
        assert all(values.shape == (4, 8, n_outputs) for values in output.branch.values())
        assert set(output.branch) <= set(WIDTHS)
        assert torch.isfinite(said(output)).all()


@both_tasks
@every_model
def test_what_is_hidden_or_padding_is_never_read(learnt: Any, name: str, task: str) -> None:
    model, given = learnt[name, task], batch(task)
    for stage, value in product(stages(model), [1e30, float("nan"), float("-inf")]):
        poisoned = {
            m: torch.where(given.observed_BUM[..., [u]], x, value) for u, (m, x) in enumerate(given.features.items())
        }
        real = given.valid_BU
        assert torch.equal(
            said(call(model, given, stage, features=poisoned))[real], said(call(model, given, stage))[real]
        )


@every_model
def test_padding_in_observed_is_no_observation(learnt: Any, name: str) -> None:
    model, given = learnt[name, "classification"], batch()
    claimed = given.observed_BUM | ~given.valid_BU.unsqueeze(-1)
    real = given.valid_BU
    assert torch.equal(said(call(model, given, observed_BUM=claimed))[real], said(call(model, given))[real])


@every_independent_model
def test_a_dialogue_alone_or_elsewhere_in_the_batch_is_answered_as_among_others(learnt: Any, name: str) -> None:
    model, given = learnt[name, "classification"], batch()
    together = said(call(model, given))
    turned = torch.tensor([2, 0, 3, 1])
    moved = {m: x[turned] for m, x in given.features.items()}
    after = said(
        call(model, given, features=moved, observed_BUM=given.observed_BUM[turned], valid_BU=given.valid_BU[turned])
    )
    real = given.valid_BU[turned]
    assert torch.allclose(after[real], together[turned][real], atol=1e-5)
    for b in range(4):
        n = int(given.valid_BU[b].sum())  # without its padding
        alone = {
            "features": {m: x[b : b + 1, :n] for m, x in given.features.items()},
            "observed_BUM": given.observed_BUM[b : b + 1, :n],
            "valid_BU": given.valid_BU[b : b + 1, :n],
        }
        assert torch.allclose(said(call(model, given, **alone))[0], together[b, :n], rtol=1e-4, atol=1e-5)


@every_model
def test_a_single_utterance_is_answered(learnt: Any, name: str) -> None:
    model, given = learnt[name, "regression"], batch("regression", dialogues=3, length=3)
    one = {m: x[:, :1] for m, x in given.features.items()}
    output = call(model, given, features=one, observed_BUM=given.observed_BUM[:, :1], valid_BU=given.valid_BU[:, :1])
    assert output.joint_BUC.shape == (3, 1, 1)
    assert torch.isfinite(said(output)).all()


@both_tasks
@every_model
def test_with_nothing_observed_nothing_but_the_dialogue_and_the_prior_speaks(learnt: Any, name: str, task: str) -> None:
    model, given = learnt[name, task], batch(task, dialogues=2)
    nothing = torch.zeros_like(given.observed_BUM)
    other = {m: x + 3.0 for m, x in given.features.items()}
    before = call(model, given, observed_BUM=nothing)
    assert torch.isfinite(before.joint_BUC).all()
    assert torch.equal(call(model, given, observed_BUM=nothing, features=other).joint_BUC, before.joint_BUC)


@both_tasks
@every_descended_model
def test_gradients_reach_every_parameter_and_nothing_hidden(name: str, task: str) -> None:
    model, given = build(name, task), batch(task)
    learn(model, given, 3).train()
    reached: set[str] = set()
    for stage in stages(model):
        model.zero_grad()
        features = {m: x.clone().requires_grad_() for m, x in given.features.items()}
        output = call(model, given, stage, features=features)
        torch.stack(list(model.losses(output, given, stage).values())).sum().backward()
        reached |= {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        for u, x in enumerate(features.values()):
            if x.grad is not None:
                assert (x.grad[~given.observed_BUM[..., u]] == 0).all()
    # The missing token of a branch that is silent where it is missing cannot learn, and harms nobody.
    lacking = {n for n, _ in model.named_parameters()} - reached
    assert lacking <= ({"entrance.missing"} if name == "mlp" else set())


@both_tasks
@every_descended_model
def test_losses_are_finite_at_every_rate_and_without_labels(name: str, task: str) -> None:
    model = build(name, task).train()
    for stage, observed in product(stages(model), [1.0, 0.5, 0.0]):
        given = batch(task, observed=observed)
        terms = model.losses(call(model, given, stage), given, stage)
        assert all(torch.isfinite(term) for term in terms.values())
        given.target_BU = torch.full_like(given.target_BU, -1 if task == "classification" else torch.nan)
        terms = model.losses(call(model, given, stage), given, stage)
        assert all(torch.isfinite(term) for term in terms.values())


@both_tasks
@every_seeing_model
def test_sixteen_utterances_can_be_learnt_by_heart(name: str, task: str) -> None:
    given = batch(task, dialogues=2, length=9, observed=1.0)
    model = learn(build(name, task), given, 40)
    answer, target = call(model, given).joint_BUC[given.valid_BU], given.target_BU[given.valid_BU]
    if task == "classification":
        assert (answer.argmax(dim=-1) == target).float().mean() > 0.9
    else:
        assert (answer.squeeze(-1) - target).square().mean() < 0.1 * target.var()


@every_model
def test_training_and_prediction_differ_in_dropout_only(learnt: Any, name: str) -> None:
    model, given = learnt[name, "classification"], batch()
    expected = said(call(model, given))
    model.train()
    assert torch.equal(said(call(model, given)), expected)
    model.eval()


@every_model
def test_the_same_seed_is_the_same_model(name: str) -> None:
    one, other = build(name).state_dict(), build(name).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
    learn_one, learn_other = learn(build(name), batch(), 3).state_dict(), learn(build(name), batch(), 3).state_dict()
    assert all(torch.equal(learn_one[key], learn_other[key]) for key in learn_one)


@every_model
def test_features_that_never_vary_make_no_nan(name: str) -> None:
    given = batch(observed=1.0)
    given.features["text"] = torch.zeros_like(given.features["text"])
    model = learn(build(name), given, 5)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert torch.isfinite(said(call(model, given))).all()


@every_model
def test_settings_survive_toml(name: str, tmp_path: Path) -> None:
    settings = build(name).settings
    (tmp_path / "model.toml").write_text(to_toml({"model": settings}))
    assert resolve({"model": type(settings)}, [toml_layer(tmp_path / "model.toml")])["model"] == settings


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("conformance") / "small.h5", n_dialogues=15)


@every_model
def test_from_store_to_run_folder_and_back(store: Path, tmp_path: Path, name: str) -> None:
    schema = settings_schema(name, "linear")
    here = {field.name for field in fields(schema["model"])}
    chosen = [f"model.{k}={v}" for k, v in {"hidden": 16, "heads": 2, "modality": "text"}.items() if k in here]
    flags = {"run": {"model": name}, "data": {"label": "emotion"}, "train": {"device": "cpu"}}
    epochs = ["train.max_epochs_branches=1", "train.max_epochs_joint=2", "train.threads=1", "train.members=1"]
    result = train(store, tmp_path / "run", flags=flags, assignments=[*chosen, *epochs])
    assert result.selected["epoch"] >= 1
    fold = RunFolder.open(tmp_path / "run").folds[0]
    corpus = read_corpus(fold, store)
    rows = torch.arange(corpus.n).numpy()
    found = fold.predict(corpus, rows, corpus.present_NM)
    assert found.probabilities_NC.shape == (corpus.n, 3)
    assert abs(found.probabilities_NC.sum(axis=1) - 1).max() < 1e-5
    again = RunFolder.open(tmp_path / "run").folds[0].predict(corpus, rows, corpus.present_NM)
    assert (again.probabilities_NC == found.probabilities_NC).all()
