"""One manifest, one store: whatever does the work, in whatever order and pieces, through whatever is killed on the way.

The extractor is a plug-in that kills its worker on one of the clips, so that every way has a death to judge, too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imer.core.errors import UsageError
from imer.core.types import Verdict
from imer.extraction import job
from imer.extraction.job import ExtractSettings
from imer.extraction.runner import extract
from imer.extraction.summary import ExtractSummary
from imer.store.merging import merge_stores
from imer.store.reader import FeatureStore
from tests.clips import voice, write_clip, write_manifest
from tests.conftest import run_imer

PLUGIN = '''
"""Three numbers of a waveform; a loud one kills the process, as a crash inside a codec would."""

import os
import signal

import numpy as np

from imer.core.types import FeatureSpec, Verdict
from imer.extractors.base import Extracted


class Deadly:
    spec = FeatureSpec("audio", "deadly", "1", "utterance", 3)

    def load(self, device):
        pass

    def begin(self):
        return Session()


class Session:
    def __init__(self):
        self.parts = []

    def add(self, waveform):
        if np.abs(waveform).max() > 0.6:
            os.kill(os.getpid(), signal.SIGKILL)
        self.parts.append(waveform)

    def finish(self):
        whole = np.concatenate(self.parts).astype(np.float64)
        return Extracted(Verdict.ok, np.array([[whole.mean(), whole.std(), len(whole)]], dtype=np.float32))
'''
ONLY_AUDIO = ("--audio", "deadly", "--text", "none", "--visual", "none")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nine clips, one silent, one deadly, and a longer one with three utterances. Labels that are harder to merge."""
    site = tmp_path_factory.mktemp("site")
    (site / "deadly.py").write_text(PLUGIN)
    about = site / "deadly-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[imer.extractors]\ndeadly = deadly:Deadly\n")
    folder = tmp_path_factory.mktemp("clips")
    rows: list[dict[str, object]] = []
    for i in range(9):
        loudness = {2: 0.0, 5: 1.9}.get(i, 1.0)
        write_clip(folder / f"{i}.wav", picture=None, sound=voice(0.2, 100 + 9 * i) * loudness, audio_codec="pcm_s16le")
        odd = f"0{i}.50" if i % 3 else "word"  # numbers in some shards, words in others
        rows.append({"utterance_id": f"u{i}", "audio": f"{i}.wav", "emotion": "joy" if i % 4 else "fear", "odd": odd,
                     "note": "x" * 300 if i == 7 else f" note {i}"})  # fmt: skip
    write_clip(folder / "talk.flac", picture=None, sound=voice(1.2), audio_codec="flac")
    rows[3:3] = [
        {"utterance_id": f"t{i}", "audio": "talk.flac", "start": i * 0.4, "end": i * 0.4 + 0.4, "dialogue_id": "talk",
         "sentiment": i / 3} for i in range(3)
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
        yield write_manifest(folder / "manifest.csv", rows)


def run(corpus: Path, out: Path, workers: str = "2", **settings: object) -> ExtractSummary:
    made = ExtractSettings(workers=workers, **settings)  # type: ignore[arg-type]
    return extract(corpus, out, audio="deadly", text="none", visual="none", settings=made)


@pytest.fixture(scope="module")
def digest(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("reference") / "f.h5"
    summary = run(corpus, out, "1")
    with FeatureStore.open(out) as store:
        names = store.utterance_ids.tolist()
        assert store.quality["audio"][names.index("u5")] == Verdict.decode_error
    assert summary.verdicts == {"audio": {"ok": 10, "silent": 1, "decode_error": 1}}
    return summary.content_sha256


def by_workers(count: str) -> Callable[[Path, Path], str]:
    return lambda corpus, folder: run(corpus, folder / "f.h5", count).content_sha256


def backwards(corpus: Path, folder: Path) -> str:
    plan = job.plan_tasks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "plan_tasks", lambda *given: plan(*given)[::-1])
        return run(corpus, folder / "f.h5").content_sha256


def in_shards(corpus: Path, folder: Path) -> str:
    """Four shards, of which two are merged first, and merged again with the others, in no order."""
    parts = [folder / f"{i}.h5" for i in range(1, 5)]
    for i, part in enumerate(parts, 1):
        run(corpus, part, shard=f"{i}/4")
    made = [part for part in parts if part.exists()]
    assert len(made) > 2
    merge_stores(made[:2], folder / "some.h5", allow_missing=True)
    return merge_stores([*made[:1:-1], folder / "some.h5"], folder / "f.h5").content_sha256


def grown(corpus: Path, folder: Path) -> str:
    """The first five utterances alone; then the others are added to them."""
    run(corpus, folder / "first.h5", limit=5)
    summary = run(corpus, folder / "f.h5", add=folder / "first.h5")
    assert summary.reused == 5
    return summary.content_sha256


def killed(corpus: Path, folder: Path) -> str:
    """Killed as soon as the first work is on the disk; the same command does the rest."""
    code = "import imer.extraction.staging as s; s.SHARD_CELLS = 1; from imer.__main__ import main; main()"
    command = ["extract", str(corpus), "-o", str(folder / "f.h5"), *ONLY_AUDIO, "--workers", "1"]
    process = subprocess.Popen([sys.executable, "-c", code, *command], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(folder.glob("f.h5.staging/s-*.npz")):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "f.h5").exists()
    done = run_imer(*command, "--json")
    assert done.code == 3, done.err
    assert "took over the lock" in done.err
    assert 0 < done.json["counts"]["reused"] < 12
    return str(done.json["content_sha256"])


def on_ray(corpus: Path, folder: Path) -> str:
    """Also: the deadly clip is judged as in the local engine, and nothing is left running or lying about."""
    arguments = ("extract", corpus, "-o", folder / "f.h5", *ONLY_AUDIO, "--engine", "ray", "--workers", "2", "--json")
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as short:
        done = run_imer(*arguments, TMPDIR=short)
        assert not list(Path(short).iterdir())
        assert not left_of(short)
    assert done.code == 3, done.err
    (line,) = [json.loads(line) for line in (folder / "errors.jsonl").read_text().splitlines()]
    assert (line["utterance_id"], line["code"]) == ("u5", "E-CRASH")
    assert "signal 9" in line["message"]
    assert all(text.startswith("imer extract: ") for text in done.err.splitlines()), "Ray talks to the user"
    assert sorted(path.name for path in folder.iterdir()) == ["errors.jsonl", "f.h5"]
    return str(done.json["content_sha256"])


def left_of(folder: str) -> list[str]:
    """Return the command lines of running processes that were started with the folder as their temporary one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={folder}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_text())
        except OSError:  # ended while we looked, or is not ours
            continue
    return found


WAYS = {
    "one worker": by_workers("1"), "two workers": by_workers("2"), "eight workers": by_workers("8"),
    "backwards": backwards, "shards": in_shards, "grown": grown, "killed": killed, "ray": on_ray,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_store(corpus: Path, digest: str, tmp_path: Path, way: str) -> None:
    if way == "ray":
        pytest.importorskip("ray")
    assert WAYS[way](corpus, tmp_path) == digest


def test_a_plug_in_of_another_modality_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--text deadly: this extractor makes audio features"):
        extract(corpus, tmp_path / "f.h5", audio="none", text="deadly", visual="none")
    assert not list(tmp_path.iterdir())
