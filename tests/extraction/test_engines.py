"""The worker pool: a file that kills or hangs its worker costs itself and nothing else."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing import Pipe, active_children, get_context
from pathlib import Path

import pytest

from imer.core import processes, registry
from imer.core.errors import InvalidInput, MissingDependency, UsageError
from imer.extraction import engines, local, worker
from imer.extraction.engines import make_engine, worker_count
from imer.extraction.local import LocalEngine
from imer.extraction.plan import MediaTask, Task, TextTask
from imer.extraction.recipe import Recipe
from imer.extraction.travel import decoded, encoded
from imer.media.segments import Segment
from tests.clips import voice, write_clip

AUDIO = Recipe({"audio": "opensmile/egemaps"})


def task(path: Path, row: int = 0) -> MediaTask:
    return MediaTask(path, (Segment(),), ((row,),), ((),))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        write_clip(folder / f"{i}.wav", picture=None, sound=voice(0.3, 100 + i), audio_codec="pcm_s16le")
        for i in range(3)
    ]


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Extractors that some texts and sounds kill, in workers that are forked and so know of them."""
    for name, modality in (("Fragile", "text"), ("Startled", "audio")):
        entry = registry.Entry(f"test/{name.lower()}", f"tests.extraction.fragile:{name}", modality)
        monkeypatch.setitem(registry.EXTRACTORS, entry.name, entry)
    monkeypatch.setattr(processes, "get_context", lambda method: get_context("fork"))
    return Recipe({"text": "test/fragile"})


def test_a_level_is_of_no_use_to_an_extractor_without_levels(fragile: Recipe) -> None:
    assert Recipe(fragile.extractors, {"level": "frame"}).useless() == ["level"]
    assert not Recipe(fragile.extractors, {"level": "utterance"}).useless()  # what nobody asked for
    assert not Recipe({**fragile.extractors, **AUDIO.extractors}, {"level": "frame"}).useless()


def test_workers_that_start_before_there_is_work_do_it(clips: list[Path]) -> None:
    with LocalEngine(Recipe({**AUDIO.extractors, "text": "minilm"}), 3) as engine:
        engine.prepare(["audio", "text"], n_files=1)
        early = {worker.process.pid for worker in engine._workers}
        assert [worker.knows_text for worker in engine._workers] == [True, False], "one for the texts, one for the file"
        outcomes = list(engine.run([TextTask((0,), ("hello",)), *(task(path, row) for row, path in enumerate(clips))]))
        assert sum(len(outcome.cells) for outcome in outcomes) == 4
        assert len(engine._workers) == 3
        assert early < {worker.process.pid for worker in engine._workers}, "nobody has been replaced"
        before = {worker.process.pid for worker in engine._workers}
        engine.dismiss()
        assert not before & {child.pid for child in active_children()}
        assert not any(processes.is_alive(pid) for pid in before), "neither alive nor a zombie"


def test_workers_that_started_in_vain_are_gone(tmp_path: Path) -> None:
    broken = Recipe({"text": "sentence-transformers"}, {"sentence_model": str(tmp_path)})
    before = {child.pid for child in active_children()}
    engine = LocalEngine(broken, 1)
    engine.prepare(["text"], n_files=0)
    engine.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert {child.pid for child in active_children()} <= before
    with LocalEngine(broken, 1) as engine:
        engine.prepare(["text"], n_files=0)
        with pytest.raises(InvalidInput, match=r"modules\.json"):
            list(engine.run([TextTask((0,), ("hello",))]))


def test_a_worker_that_dies_is_replaced_and_its_task_tried_again(clips: list[Path]) -> None:
    with LocalEngine(AUDIO, 1) as engine:
        run = engine.run([task(path, row) for row, path in enumerate(clips)])
        first = next(run)
        assert first.cells
        os.kill(engine._workers[0].process.pid, signal.SIGKILL)
        rest = list(run)
    assert sorted(cell.row for outcome in [first, *rest] for cell in outcome.cells) == [0, 1, 2]


