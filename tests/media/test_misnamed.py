"""Clips in a column that nobody reads are noticed, and other columns of file names are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from imer.core.errors import InvalidInput
from imer.media.manifest import read_manifest
from imer.media.misnamed import check_sources

BOTH = ("audio", "visual", "text")


def check(folder: Path, columns: str, cells: str, modalities: tuple[str, ...] = BOTH) -> None:
    """Check a manifest of two rows, beside which lies a.mp4."""
    (folder / "a.mp4").touch()
    (folder / "m.csv").write_text(f"utterance_id,text,{columns}\nu0,hello,{cells}\nu1,so glad,{cells}\n")
    check_sources(read_manifest(folder / "m.csv").utterances, folder / "m.csv", modalities)


@pytest.mark.parametrize(
    ("columns", "cells", "modalities", "advice"),
    [
        ("video", "a.mp4", BOTH, "call the column media (to extract without: --audio none --visual none)"),
        ("path,emotion", "./A.MP4,joy", ("audio",), "call the column audio (to extract without: --audio none)"),
        ("audio,video", "a.mp4,a.mp4", BOTH, "no utterance has visual; call the column visual"),
        ("emotion,file", "joy,a.mp4", ("visual", "text"), "call the column visual"),
    ],
)
def test_clips_under_another_name(
    columns: str, cells: str, modalities: tuple[str, ...], advice: str, tmp_path: Path
) -> None:
    (tmp_path / "A.MP4").touch()
    with pytest.raises(InvalidInput) as refused:
        check(tmp_path, columns, cells, modalities)
    assert advice in str(refused.value)


@pytest.mark.parametrize(
    ("columns", "cells", "modalities"),
    [
        ("media,video", "a.mp4,a.mp4", BOTH),
        ("audio,video", "a.mp4,a.mp4", ("audio", "text")),
        ("video", "a.mp4", ("text",)),
        ("video", "elsewhere.mp4", BOTH),
        ("video", "//server/share/a.mp4", BOTH),
        ("video,emotion", "03bSnISJMiM,joy", BOTH),
        ("notes", "a.mp4 is dark", BOTH),
        ("video", "", BOTH),
    ],
)
def test_what_is_no_such_column(columns: str, cells: str, modalities: tuple[str, ...], tmp_path: Path) -> None:
    check(tmp_path, columns, cells, modalities)
