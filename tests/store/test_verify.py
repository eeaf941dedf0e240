"""`imer data verify` of a folder says what it could not check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from imer.core.errors import InvalidInput
from imer.core.folders import output_entry, published_folder
from imer.store.verify import not_covered, verify_any


def test_files_that_nothing_covers_are_named(tmp_path: Path, imer: Callable) -> None:
    with published_folder(tmp_path / "run" / "checkpoint") as part:
        (part / "model.safetensors").write_bytes(b"weights")
    assert not_covered(tmp_path / "run") == []
    (tmp_path / "run" / "metrics.json").write_text("{}")
    (tmp_path / "run" / "plots").mkdir()
    (tmp_path / "run" / "plots" / "a.png").write_bytes(b"")
    assert not_covered(tmp_path / "run") == ["metrics.json", "plots/a.png"]
    done = imer("data", "verify", tmp_path / "run", "--json")
    assert done.code == 0
    assert "not checked: metrics.json, plots/a.png" in done.json["warnings"][0]


def test_every_folder_with_a_manifest_is_verified(tmp_path: Path) -> None:
    for name in ("fold0", "fold1"):
        with published_folder(tmp_path / "run" / name) as part:
            (part / "model.safetensors").write_bytes(b"weights")
    assert verify_any(tmp_path / "run") == ("folder", output_entry(tmp_path / "run")["sha256"])
    (tmp_path / "run" / "fold1" / "model.safetensors").write_bytes(b"weighty")
    with pytest.raises(InvalidInput, match="fold1"):
        verify_any(tmp_path / "run")


def test_what_cannot_be_verified_is_said(tmp_path: Path, imer: Callable) -> None:
    (tmp_path / "empty").mkdir()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1.0]
    for name, words in (
        ("empty", "nothing to verify it against"),
        ("absent.h5", "does not exist"),
        ("other.h5", "not a file of imer"),
    ):
        done = imer("data", "verify", tmp_path / name)
        assert done.code == 4
        assert words in done.err
