"""From utterances to tasks: each clip once, everything once, and the same however it is cut."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.core.errors import UsageError
from imer.core.types import Utterance, Verdict
from imer.extraction import plan
from imer.extraction.plan import (
    MAX_OVERLAP,
    MAX_SEGMENTS,
    TEXTS_PER_TASK,
    MediaTask,
    TextTask,
    in_shard,
    natural_verdict,
    parse_shard,
    plan_tasks,
)

ROOT = Path("/corpus")
ALL = ("audio", "text", "visual")


def utterance(name: str, path: str | None = None, start: float | None = None, end: float | None = None,
              text: str | None = None, visual: str | None = "same") -> Utterance:  # fmt: skip
    media = ROOT / path if path else None
    other = media if visual == "same" else (ROOT / visual if visual else None)
    return Utterance(name, name, 0, 1, audio=media, visual=other, start_s=start, end_s=end, text=text)


def everything(row: int, modality: str) -> bool:
    return True


def test_a_clip_is_decoded_once_for_all_its_utterances() -> None:
    talk = [utterance(f"u{i}", "talk.mp4", i, i + 1.0) for i in range(20)]
    (task,) = plan_tasks(talk, ALL, everything)
    assert isinstance(task, MediaTask)
    assert len(task.segments) == 20
    assert sorted(task.cells) == sorted((row, m) for row in range(20) for m in ("audio", "visual"))


def test_rows_of_the_same_segment_share_its_work() -> None:
    (task,) = plan_tasks([utterance("a", "x.mp4"), utterance("b", "x.mp4")], ALL, everything)
    assert isinstance(task, MediaTask)
    assert len(task.segments) == 1
    assert task.audio_rows == ((0, 1),)


def test_audio_and_visual_of_different_files_are_different_tasks() -> None:
    tasks = plan_tasks([utterance("a", "a.wav", visual="a.mp4", text="hello")], ALL, everything)
    assert [task.cells for task in tasks] == [[(0, "text")], [(0, "audio")], [(0, "visual")]]


def test_open_ended_segments_stand_alone_and_anchors_part() -> None:
    rows = [utterance("a", "x.mp4", 0, 1), utterance("b", "x.mp4", 2), utterance("c", "x.mp4", 31, 32)]
    assert len(plan_tasks(rows, ["audio"], everything)) == 3


def test_of_segments_that_overlap_a_task_has_few() -> None:
    rows = [utterance(f"u{i}", "x.mp4", i, 20.0) for i in range(10)]
    tasks = plan_tasks(rows, ["audio"], everything)
    assert [len(task.segments) for task in tasks if isinstance(task, MediaTask)] == [MAX_OVERLAP, MAX_OVERLAP, 2]


def test_only_what_is_wanted_is_planned() -> None:
    rows = [utterance("a", "x.mp4", text="hi"), utterance("b", text=" "), utterance("c", "y.mp4", text=None)]
    tasks = plan_tasks(rows, ALL, lambda row, modality: (row, modality) != (0, "audio"))
    assert sorted(cell for task in tasks for cell in task.cells) == [
        (0, "text"), (0, "visual"), (2, "audio"), (2, "visual"),
    ]  # fmt: skip
    assert natural_verdict(rows[1], "text") == (Verdict.empty_text, "the text is empty.")
    assert natural_verdict(rows[2], "text") == (Verdict.no_stream, "the manifest has no text column.")
    assert natural_verdict(rows[1], "audio") == (Verdict.no_stream, "the manifest names no audio file.")


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 90), st.one_of(st.none(), st.integers(1, 40))),
        min_size=1,
        max_size=90,
    )
)
def test_every_cell_is_planned_once_and_memory_is_bounded(rows: list[tuple[int, int, int | None]]) -> None:
    talk = [
        utterance(f"u{i}", f"{clip}.mp4", start, None if length is None else start + length, text="x")
        for i, (clip, start, length) in enumerate(rows)
    ]
    tasks = plan_tasks(talk, ALL, everything)
    cells = [cell for task in tasks for cell in task.cells]
    assert sorted(cells) == sorted((row, m) for row in range(len(talk)) for m in ALL)
    for task in tasks:
        if isinstance(task, TextTask):
            continue
        assert len(task.segments) <= MAX_SEGMENTS
        assert len({segment.anchor for segment in task.segments}) == 1
        assert len(task.segments) == 1 or all(segment.end_s is not None for segment in task.segments)
        for moment in task.segments:
            assert sum(s.covers(moment.start_s) for s in task.segments) <= MAX_OVERLAP


def test_a_hundred_thousand_utterances_are_planned_in_seconds() -> None:
    rows = [utterance(f"u{i}", f"{i // 10}.mp4", i % 10 * 3.0, i % 10 * 3.0 + 3, text="x") for i in range(100_000)]
    started = time.process_time()
    tasks = plan_tasks(rows, ALL, everything)
    assert len(tasks) == 10_000 + -(-100_000 // TEXTS_PER_TASK)
    assert time.process_time() - started < 10


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60))
@settings(max_examples=60)
def test_a_task_has_texts_of_about_one_length_and_not_too_many(lengths: list[int]) -> None:
    rows = [utterance(f"u{i}", text="x" * length) for i, length in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "TEXTS_PER_TASK", 8)
        patch.setattr(plan, "CHARACTERS_PER_TASK", 500)
        patch.setattr(plan, "TEXTS_PER_WINDOW", 30)
        tasks = plan_tasks(rows, ["text"], everything)
    found = [(row, text) for task in tasks for row, text in zip(task.rows, task.texts, strict=True)]
    assert sorted(found) == [(row, "x" * length) for row, length in enumerate(lengths)]
    for task in tasks:
        assert len(task.texts) <= 8
        assert len(task.texts) == 1 or sum(map(len, task.texts)) <= 500
    for start in range(0, len(found), 30):
        window = [len(text) for row, text in found if start <= row < start + 30]
        assert window == sorted(window, reverse=True)


@given(st.integers(1, 5))
@settings(max_examples=5)
def test_shards_part_the_work_and_keep_clips_together(count: int) -> None:
    rows = [utterance(f"u{i}", f"{i // 3}.mp4" if i % 7 else None, i, i + 1.0) for i in range(60)]
    owners = [[n for n in range(count) if in_shard(row, ROOT, (n, count))] for row in rows]
    assert all(len(owner) == 1 for owner in owners)
    for clip in {row.audio for row in rows if row.audio}:
        assert len({owners[i][0] for i, row in enumerate(rows) if row.audio == clip}) == 1


def test_texts_without_clips_are_shared_out_too() -> None:
    rows = [utterance(f"u{i}", text="hello") for i in range(200)]
    assert min(sum(in_shard(row, ROOT, (n, 4)) for row in rows) for n in range(4)) > 25


def test_shards_count_from_nought_or_from_one() -> None:
    assert parse_shard("0/4") == parse_shard("4/4") == (0, 4)
    assert parse_shard("3/4") == (3, 4)
    for text in ("5/4", "1", "a/b", "-1/4", "1/0", "1/2/3"):
        with pytest.raises(UsageError, match="--shard takes I/N"):
            parse_shard(text)
