"""Killed and resumed is never stopped: the same weights, log and choice, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from imer.core.errors import InvalidInput, UsageError
from imer.core.files import temporary_name, write_json
from imer.core.folders import folder_entries
from imer.training.listener import Listener
from imer.training.run_folder import publish_digests
from tests.conftest import ROOT
from tests.stores import write_small_store
from tests.training.small import quick

EVERY_EPOCH = "train.checkpoint_every_s=0"

# Runs `train` and kills its own process, as the kernel would, when an epoch of this number has ended.
KILLER = """
import os, signal, sys
from pathlib import Path
from imer.training import train
from tests.training.small import quick

store, out, when, *more = sys.argv[1:]
count = 0

def progress(stage, done, total):
    global count
    count += 1
    if count == int(when):
        os.kill(os.getpid(), signal.{signal})

quick(Path(store), Path(out), *more, resume=True, listener=train.Listener(progress=progress))
"""


def _killed(store: Path, out: Path, when: int, *more: str, name: str = "SIGKILL") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLER.format(signal=name), str(store), str(out), str(when), *more],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def _same(one: Path, other: Path) -> None:
    names = sorted(p.relative_to(one).as_posix() for p in one.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(other).as_posix() for p in other.rglob("*") if p.is_file())
    assert any(name.endswith("model.safetensors") for name in names)
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("when", [2, 6])  # within stage 1, within stage 2
def test_a_killed_run_continues_to_the_same_bits(store: Path, run: Path, tmp_path: Path, when: int) -> None:
    out = tmp_path / "run"
    done = _killed(store, out, when, EVERY_EPOCH)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (out / "metrics.json").exists()
    assert any((out / "state").rglob("progress.json"))
    notes: list[str] = []
    quick(store, out, EVERY_EPOCH, resume=True, listener=Listener(note=notes.append))
    assert any("continuing after epoch" in note for note in notes)
    (out / "config.toml").write_bytes((run / "config.toml").read_bytes())  # but for how often it was saved
    _forget_saving(out)
    publish_digests(out, [""])
    _same(run, out)


def _forget_saving(run: Path) -> None:
    """Undo the one setting in which the two runs differ: how often a state is saved."""
    path = run / "checkpoint" / "checkpoint.json"
    values = json.loads(path.read_text())
    values["settings"]["train"]["checkpoint_every_s"] = 10.0
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    (run / "checkpoint" / "manifest.json").unlink()
    write_json(run / "checkpoint" / "manifest.json", {"files": folder_entries(run / "checkpoint")})


def test_a_run_killed_at_its_very_beginning_starts_again(store: Path, run: Path, tmp_path: Path) -> None:
    """After the folder was made, while its first file was written, and between that and the second."""
    out = tmp_path / "run"
    out.mkdir()
    left = temporary_name(out / "run.json").name.replace(f".{os.getpid()}.", ".4194304.")
    (out / left).write_text("{")
    quick(store, out)
    _same(run, out)
    for path in out.iterdir():
        if path.name != "run.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    quick(store, out)
    _same(run, out)


def test_folds_are_resumed_one_by_one_and_finished_ones_are_kept(store: Path, tmp_path: Path) -> None:
    more = ("data.folds=3", "train.max_epochs_branches=1", "train.max_epochs_joint=2", EVERY_EPOCH)
    quick(store, whole := tmp_path / "whole", *more)
    done = _killed(store, out := tmp_path / "killed", 5, *more, name="SIGINT")  # in the second fold
    assert "KeyboardInterrupt" in done.stderr
    first = out / "checkpoint" / "fold-0" / "model.safetensors"
    written = first.stat().st_mtime_ns
    quick(store, out, *more, resume=True)
    assert first.stat().st_mtime_ns == written
    _same(whole, out)


def test_a_damaged_state_costs_only_the_epochs_since_the_one_before(store: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    _killed(store, out, 4, EVERY_EPOCH)
    newest = sorted((out / "state" / "single").iterdir())[-1]
    damaged = bytearray((newest / "model.safetensors").read_bytes())
    damaged[-3] ^= 1
    (newest / "model.safetensors").write_bytes(bytes(damaged))
    warnings: list[str] = []
    quick(store, out, EVERY_EPOCH, resume=True, listener=Listener(warn=warnings.append))
    assert any("left out" in warning and "sha256" in warning for warning in warnings)
    model = "checkpoint/model.safetensors"
    assert (out / model).read_bytes() == (run / model).read_bytes()


def test_the_global_random_state_has_no_part_and_is_left_alone(store: Path, run: Path, tmp_path: Path) -> None:
    torch.manual_seed(12345)
    torch.rand(7)
    before = torch.random.get_rng_state()
    quick(store, tmp_path / "again")
    assert torch.equal(torch.random.get_rng_state(), before)
    _same(run, tmp_path / "again")


def test_another_run_cannot_be_continued(store: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"started with model\.hidden = 16, now it is 24"):
        quick(store, run, "model.hidden=24", resume=True)
    other = write_small_store(tmp_path / "other.h5", seed=1)
    with pytest.raises(InvalidInput, match="its content differs"):
        quick(other, run, resume=True)
    assert quick(store, run, resume=True).already_finished
