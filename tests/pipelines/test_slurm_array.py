"""The Slurm script without Slurm: a loop sets the variables that an array job would have."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imer.extraction.job import ExtractSettings
from imer.extraction.runner import extract
from imer.store.reader import FeatureStore
from tests.clips import voice, write_clip, write_manifest

Finished = subprocess.CompletedProcess[str]
FLAGS = ("--text", "none", "--visual", "none")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Five clips, one of which is broken."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for i in range(5):
        write_clip(folder / f"{i}.wav", picture=None, sound=voice(0.3, 100 + i), audio_codec="pcm_s16le")
    (folder / "3.wav").write_bytes(b"not a clip at all")
    return write_manifest(folder / "m.csv", [{"utterance_id": f"u{i}", "audio": f"{i}.wav"} for i in range(5)])


def array(count: int) -> list[dict[str, str]]:
    whole = {"SLURM_ARRAY_TASK_COUNT": count, "SLURM_ARRAY_TASK_MIN": 1, "SLURM_ARRAY_TASK_MAX": count}
    tasks = [whole | {"SLURM_ARRAY_TASK_ID": i, "SLURM_CPUS_PER_TASK": 1} for i in range(1, count + 1)]
    return [{name: str(value) for name, value in task.items()} for task in tasks]


def test_an_array_of_three_and_the_merge(manifest: Path, tmp_path: Path, script: Callable[..., Finished]) -> None:
    out = tmp_path / "out"
    tasks = array(3)
    for task in (*tasks[:2], tasks[0]):  # one is submitted twice
        done = script("slurm_array.sh", manifest, out, *FLAGS, **task)
        assert done.returncode == 0, done.stderr
    early = script("slurm_array.sh", manifest, out)
    assert early.returncode == 4, "a shard is missing, and that is said"
    assert "no file holds shard 3/3" in early.stderr
    again = script("slurm_array.sh", manifest, out, *FLAGS, **{**tasks[2], "SLURM_ARRAY_TASK_COUNT": "1"})
    assert again.returncode == 2, "an array with gaps does not know how many shards there are"
    done = script("slurm_array.sh", manifest, out, *FLAGS, **{**tasks[2], "SLURM_ARRAY_TASK_COUNT": "1", "SHARDS": "3"})
    assert done.returncode == 0, done.stderr
    assert script("slurm_array.sh", manifest, out).returncode == 0
    whole = extract(
        manifest, tmp_path / "w.h5", text="none", visual="none", settings=ExtractSettings(workers="1")
    ).content_sha256
    with FeatureStore.open(out / "features.h5") as store:
        assert store.content_sha256 == whole
        assert store.present_NM().sum() == 4
    (failures,) = (out / "shards").glob("*.errors.jsonl")
    assert '"E-OPEN"' in failures.read_text()
