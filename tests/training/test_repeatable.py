"""Random state that is borrowed, not used up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from imer.models.products import products_are_fast
from imer.training import train as training
from imer.training.listener import Listener
from imer.training.repeatable import repeatable
from imer.training.train import SLOW_BFLOAT16
from tests.training.small import quick


def test_everything_is_as_before_afterwards() -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    with repeatable(torch.device("cpu"), threads=1):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 1
        torch.manual_seed(1)
        torch.rand(3)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("model", "asked", "threads"), [("mlp", 0, 1), ("mlp", 2, 2), ("linear", 0, 5), ("linear", 1, 1)]
)
def test_models_of_many_small_products_are_trained_by_one_thread(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, asked: int, threads: int
) -> None:
    """Others would wait for each other, and round by the number of cores."""
    seen: list[int] = []

    @contextmanager
    def noted(device: torch.device, threads: int = 1) -> Iterator[None]:
        seen.append(threads)
        with repeatable(device):
            yield

    monkeypatch.setattr(training, "repeatable", noted)
    monkeypatch.setattr(training, "usable_cores", lambda: 5)
    only = ("train.max_epochs_joint=1", f"train.threads={asked}", "train.device=cpu", "train.members=1")
    training.train(store, tmp_path / "run", flags={"run": {"model": model}}, assignments=only)
    assert threads in seen
    assert set(seen) <= {1, threads}


def test_bfloat16_is_warned_of_where_it_is_slower(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    for able, fast in (({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx2": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert products_are_fast(torch.device("cpu")) == fast
    for precision in ("bfloat16", "float32"):
        only = ("train.max_epochs_branches=1", "train.max_epochs_joint=1", f"train.precision={precision}")
        quick(store, tmp_path / "run", *only, overwrite=True, listener=Listener(warn=heard.append))
    assert [message for message in heard if "float32" in message] == [SLOW_BFLOAT16.format(device="cpu")]


def test_answering_needs_no_compiler() -> None:
    """PyTorch's is a second of imports, in every process that answers anything."""
    code = (
        "import sys, torch; from imer.training.repeatable import repeatable\n"
        "with repeatable(torch.device('cpu')): pass\n"
        "print([name for name in ('torch._inductor', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
