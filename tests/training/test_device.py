"""Devices by name, and random state that is borrowed, not used up."""

from __future__ import annotations

import pytest
import torch

from imer.core.errors import MissingDependency, UsageError
from imer.training.device import repeatable, resolve_device


def test_names_of_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    for name in ("gpu", "cpu:0", "cuda:x", ""):
        with pytest.raises(UsageError, match="no device"):
            resolve_device(name)
    with pytest.raises(MissingDependency, match="CUDA device"):
        resolve_device("cuda:99")


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
