"""Ridge and logistic regression against scikit-learn, and their way through training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from imer.batches.batch import Batch
from imer.core.errors import UsageError
from imer.models.baselines import linear
from imer.models.baselines.examples import Examples
from imer.models.baselines.linear import LinearModelSettings
from imer.training.loop import FoldTrainer
from imer.training.train import train
from tests.stores import write_small_store


def drawn_batches(task: str, draws: int, n: int = 60) -> list[Batch]:
    """Return batches of n utterances of two modalities under several draws of masks, one in ten without a label."""
    drawn = torch.Generator().manual_seed(0)
    features = {m: torch.randn(n, d, generator=drawn) + 1.0 for m, d in (("audio", 4), ("text", 2))}
    value = features["audio"] @ torch.randn(4, generator=drawn) + features["text"].sum(1) + 0.5
    target = value if task == "regression" else (value > 0.5).long() + (value > 2.0).long()
    target[::10] = torch.nan if task == "regression" else -1
    batches = []
    for _ in range(draws):
        observed = torch.rand(n, 2, generator=drawn) < 0.6
        for part in torch.arange(n).split(25):
            hidden = ~observed[part]
            shown = {m: x[part].masked_fill(hidden[:, [u]], torch.nan) for u, (m, x) in enumerate(features.items())}
            shown = shown if len(batches) == 0 else {m: x[part] for m, x in features.items()}
            rows = {"target_BU": target[part], "row_BU": part, "speaker_BU": part * 0, "valid_BU": part >= 0}
            batches.append(
                Batch(
                    features={m: x[None] for m, x in shown.items()}, observed_BUM=observed[part][None],
                    **{name: values[None] for name, values in rows.items()},
                )
            )  # fmt: skip
    return batches


def concatenation(batches: list[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """Return the zero-imputed concatenation with mask bits of all labelled utterances, and their targets."""
    inputs, targets = [], []
    for batch in batches:
        labelled, observed = batch.labelled_BU, batch.observed_BUM
        seen = [x.masked_fill(~observed[..., [u]], 0.0) for u, x in enumerate(batch.features.values())]
        inputs.append(torch.cat([*seen, observed.float()], dim=-1)[labelled].double())
        targets.append(batch.target_BU[labelled])
    return torch.cat(inputs).numpy(), torch.cat(targets).numpy()


def collected(batches: list[Batch], weights: tuple[float, ...] | None = None) -> Examples:
    return Examples.of(iter(batches), ["audio", "text"], 10.0, weights)


@pytest.mark.parametrize("l2", [0.01, 1.0])
def test_ridge_is_scikit_learns(l2: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_EXAMPLES_AT_ONCE", 7)
    batches = drawn_batches("regression", draws=3)
    weight_CP, bias_C, figures = linear.ridge(linear.moments(collected(batches)), l2)
    x_NP, y_N = concatenation(batches)
    theirs = Ridge(alpha=l2 * len(x_NP)).fit(x_NP, y_N)
    assert np.allclose(weight_CP[0], theirs.coef_, atol=1e-7)
    assert bias_C.item() == pytest.approx(theirs.intercept_, abs=1e-7)
    assert figures["squared_error"] == pytest.approx(np.mean((theirs.predict(x_NP) - y_N) ** 2), abs=1e-7)


@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 3.0)])
def test_logistic_regression_is_scikit_learns(weights: tuple[float, ...] | None) -> None:
    batches = drawn_batches("classification", draws=3)
    start = (torch.zeros(3, 8, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    weight_CP, bias_C, figures = linear.logistic(collected(batches, weights), 0.05, start, 500)
    x_NP, target_N = concatenation(batches)
    share_N = np.array(weights or (1.0, 1.0, 1.0))[target_N]
    theirs = LogisticRegression(C=1 / 0.05, tol=1e-9, max_iter=5000)
    theirs.fit(x_NP, target_N, sample_weight=share_N / share_N.sum())
    ours = torch.softmax(torch.from_numpy(x_NP) @ weight_CP.T + bias_C, dim=-1)
    assert np.allclose(ours, theirs.predict_proba(x_NP), atol=1e-4)
    assert figures["steepest_gradient"] < 1e-5


def _run(store: Path, out: Path, **options: bool) -> None:
    train(
        store, out, flags={"run": {"model": "linear"}, "data": {"label": "emotion"}, "train": {"device": "cpu"}},
        assignments=["model.l2=1.0,0.1,0.01", "train.checkpoint_every_s=0", "train.threads=1"], **options,
    )  # fmt: skip


def test_the_penalty_is_chosen_on_validation_and_a_broken_off_fit_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_small_store(tmp_path / "small.h5")
    _run(store, tmp_path / "whole")
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [line["loss"]["l2"] for line in log] == [1.0, 0.1, 0.01]
    metrics = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert metrics["selected"]["value"] == max(line["val"]["ua"] for line in log)

    fit = FoldTrainer._fit
    with monkeypatch.context() as patched:

        def interrupted(self: FoldTrainer) -> None:
            if self.progress.epoch == 2:
                raise KeyboardInterrupt
            fit(self)

        patched.setattr(FoldTrainer, "_fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _run(store, tmp_path / "broken")
    _run(store, tmp_path / "broken", resume=True)
    for name in ("checkpoint/model.safetensors", "log.jsonl", "predictions.jsonl"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_model_without_a_head_refuses_one(tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "small.h5")
    with pytest.raises(UsageError, match="linear answers by itself and takes no output head; drop --head dpl"):
        train(store, tmp_path / "run", flags={"run": {"model": "linear", "head": "dpl"}, "data": {"label": "emotion"}})


@pytest.mark.parametrize("wrong", [{"l2": ()}, {"l2": (0.0,)}, {"mask_draws": 0}, {"iterations": 0}, {"clip_z": 0.0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=rf"model\.{next(iter(wrong))}"):
        LinearModelSettings(**wrong)
