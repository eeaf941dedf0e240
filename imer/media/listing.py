"""Write a manifest of clips, to be filled in: who speaks, what is said, which part and which emotion."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from imer.core.errors import UsageError
from imer.core.files import followed, published_file, seen_from
from imer.core.types import Utterance
from imer.media.labels import Known
from imer.media.tables import csv_row

COLUMNS = (
    "utterance_id", "media", "start", "end", "text", "dialogue_id", "position", "speaker", "split", "emotion",
)  # fmt: skip


def says_who_speaks(utterance: Utterance) -> bool:
    """Whether a part of a clip says itself who speaks in it, by its channel or cue, whatever a table says of the clip."""
    return utterance.channel is not None or bool(utterance.speaker and utterance.start_s is not None)


def write_listing(
    utterances: Sequence[Utterance], out: Path, known: Known | None = None, *, overwrite: bool = False
) -> int:
    """Write a CSV file with a row an utterance, media as seen from its folder; return how many media lie outside of that.

    What a table says that is `known` of them stands in it, over what the clips themselves say.

    Raises
    ------
    UsageError
        `out` has the suffix of another kind of file.
    OutputExists
        `out` exists and `overwrite` is false.
    """
    if out.suffix.lower() not in ("", ".csv"):
        raise UsageError(f"The manifest is written as CSV: give {out} the suffix .csv.")
    folder = followed(out).parent
    usual = [*COLUMNS]
    if any(u.channel is not None for u in utterances):
        usual.insert(usual.index("start"), "audio_channel")
    columns = [*usual, *(column for column in known.columns if column not in usual)] if known else usual
    if known and "emotion" not in known.columns and len(columns) > len(usual):
        columns.remove("emotion")  # it would stay empty beside the labels that there are
    rows: list[list[object]] = []
    outside = set()
    in_dialogue: Counter[str] = Counter()
    for i, u in enumerate(utterances):
        media = "" if u.audio is None else seen_from(folder, followed(Path(u.audio)))
        if media.startswith("../") or os.path.isabs(media):
            outside.add(media)
        times = ["" if at is None else f"{at:.10g}" for at in (u.start_s, u.end_s)]
        own = (u.utterance_id, media, *times, u.text or "", u.dialogue_id, u.position, u.speaker)
        cells: dict[str, object] = dict(zip(COLUMNS, own, strict=False)) | {"audio_channel": u.channel or ""}
        if known:
            told = {column: value for column, value in known.cells[i].items() if value and column in known.columns}
            if says_who_speaks(u):
                told = {column: value for column, value in told.items() if column not in ("audio_channel", "speaker")}
            if dialogue := told.get("dialogue_id"):  # several clips may share it: its utterances are counted anew
                cells["position"] = in_dialogue[dialogue]
                in_dialogue[dialogue] += 1
            cells |= told
        rows.append([cells.get(column, "") for column in columns])
    with published_file(out, overwrite=overwrite) as part, open(part, "w", encoding="utf-8", newline="") as file:
        file.write(csv_row(columns))
        file.writelines(map(csv_row, rows))
    return len(outside)