def test_a_worker_that_dies_in_the_middle_of_a_message_is_replaced_too(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    give = local._Worker.give
    torn: list[int] = []

    def tear(worker: local._Worker, given: Sequence[Task]) -> None:
        give(worker, given)
        if not torn:
            worker.pipe.close()
            worker.pipe, theirs = Pipe()
            torn.append(os.write(theirs.fileno(), struct.pack("!i", 1000) + b"the beginning"))
            theirs.close()
            os.kill(worker.process.pid, signal.SIGKILL)

    monkeypatch.setattr(local._Worker, "give", tear)
    with LocalEngine(AUDIO, 1) as engine:
        (outcome,) = engine.run([task(clips[0])])
    assert torn
    assert outcome.cells


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_text_that_kills_its_worker_costs_itself_alone(fragile: Recipe) -> None:
    """It is found by halving; what the engine on Ray sends home of such parts comes back as they are."""
    whole = TextTask((3, 5, 7, 9), ("good", "well", "crash", "fine"))
    with LocalEngine(fragile, 1) as engine:
        outcomes = list(engine.run([whole]))
    for found in (outcomes, [decoded(whole, *encoded(outcome)) for outcome in outcomes]):
        (lost,) = (outcome for outcome in found if outcome.code)
        assert (lost.code, lost.task.cells) == ("E-CRASH", [(7, "text")])
        assert "signal 9" in lost.message
        assert sorted(cell.row for outcome in found for cell in outcome.cells) == [3, 5, 9]
        assert sorted(row for outcome in found for row, _ in outcome.task.cells) == [3, 5, 7, 9]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_text_that_hangs_its_worker_costs_itself_alone(fragile: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BASE_LIMIT_S", 0.5)  # of workers that are forked
    monkeypatch.setattr(worker, "TEXT_LIMIT_S", 0.1)
    before = {child.pid for child in active_children()}
    with LocalEngine(fragile, 1) as engine:
        outcomes = list(engine.run([TextTask((3, 5, 7, 9), ("good", "well", "hang", "fine"))]))
    assert [(outcome.code, outcome.task.cells) for outcome in outcomes if outcome.code] == [
        ("E-TIMEOUT", [(7, "text")])
    ]
    assert sorted(cell.row for outcome in outcomes for cell in outcome.cells) == [3, 5, 9]
    assert {child.pid for child in active_children()} <= before, "neither alive nor a zombie"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(("peak", "code"), [(1.0, "E-CRASH"), (0.05, "E-TIMEOUT")])
@pytest.mark.parametrize("at_fault", [2, 3])
def test_of_clips_that_a_worker_takes_together_one_that_kills_or_hangs_it_costs_itself_alone(
    fragile: Recipe, peak: float, code: str, at_fault: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: the others are done one by one, and clips that come after them together again.

    The last of them is done alone, too, before it is blamed: of their time the others may have used more than their share.
    """
    monkeypatch.setattr(worker, "BASE_LIMIT_S", 0.5)  # of workers that are forked
    together: list[int] = []
    give = local._Worker.give

    def count(given_to: local._Worker, tasks: Sequence[Task]) -> None:
        together.append(len(tasks))
        give(given_to, tasks)

    monkeypatch.setattr(local._Worker, "give", count)
    paths = []
    for number in range(24):
        sound = voice(0.1, 100 + number) * (2 * peak if number == at_fault else 1.0)
        paths.append(
            write_clip(tmp_path / f"{number}.wav", picture=None, sound=sound, audio_codec="pcm_s16le", rate=8000)
        )
    with LocalEngine(Recipe({"audio": "test/startled"}), 1, clips_at_once=4) as engine:
        outcomes = list(engine.run([task(path, row) for row, path in enumerate(paths)]))
    assert [(outcome.code, outcome.task.cells) for outcome in outcomes if outcome.code] == [
        (code, [(at_fault, "audio")])
    ]
    assert sorted(cell.row for outcome in outcomes for cell in outcome.cells) == [r for r in range(24) if r != at_fault]
    deaths = 2 if code == "E-CRASH" else 1  # what ends its process is tried once more
    alone = [1] * deaths + [1] * (3 - at_fault)  # itself, and what was behind it; those before were done
    assert together == [4, *alone, 4, 4, 4, 4, 2, 1, 1], "fewer at a time towards the end"


def test_workers_that_are_lost_before_they_begin_cost_their_task_nothing(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where memory is short or somebody kills them, two workers in a row may die with a clip that neither has looked at."""
    give = local._Worker.give
    fates = [signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL]

    def lose(lost: local._Worker, given: Sequence[Task]) -> None:
        fate = fates.pop() if fates else None
        if fate is not None:
            os.kill(lost.process.pid, fate)
        give(lost, given)
        if fate is signal.SIGSTOP:
            lost.deadline = 0.0  # that of loading models

    monkeypatch.setattr(local._Worker, "give", lose)
    with LocalEngine(AUDIO, 1) as engine:
        (outcome,) = engine.run([task(clips[0])])
    assert not fates
    assert outcome.cells


def test_a_pause_of_everything_kills_no_worker(clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-Z, or while the disk was slow, deadlines have passed that nobody has missed."""
    with LocalEngine(AUDIO, 1) as engine:
        run = engine.run([task(path, row) for row, path in enumerate(clips)])
        outcomes = [next(run)]
        worker = engine._workers[0]
        pid = worker.process.pid
        os.kill(pid, signal.SIGSTOP)
        worker.deadline = time.monotonic() - 1.0
        engine._looked -= 3600.0
        os.kill(pid, signal.SIGCONT)
        outcomes += run
        assert engine._workers[0].process.pid == pid
    assert [outcome.code for outcome in outcomes] == [""] * 3


def test_a_worker_that_gets_no_processor_is_not_late(clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a starved machine a minute passes in which a worker could do nothing; that is not its file's fault."""
    queued = local.queued_s
    with LocalEngine(AUDIO, 1) as engine:
        run = engine.run([task(path, row) for row, path in enumerate(clips)])
        outcomes = [next(run)]
        worker = engine._workers[0]
        pid = worker.process.pid
        monkeypatch.setattr(local, "queued_s", lambda pid: queued(pid) + 60.0)
        worker.deadline = time.monotonic() - 30.0
        outcomes += run
        assert engine._workers[0].process.pid == pid
    assert [outcome.code for outcome in outcomes] == [""] * 3


def test_workers_that_never_work_end_the_run(monkeypatch: pytest.MonkeyPatch, clips: list[Path]) -> None:
    monkeypatch.setattr(local, "_MAX_IDLE_DEATHS", 1)

    def give(worker: local._Worker, given: Sequence[Task]) -> None:
        worker.tasks = deque(given)
        os.kill(worker.process.pid, signal.SIGKILL)

    monkeypatch.setattr(local._Worker, "give", give)
    with LocalEngine(AUDIO, 1) as engine, pytest.raises(MissingDependency, match="keep dying"):
        list(engine.run([task(clips[0])]))


def test_what_no_worker_can_load_ends_the_run_with_its_sentence(tmp_path: Path) -> None:
    broken = Recipe({"text": "sentence-transformers"}, {"sentence_model": str(tmp_path)})
    with LocalEngine(broken, 1) as engine, pytest.raises(InvalidInput, match=r"modules\.json"):
        list(engine.run([TextTask((0,), ("hello",))]))


def test_engine_names() -> None:
    assert isinstance(make_engine("local", AUDIO, 1), LocalEngine)
    with pytest.raises(UsageError, match="did you mean 'local'"):
        make_engine("locl", AUDIO, 1)
    with pytest.raises(UsageError, match=r"add --engine ray"):
        make_engine("local", AUDIO, 1, "10.0.0.1:6379")


def test_without_ray_its_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'imer\[ray\]'"):
        make_engine("ray", AUDIO, 1)


def test_worker_counts() -> None:
    assert worker_count("3") == 3
    assert 1 <= worker_count("auto") <= (os.cpu_count() or 1)
    for text in ("0", "-1", "many", "1.5"):
        with pytest.raises(UsageError, match="--workers"):
            worker_count(text)
