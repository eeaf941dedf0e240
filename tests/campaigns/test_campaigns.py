"""The campaigns as scripts run them, small enough for every day. Their counts are what the documents state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns.workbench import CANNOT
from tests.conftest import ROOT


def ran(name: str, folder: Path, *arguments: object) -> dict[str, Any]:
    """Run a campaign in a process of its own, which has no threads yet and may fork; return its counts."""
    report = folder / "counts.json"
    done = subprocess.run(
        [sys.executable, "-m", f"tests.campaigns.{name}", *map(str, arguments), "--json", str(report)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip())
    assert report.exists(), done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert not found["broken"], done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    return found["counts"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc")
def test_100_kills_of_an_extraction_lose_nothing(tmp_path: Path) -> None:
    counts = ran("kills", tmp_path, "--times", 100, "--seed", 7)
    assert counts["kills in all"] >= 100
    assert min(counts["kills of the whole process group"], counts["kills of the parent alone"]) >= 5
    assert counts["chains carried to their end and compared"] >= 5


def test_a_failing_file_call_is_a_clear_end_and_the_next_run_gets_there(tmp_path: Path) -> None:
    counts = ran("faults", tmp_path, "--every", 17, "--errors", "in-turn")
    assert sum(number for name, number in counts.items() if ": faults, " in name) >= 20
    assert counts["ended with an error"] >= 12


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    counts = ran("full_disk", tmp_path, "--what", "mask,import")
    assert counts["mask: full disks"] + counts["data import: full disks"] >= 5


def test_300_flipped_bits_and_cuts_are_refused_or_harmless(tmp_path: Path) -> None:
    counts = ran("corruption", tmp_path, "--times", 300)
    for kind in ("store", "mask", "staged work", "checkpoint", "bundle"):
        assert counts[f"{kind}: cases"] == 60
        assert counts[f"{kind}: refused"] + counts[f"{kind}: made again"] >= 10  # the rest hit what nobody reads


@pytest.mark.skipif(sys.platform != "linux", reason="waits for processes by pidfd, and drops capabilities")
def test_60_random_lines_are_carried_out_or_refused_in_order(tmp_path: Path) -> None:
    light = "mask,ls,data manifest,data import,data export,data verify,data merge"
    counts = ran("options", tmp_path, "--times", 60, "--seed", 2, "--commands", light)
    assert counts["lines"] == 60
    assert min(counts["exit code 0"], counts["exit code 2"]) >= 10
    assert counts["pairs of options"] >= 30


@pytest.mark.skipif(sys.platform != "linux", reason="waits for processes by pidfd, and drops capabilities")
def test_every_option_of_masks_and_merges_does_something(tmp_path: Path) -> None:
    counts = ran("effects", tmp_path, "--commands", "mask,data merge")
    assert counts["options with an effect"] >= 12
    assert counts["options without effect anywhere"] <= 4  # -v of both, and -q of both, where there is nothing to say
