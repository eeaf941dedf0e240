"""Staged work: complete or not there, believed only when it is what it is named by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from imer.core.errors import InvalidInput
from imer.core.types import Verdict
from imer.extraction import staging as module
from imer.extraction.staging import JOURNAL, Staging
from imer.extractors.base import Extracted


def filled(folder: Path, n: int = 10) -> Staging:
    staging = Staging(folder)
    staging.start(resume=True, notice=lambda _: None)
    for i in range(n):
        values = np.full((i % 3 + 1, 4), i, dtype=np.float32)
        staging.add(f"u{i}", "audio", f"key{i}", Extracted(Verdict.ok, values), "f.wav", 0.1)
        staging.add(f"u{i}", "visual", f"key{i}", Extracted(Verdict.no_face, message="no face."), "f.mp4", 0.1)
    staging.flush()
    return staging


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_CELLS", 6)


def resumed(folder: Path) -> tuple[Staging, list[str]]:
    notices: list[str] = []
    staging = Staging(folder)
    staging.start(resume=True, notice=notices.append)
    return staging, notices


def test_what_was_staged_comes_back(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    staging, notices = resumed(tmp_path / "s")
    assert not notices
    assert len(staging.cells) == 20
    for i in range(10):
        cell = staging.cells[f"u{i}", "audio"]
        assert np.array_equal(staging.values(cell), np.full((i % 3 + 1, 4), i, dtype=np.float32))
        assert staging.cells[f"u{i}", "visual"].verdict is Verdict.no_face
    shards = list((tmp_path / "s").glob("s-*.npz"))
    assert len(shards) == 4
    lines = [json.loads(line) for line in (tmp_path / "s" / JOURNAL).read_text().splitlines()]
    assert {line["shard"] for line in lines} == {path.name for path in shards}
    assert sum(line["cells"] for line in lines) == 20


def test_who_only_looks_changes_nothing(tmp_path: Path) -> None:
    """A plan may look while another process writes."""
    filled(tmp_path / "s")
    broken = sorted((tmp_path / "s").glob("s-*.npz"))[0]
    broken.write_bytes(b"torn")
    (tmp_path / "s" / ".s-new.npz.part").write_bytes(b"being written")
    (tmp_path / "s" / JOURNAL).write_text("no journal\nat all\n")
    before = {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()}
    notices: list[str] = []
    staging = Staging(tmp_path / "s")
    assert set(staging.look(notices.append)) == {broken, tmp_path / "s" / JOURNAL}
    assert {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()} == before
    assert len(notices) == 2
    assert 0 < len(staging.cells) < 20


def test_values_come_in_any_order_from_a_small_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = filled(tmp_path / "s")
    monkeypatch.setattr(module, "_CACHE_BYTES", 100)
    for i in [0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 0]:
        values = staging.values(staging.cells[f"u{i}", "audio"])
        assert np.array_equal(values, np.full((i % 3 + 1, 4), i, dtype=np.float32))
    assert staging._cached_bytes == sum(values.nbytes for values in staging._cache.values())
    assert staging._cached_bytes <= 100


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "swap"])
def test_a_damaged_shard_is_not_believed(tmp_path: Path, damage: str) -> None:
    filled(tmp_path / "s")
    victim, other = sorted((tmp_path / "s").glob("s-*.npz"))[:2]
    content = victim.read_bytes()
    hurt = {
        "flip": content[:100] + bytes([content[100] ^ 1]) + content[101:],
        "cut": content[: len(content) // 2],
        "empty": b"",
        "swap": other.read_bytes(),
    }
    victim.write_bytes(hurt[damage])
    staging, notices = resumed(tmp_path / "s")
    assert len(staging.cells) in (14, 18)  # the last shard is smaller
    assert any("damaged" in notice for notice in notices)
    assert not victim.exists()


def test_the_journal_is_only_a_hint(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    journal = tmp_path / "s" / JOURNAL
    whole = journal.read_text()
    for text in ("", "{not json\n" + whole, whole[:-20], whole.replace("audio:ok", "audio:no")):
        journal.write_text(text)
        staging, _ = resumed(tmp_path / "s")
        assert len(staging.cells) == 20
    journal.unlink(missing_ok=True)
    assert len(resumed(tmp_path / "s")[0].cells) == 20
    journal.write_text(whole)
    next((tmp_path / "s").glob("s-*.npz")).unlink()
    staging, notices = resumed(tmp_path / "s")
    assert len(staging.cells) < 20
    assert any("done again" in notice for notice in notices)


def test_half_written_files_are_cleared_away(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    (tmp_path / "s" / ".s-0.npz.99.abcd.part").write_bytes(b"half")
    staging, _ = resumed(tmp_path / "s")
    assert len(staging.cells) == 20
    assert not list((tmp_path / "s").glob(".*.part"))


def test_a_success_counts_more_than_a_failure(tmp_path: Path) -> None:
    for result in (
        Extracted(Verdict.decode_error, message="x", code="E-OPEN"),
        Extracted(Verdict.ok, np.ones((1, 4), np.float32)),
        Extracted(Verdict.decode_error, message="y", code="E-OPEN"),
    ):
        staging = Staging(tmp_path / "s")
        staging.start(resume=True, notice=lambda _: None)
        staging.add("u", "audio", "k", result, "f", 0.0)
        staging.flush()
    staging, _ = resumed(tmp_path / "s")
    assert staging.cells["u", "audio"].verdict is Verdict.ok


def test_starting_anew_forgets(tmp_path: Path) -> None:
    assert Staging(tmp_path / "s").start(resume=False, notice=lambda _: None) == 0  # nothing there yet
    filled(tmp_path / "s")
    staging = Staging(tmp_path / "s")
    assert staging.start(resume=False, notice=lambda _: None) == 0
    assert not list((tmp_path / "s").iterdir())


def test_a_shard_that_goes_bad_later_is_an_error(tmp_path: Path) -> None:
    staging = filled(tmp_path / "s")
    cell = staging.cells["u0", "audio"]
    (tmp_path / "s" / cell.shard).write_bytes(b"PK")
    with pytest.raises(InvalidInput, match="run the same command again"):
        staging.values(cell)


def test_a_shard_is_closed_by_time_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = Staging(tmp_path / "s")
    staging.start(resume=True, notice=lambda _: None)
    monkeypatch.setattr(module, "SHARD_SECONDS", 0.0)
    staging.add("u", "audio", "k", Extracted(Verdict.silent), "f", 0.0)
    assert len(list((tmp_path / "s").glob("s-*.npz"))) == 1
