"""Every option does something: the same line with it and without it, and everything that comes of the two compared.

    python -m tests.campaigns.effects
    python -m tests.campaigns.effects --commands "mask,data merge" --tell 1

Options are read from the command line itself, so that a new one is tried from the day it is there. Each is put on lines
that work (`option_values.py`, and `WHERE` of `effect_lines.py`) with the values that are known of it. What differs is looked
for in the exit code, in stdout and stderr, and in the content of all files but those that only repeat the settings.
An option that a line takes and that changes nothing there, whatever its value, breaks a promise, unless
`effect_lines.py` says why that is as it should be.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imer.core import errors
from tests.campaigns import tree, workbench
from tests.campaigns.effect_lines import AGAIN, ALONE, GUESSES, IDLE, MANNERS, NOWHERE, VALUES, WHERE
from tests.campaigns.option_inputs import make_inputs
from tests.campaigns.option_values import LINES, TAKEN, names_in, needs_networks
from tests.campaigns.options import Command, commands, taken_apart, told
from tests.campaigns.workbench import Counts

DONE = (errors.EXIT_DONE, errors.EXIT_PARTIAL)
# An option that is written down, and no more, has no effect.
REPEAT_SETTINGS = ("config.toml", "checkpoint.json", "manifest.json")
_TIMES = re.compile(rb'"(?:elapsed_s|time|time_s)": ?(?:"[^"]*"|[\d.e+-]+)|"stage_s": ?\{[^}]*\}')


@dataclass(frozen=True)
class Outcome:
    """What came of a line: exit code, digests of what it said, and name → digest of every file that it made or changed."""

    code: int | None
    out: str
    err: str
    files: dict[str, str]

    def differences(self, other: Outcome) -> list[str]:
        """Return in what two outcomes differ: code, out, err, or names of files."""
        said = [name for name in ("code", "out", "err") if getattr(self, name) != getattr(other, name)]
        names = sorted(self.files.keys() | other.files.keys())
        return said + [name for name in names if self.files.get(name) != other.files.get(name)]


class Place:
    """A folder of inputs in which lines are carried out, each on the inputs as they were made."""

    def __init__(self, folder: Path, *, networks: bool) -> None:
        self.here, self.kept = folder / "here", folder / "kept"
        if not self.kept.exists():
            make_inputs(self.here, networks=networks)
            tree.copy_tree(self.here, self.kept)
        elif tree.state_of(self.here).keys() != tree.state_of(self.kept).keys():  # of a campaign that was stopped
            shutil.rmtree(self.here, ignore_errors=True)
            tree.copy_tree(self.kept, self.here)
        self.before = tree.state_of(self.here)
        self.known: dict[str, Outcome] = {}

    def outcome(self, line: str) -> Outcome:
        """Carry out a line, after those before its `&&`, and say what came of it. A line that is known is not repeated."""
        if line not in self.known:
            said = [told(shlex.split(one), self.here) for one in line.split(" && ")][-1]
            after = tree.state_of(self.here)
            new, changed = tree.differences(self.before, after)
            files = {name: self._digest(name) for name in (*new, *changed)}
            if after != self.before:
                self.before = tree.put_back(self.here, self.kept, self.before, after)
            words = [self._timeless(text.encode(errors="surrogateescape")) for text in (said.out, said.err)]
            self.known[line] = Outcome(said.code, *words, files)
        return self.known[line]

    def _digest(self, name: str) -> str:
        path = self.here / name
        if not path.is_file():
            return "folder" if path.is_dir() else "gone"
        content = path.read_bytes()
        return self._timeless(content) if path.suffix in (".json", ".jsonl") else hashlib.sha256(content).hexdigest()

    def _timeless(self, content: bytes) -> str:
        """Return a digest of a text without times, and wherever the folder lies."""
        return hashlib.sha256(_TIMES.sub(b"", content.replace(str(self.here).encode(), b"HERE"))).hexdigest()


def with_option(command: Command, line: str, option: Any, value: str | None, word: str) -> str:
    """Return a line with an option, in the place of what it says of it; the last of several lines."""
    first, joint, last = line.rpartition(" && ")
    words = shlex.split(last)
    n_name = len(command.name.split())
    arguments, groups = taken_apart(command, words[n_name:])
    groups = [group for group in groups if option.multiple or command.option(group[0]) is not option]
    groups.append([word] if value is None else [word, value])
    return first + joint + shlex.join([*words[:n_name], *arguments, *(part for group in groups for part in group)])


def lines(command: Command, option: Any) -> Iterator[str]:
    """Yield lines to try an option on; one that is about what is there already, on what the same line made."""
    full = f"{command.name}.{option.name}"
    known = [f"{command.name} {line}".strip() for line in dict.fromkeys(LINES[command.name])]
    if option.name not in MANNERS:
        known = [line for line in known if ALONE.get(command.name, " && ") not in line]
    yield from (f"{line} && {line}" if full in AGAIN or option.name in AGAIN else line for line in known)
    for line in WHERE.get(full, ()):
        yield " && ".join(part if "imer " in part else f"{command.name} {part}" for part in line.split(" && "))


def given(command: Command, option: Any) -> list[tuple[str, str | None]]:
    """Return how an option may be written: its word, and its value, which is not the default."""
    if option.is_flag or option.count:
        words = (*option.opts[-1:], *option.secondary_opts)
        return [(word, None) for word in words if not option.secondary_opts or (word in option.opts) != option.default]
    full = f"{command.name}.{option.name}"
    values = next((t[k] for k in (full, option.name) for t in (VALUES, TAKEN) if t.get(k)), GUESSES)
    return [(option.opts[-1], value) for value in dict.fromkeys(values) if value != str(option.default)]


def try_option(place: Place, command: Command, option: Any, counts: Counts, *, tell: bool = False) -> None:
    """Put an option on lines and judge whether it does something."""
    full = f"{command.name}.{option.name}"
    effects = 0
    for line in lines(command, option):
        without = place.outcome(line)
        taken, differing = "", []
        for word, value in given(command, option):
            more = with_option(command, line, option, value, word)
            if sorted(shlex.split(more)) == sorted(shlex.split(line)):
                continue
            found = place.outcome(more)
            counts.add("pairs of lines")
            if found.code in DONE:
                taken = more
                differing = [name for name in found.differences(without) if Path(name).name not in REPEAT_SETTINGS]
            if differing:
                effects += 1
                break
        idle = bool(taken) and not differing
        if tell:
            print(
                f"{'idle' if idle else 'effect' if differing else 'refused':8}{full:26} {taken or line} {differing[:3]}",
                flush=True,
            )
        if idle:
            counts.add("lines with an option without effect")
            counts.promise(
                "options without effect in a line",
                any(k in t for k in (full, option.name) for t in (IDLE, NOWHERE)),
                f"{full}: {taken}",
            )
        if effects and option.name in MANNERS:
            break
    known = any(name in NOWHERE for name in (full, option.name))
    counts.add("options with an effect" if effects else "options without effect anywhere")
    counts.promise("options without effect anywhere and without reason", bool(effects) or known, full)
    counts.promise("reasons that no longer hold", not effects or full not in NOWHERE, full)


def try_options(folder: Path, asked: Any, counts: Counts) -> None:
    """Try every option of the commands that were asked for."""
    wanted = names_in(asked.commands)
    chosen = [command for command in commands() if not wanted or command.name in wanted]
    place = Place(folder, networks=needs_networks(wanted))
    for command in chosen:
        for option in command.parser.params:
            if option.param_type_name == "option":
                try_option(place, command, option, counts, tell=asked.tell)


def main() -> int:
    """Run the campaign; 0 where every promise held."""
    asked = workbench.arguments(__doc__ or "", commands="", tell=0)
    workbench.load_product(networks=needs_networks(names_in(asked.commands)))
    return workbench.carry_out("effects of options", asked, lambda folder, counts: try_options(folder, asked, counts))


if __name__ == "__main__":
    sys.exit(main())
