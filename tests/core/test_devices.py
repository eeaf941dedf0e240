"""Devices by name."""

from __future__ import annotations

import pytest

from imer.core.devices import chosen_device
from imer.core.errors import MissingDependency, UsageError


def test_names_of_devices() -> None:
    assert chosen_device("cpu") == "cpu"
    assert chosen_device("auto") in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:", "cuda:x", "cuda:²", "cuda:٣", "Cuda", ""])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no device"):
        chosen_device(name)


def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(MissingDependency, match="CUDA device"):
        chosen_device("cuda:99")
