"""What a worker allows itself: memory, and no more."""

from __future__ import annotations

import subprocess
import sys

import pytest

TAKE = """
import numpy as np
from imer.extraction import worker

worker._limit_memory({total} << 20)
kept = [np.ones(1 << 20, np.uint8) for _ in range(200)]
try:
    kept.append(np.ones({more} << 20, np.uint8))
    print("taken")
except MemoryError:
    print("refused")
worker._limit_memory(None)
kept.append(np.ones({more} << 20, np.uint8))
print("taken")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
@pytest.mark.parametrize(("total", "more", "first"), [(1500, 1300, "refused"), (1, 200, "taken")])
def test_a_worker_holds_so_much_and_no_more(total: int, more: int, first: str) -> None:
    """Half a gigabyte on top of the models is always allowed, however little is left of the total."""
    code = TAKE.format(total=total, more=more)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [first, "taken"]
