"""Networks that were converted once: used again, never when stale or damaged, and never a reason to fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imer.extractors.compiling import cache_folder
from imer.extractors.conversions import converted
from imer.extractors.face_detection import FaceDetector
from tests.clips import face


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "imer" / "networks"


class Counted:
    def __init__(self, content: bytes) -> None:
        self.content, self.calls = content, 0

    def __call__(self) -> bytes:
        self.calls += 1
        return self.content


def test_it_is_converted_once_and_by_what_it_is_made_from(cache: Path) -> None:
    one, other = Counted(b"one"), Counted(b"other")
    assert [converted("network 1", one) for _ in range(3)] == [b"one"] * 3
    assert converted("network 2", other) == b"other"
    assert (one.calls, other.calls) == (1, 1)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("harm", [lambda b: b[:-1], lambda b: b"\x00" + b[1:], lambda b: b"", lambda b: b + b"x"])
def test_a_damaged_one_is_converted_again(cache: Path, harm: Callable[[bytes], bytes]) -> None:
    made = Counted(b"a network")
    converted("network", made)
    (path,) = cache.iterdir()
    path.write_bytes(harm(path.read_bytes()))
    assert converted("network", made) == b"a network"
    assert made.calls == 2
    assert [p.read_bytes() for p in cache.iterdir()] == [b"a network"]


def test_a_cache_that_cannot_be_written_costs_time_only(cache: Path) -> None:
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file where the folder should be")
    made = Counted(b"a network")
    assert [converted("network", made) for _ in range(2)] == [b"a network"] * 2
    assert made.calls == 2


def test_without_the_variable_it_is_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path(os.path.expanduser("~")) / ".cache" / "imer"


def test_a_detector_from_the_cache_needs_no_torch_and_finds_the_same(cache: Path, tmp_path: Path) -> None:
    frame = face(0)
    np.save(tmp_path / "frame.npy", frame)
    (first,) = FaceDetector("cpu").detect([frame])
    assert len(list(cache.glob("*.onnx"))) == 3
    code = (
        "import sys, numpy as np\n"
        "from imer.extractors.face_detection import FaceDetector\n"
        f"(faces,) = FaceDetector('cpu').detect([np.load({str(tmp_path / 'frame.npy')!r})])\n"
        "print('torch' in sys.modules, faces[0].box.tobytes().hex())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", first[0].box.tobytes().hex()]
