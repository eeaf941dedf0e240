"""`imer data verify` of a folder says what it could not check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imer.core.files import published_folder
from imer.store.verify import not_covered


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
