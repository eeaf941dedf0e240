"""The same line gives the same bytes: again, in another folder, and under another locale, time zone, hash seed, umask, TMPDIR.

    python -m tests.campaigns.surroundings
    python -m tests.campaigns.surroundings --commands "mask,data merge" --which "again,LC_ALL=C"

Every line that works (`option_values.py`) is carried out in a process of its own for each of the surroundings, on copies
of the same inputs. Exit code, stdout, stderr and all files are compared, without times and without where the folder lies.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.campaigns import tree, workbench
from tests.campaigns.effects import Outcome, Place
from tests.campaigns.option_inputs import make_inputs
from tests.campaigns.option_values import LINES, names_in, needs_networks
from tests.campaigns.workbench import Counts
from tests.conftest import ROOT

SURROUNDINGS: dict[str, dict[str, str]] = {
    "first": {}, "again": {}, "another folder": {}, "umask 077": {}, "TMPDIR": {"TMPDIR": "ünï/tmp"},
    "LC_ALL=C": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "tr_TR": {"LC_ALL": "tr_TR.UTF-8"}, "TZ": {"TZ": "Pacific/Kiritimati"}, "hash seed": {"PYTHONHASHSEED": "1"},
}  # fmt: skip


def wanted_lines(asked: str) -> list[str]:
    """Return the lines of the commands that were asked for, or of all."""
    wanted = names_in(asked)
    every = [(name, line) for name, known in LINES.items() for line in dict.fromkeys(known)]
    return [f"{name} {line}".strip() for name, line in every if not wanted or name in wanted]


def outcomes(folder: Path, lines: list[str]) -> dict[str, Any]:
    """Carry out lines in a folder of inputs; return what came of each."""
    place = Place(folder, networks=True)
    return {line: asdict(place.outcome(line)) for line in lines}


def under(name: str, folder: Path, commands: str) -> dict[str, Outcome]:
    """Return what the lines give in a process of its own, under the surroundings of that name."""
    place = folder / ("elsewhere/ö" if name == "another folder" else "place")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for copy in ("here", "kept"):
        tree.copy_tree(folder / "inputs", place / copy)
    told = folder / "told.json"
    variables = {"PYTHONHASHSEED": "0", **SURROUNDINGS[name]}
    if "TMPDIR" in variables:
        variables["TMPDIR"] = str(folder / variables["TMPDIR"])
        os.makedirs(variables["TMPDIR"], exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "tests.campaigns.surroundings", "--folder", place, "--commands", commands, "--tell", told],
        cwd=ROOT, env={**os.environ, **variables}, umask=0o077 if "umask" in name else 0o022, check=True,
    )  # fmt: skip
    return {line: Outcome(**found) for line, found in json.loads(told.read_text()).items()}


def compare(folder: Path, asked: Any, counts: Counts) -> None:
    """Carry out the lines under every one of the surroundings; what differs from the first breaks a promise."""
    if not (folder / "inputs").exists():
        make_inputs(folder / "inputs", networks=needs_networks(names_in(asked.commands)))
    names = names_in(asked.which) or list(SURROUNDINGS)[1:]
    first = under("first", folder, asked.commands)
    for name in names:
        for line, found in under(name, folder, asked.commands).items():
            counts.add(f"lines, {name}")
            # A run's manifest has the digest of what says where its store lies; all that it names is compared itself.
            differing = [one for one in found.differences(first[line]) if Path(one).name != "manifest.json"]
            counts.promise(f"other results, {name}", not differing, f"{line} {differing[:4]}")


def main() -> int:
    """Run the campaign; 0 where every promise held."""
    asked = workbench.arguments(__doc__ or "", commands="", which="", tell="")
    workbench.load_product(networks=needs_networks(names_in(asked.commands)))
    if asked.tell:
        Path(asked.tell).write_text(json.dumps(outcomes(asked.folder, wanted_lines(asked.commands))))
        return 0
    return workbench.carry_out("surroundings", asked, lambda folder, counts: compare(folder, asked, counts))


if __name__ == "__main__":
    sys.exit(main())
