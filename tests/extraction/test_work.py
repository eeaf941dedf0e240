"""What a worker makes of tasks, one by one or several clips together: the same, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imer.core.types import Verdict
from imer.extraction import work
from imer.extraction.plan import MediaTask
from imer.extraction.recipe import Recipe
from imer.extraction.work import CellResult, Toolbox, do_tasks
from imer.media.sampling import Picture
from imer.media.segments import Segment
from tests.clips import face, grey, voice, write_clip
from tests.extractors.faces import random_weights


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[MediaTask]:
    """Clips of 1, 5 and 7 faces, three parts of one, one without a face, one that is cut to pieces, and one that is none."""
    folder = tmp_path_factory.mktemp("clips")
    made = [
        write_clip(folder / f"{n}.mp4", seconds=n / 5, picture=face, sound=voice(n / 5, 100 + n)) for n in (1, 5, 7)
    ]
    nobody = write_clip(folder / "nobody.mp4", picture=grey, sound=voice(1.0))
    broken = folder / "broken.mp4"
    broken.write_bytes(made[2].read_bytes()[:3000])
    none = folder / "none.mp4"
    none.write_bytes(b"no clip")
    wholes = [
        MediaTask(path, (Segment(),), ((row,),), ((row,),)) for row, path in enumerate([*made, nobody, broken, none])
    ]
    parts = tuple(Segment(start_s, start_s + 0.4) for start_s in (0.0, 0.4, 0.8))
    rows = ((10,), (11,), (12,))
    return [*wholes[:2], MediaTask(made[2], parts, rows, rows), *wholes[2:]]


@pytest.mark.parametrize("level", ["utterance", "frame"])
def test_clips_that_are_done_together_give_what_they_give_alone(
    tasks: list[MediaTask], level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = random_weights(tmp_path / "resnet.pt")
    recipe = Recipe({"audio": "opensmile/egemaps", "visual": "facenet"}, {"level": level, "face_weights": str(weights)})
    toolbox = Toolbox(recipe)
    sizes: list[int] = []
    visual = toolbox.get("visual")
    network = visual._network

    def counted(pictures: np.ndarray) -> tuple[np.ndarray, ...]:
        sizes.append(len(pictures))
        return network(pictures)

    visual._network = counted
    alone = [done for task in tasks for done in do_tasks([task], toolbox)]
    one_by_one, sizes = sizes, []
    together = list(do_tasks(tasks, toolbox))
    for (cells, stages), (others, other_stages) in zip(alone, together, strict=True):
        assert [outcome(cell) for cell in cells] == [outcome(cell) for cell in others]
        assert set(stages) == set(other_stages)
    verdicts = [cell.result.verdict for cells, _ in together for cell in cells if cell.modality == "visual"]
    assert verdicts == [Verdict.ok] * 6 + [Verdict.no_face] + [Verdict.decode_error] * 2
    assert sum(sizes) == sum(one_by_one)
    assert sizes == [4] * (len(sizes) - 1) + [sizes[-1]], "batches are full, whichever clips the faces are of"
    assert len(sizes) < len(one_by_one)
    shared, sizes = sizes, []
    monkeypatch.setattr(work, "HELD_BACK_S", 0.0)
    in_time = do_tasks(tasks, toolbox)
    first = next(in_time)
    assert sum(sizes) < sum(shared), "of long clips the first is done before the others are read"
    for (cells, _), (others, _) in zip(alone, [first, *in_time], strict=True):
        assert [outcome(cell) for cell in cells] == [outcome(cell) for cell in others]
    assert sizes == one_by_one


class Broken:
    """Looks at faces on a GPU that has just been lost."""

    frames_per_s = 5.0

    def begin(self) -> Broken:
        return self

    def add(self, picture: Picture) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_gpu_that_is_lost_ends_the_worker_and_is_not_blamed_on_the_clip(tasks: list[MediaTask]) -> None:
    toolbox = Toolbox(Recipe({}), _loaded={"visual": Broken()})
    task = replace(tasks[0], audio_rows=((),))
    with pytest.raises(RuntimeError, match="CUDA error"):
        list(do_tasks([task], toolbox))


def outcome(cell: CellResult) -> tuple[object, ...]:
    values = cell.result.values_TD
    told = cell.result.verdict, cell.result.code, cell.result.message
    return cell.row, cell.modality, told, None if values is None else values.tobytes()
