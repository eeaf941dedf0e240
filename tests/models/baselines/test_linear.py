"""Ridge and logistic regression against scikit-learn, and their way through training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from imer.core.errors import UsageError
from imer.models.baselines.linear import LinearModelSettings, logistic, merged, ridge
from imer.training.loop import FoldTrainer
from imer.training.train import train
from tests.stores import write_small_store


def data(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    x_NP = torch.randn(80, 6, generator=drawn, dtype=torch.float64) + 1.0
    return x_NP, x_NP @ torch.randn(6, generator=drawn, dtype=torch.float64) + 0.5


@pytest.mark.parametrize("l2", [0.01, 1.0])
def test_ridge_is_scikit_learns(l2: float) -> None:
    x_NP, y_N = data()
    weight_CP, bias_C, figures = ridge(x_NP, y_N, l2)
    theirs = Ridge(alpha=l2 * len(x_NP)).fit(x_NP.numpy(), y_N.numpy())
    assert np.allclose(weight_CP[0], theirs.coef_, atol=1e-9)
    assert bias_C.item() == pytest.approx(theirs.intercept_, abs=1e-9)
    error = np.mean((theirs.predict(x_NP.numpy()) - y_N.numpy()) ** 2)
    assert figures["squared_error"] == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_logistic_regression_is_scikit_learns(weighted: bool) -> None:
    x_NP, y_N = data()
    target_N = (y_N > y_N.mean() - 1).long() + (y_N > y_N.mean() + 1).long()
    share_N = torch.ones(80, dtype=torch.float64)
    if weighted:
        share_N[target_N == 2] = 3.0
    share_N = share_N / share_N.sum()
    start = (torch.zeros(3, 6, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    weight_CP, bias_C, figures = logistic(x_NP, target_N, share_N, 0.05, start, 500)
    theirs = LogisticRegression(C=1 / 0.05, tol=1e-9, max_iter=5000)
    theirs.fit(x_NP.numpy(), target_N.numpy(), sample_weight=share_N.numpy())
    ours = torch.softmax(x_NP @ weight_CP.T + bias_C, dim=-1)
    assert np.allclose(ours, theirs.predict_proba(x_NP.numpy()), atol=1e-4)
    assert figures["steepest_gradient"] < 1e-5


def test_repeated_draws_are_merged_without_changing_the_solution() -> None:
    x_NP, y_N = data()
    row_N = torch.arange(80).repeat(6)
    observed_NM = torch.rand(480, 2, generator=torch.Generator().manual_seed(1)) < 0.5
    x_NP = torch.cat([x_NP.repeat(6, 1) * observed_NM[:, :1], observed_NM], dim=1)
    target_N = (y_N > y_N.mean()).long().repeat(6)
    share_N = torch.full((480,), 1 / 480, dtype=torch.float64)
    one_K, share_K = merged(row_N, x_NP, 2, share_N)
    assert len(one_K) <= 80 * 4 < 480
    assert share_K.sum().item() == pytest.approx(1.0)
    start = (torch.zeros(2, 8, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    whole, _, _ = logistic(x_NP, target_N, share_N, 0.05, start, 500)
    fewer, _, _ = logistic(x_NP[one_K], target_N[one_K], share_K, 0.05, start, 500)
    assert torch.allclose(whole, fewer, atol=1e-4)


def test_draws_whose_features_depend_on_the_whole_draw_all_stay() -> None:
    """Relative to their speaker, features of one utterance under one mask differ from draw to draw."""
    row_N, share_N = torch.tensor([0, 1, 0, 1]), torch.full((4,), 0.25)
    x_NP = torch.tensor([[0.1, 1.0], [0.2, 1.0], [0.3, 1.0], [0.2, 1.0]])
    one_K, share_K = merged(row_N, x_NP, 1, share_N)
    assert one_K.tolist() == [0, 1, 2, 3]
    assert torch.equal(share_K, share_N)


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
