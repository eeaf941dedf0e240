"""Any command line is carried out or refused in order: random options, pairs of them, and values right, wrong and absurd.

    python -m tests.campaigns.options --times 5000
    python -m tests.campaigns.options --times 500 --commands "mask,data merge"

Commands and options are read from the command line itself, so that a new one is tried from the day it is there. A line
starts as one that works (`option_values.py`) and gets up to four options more, or other arguments, or loses some. It runs
in a fork, in a folder of small inputs that the product made (`option_inputs.py`) and that is put back afterwards.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import re
import select
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imer.core import errors
from tests.campaigns import tree, workbench
from tests.campaigns.option_inputs import make_inputs
from tests.campaigns.option_values import LINES, LONG, NUMBERS, OUTPUTS, PATHS, TAKEN, WORDS, names_in, needs_networks
from tests.campaigns.workbench import Counts
from tests.conftest import SCHEMA

LIMIT_S = 180.0  # for one line
ENDING_S = 5.0  # for helpers of a process that has ended
CODES = {
    errors.EXIT_DONE: "ok", errors.EXIT_PARTIAL: "partial", errors.EXIT_USAGE: "error", errors.EXIT_INVALID_INPUT: "error",
    errors.EXIT_MISSING_DEPENDENCY: "error", errors.EXIT_OUTPUT_EXISTS: "error",
}  # fmt: skip
# What a command may add to its output's name.
_BESIDE = ("errors.jsonl", ".lock", ".json", ".staging", ".errors.jsonl", ".tsv")


@dataclass(frozen=True)
class Command:
    """A command of the command line: its name, and Typer's own object, which knows its options."""

    name: str
    parser: Any

    def option(self, word: str) -> Any:
        """Return the option that a word names, or None."""
        return next((p for p in self.parser.params if word in (*p.opts, *p.secondary_opts)), None)

    def read(self, words: list[str]) -> dict[str, Any] | None:
        """Return what the words mean, by name; None where they cannot be read."""
        with suppress(Exception), self.parser.make_context(self.name, list(words)) as context:
            return dict(context.params)
        return None


@dataclass(frozen=True)
class Said:
    """How a line ended: `code` is None where it had to be stopped."""

    code: int | None
    out: str
    err: str
    orphans: bool


def commands() -> list[Command]:
    """Return every command, read from Typer."""
    from typer.main import get_command

    from imer.cli.app import app

    def below(group: Any, name: str) -> Iterator[Command]:
        for word, parser in group.commands.items():
            full = f"{name} {word}".strip()
            yield from below(parser, full) if hasattr(parser, "commands") else [Command(full, parser)]

    return list(below(get_command(app), ""))


def line(command: Command, rng: random.Random) -> list[str]:
    """Draw the words after the command's name."""
    arguments, options = taken_apart(command, shlex.split(rng.choice(LINES[command.name])))
    if rng.random() < 0.12 and options:
        options.pop(rng.randrange(len(options)))
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))):
        asked = rng.choice(command.parser.params)
        value = _value(command, asked, rng)
        if asked.param_type_name == "argument":
            _put_argument(arguments, value, rng)
        else:
            group = _option(asked, value, rng)
            if rng.random() < 0.8:
                options = [one for one in options if command.option(one[0].partition("=")[0]) is not asked]
            options.append(group)
    for word, share in (("--json", 0.5), ("-q", 0.2)):
        options += [[word]] if rng.random() < share else []
    groups = [[word] for word in arguments] + options
    if rng.random() < 0.2:
        rng.shuffle(groups)
    return [word for group in groups for word in group]


def taken_apart(command: Command, words: list[str]) -> tuple[list[str], list[list[str]]]:
    """Take the words of a line apart: its arguments, and its options with their values."""
    arguments: list[str] = []
    options: list[list[str]] = []
    rest = iter(words)
    for word in rest:
        option = command.option(word) if word.startswith("-") else None
        if option is None:
            arguments.append(word)
        else:
            options.append([word] if option.is_flag or option.count else [word, next(rest)])
    return arguments, options


def _put_argument(arguments: list[str], value: str, rng: random.Random) -> None:
    place = rng.randrange(len(arguments) + 1)
    if place == len(arguments):
        arguments.append(value)
    elif rng.random() < 0.1:
        arguments.pop(place)
    else:
        arguments[place] = value


def _option(asked: Any, value: str, rng: random.Random) -> list[str]:
    word = rng.choice((*asked.opts, *asked.secondary_opts))
    if asked.is_flag or asked.count:
        return [word]
    if word.startswith("--") and rng.random() < 0.2:
        return [f"{word}={value}"]
    return [word, value]


def _value(command: Command, asked: Any, rng: random.Random) -> str:
    """Draw a value that the option takes, or one that it may not take."""
    taken = TAKEN.get(f"{command.name}.{asked.name}", TAKEN.get(asked.name, ()))
    is_path = asked.type_descriptor.annotation in (Path, list[Path]) or asked.name in ("out", "features")
    while True:
        if taken and rng.random() < 0.55:
            pool = taken
        elif rng.random() < 0.8:
            pool = PATHS if is_path else rng.choice((NUMBERS, WORDS, taken or WORDS))
        else:
            pool = rng.choice((NUMBERS, WORDS, PATHS, OUTPUTS))
        value = rng.choice(pool)
        if value not in LONG.get(asked.name, ()) and "\0" not in value:
            return value


def told(words: list[str], folder: Path) -> Said:
    """Run a line in a fork, in a folder, as an ordinary user; whatever is left of it after its end or limit is killed."""
    logs = [os.memfd_create(name) for name in ("out", "err")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork of a process with threads: the child starts none
        child = os.fork()
    if child == 0:
        _be_told(words, folder, logs)
    descriptor = os.pidfd_open(child)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    ended = bool(poll.poll(LIMIT_S * 1000))
    os.close(descriptor)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    orphans = _left_after(child, ENDING_S)
    return Said(os.waitstatus_to_exitcode(status) if ended else None, _text(logs[0]), _text(logs[1]), orphans)


def _left_after(group: int, seconds: float) -> bool:
    """Say whether processes of a group outlive its leader by so long; those that do are killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.005)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    return True


def _text(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "rb") as file:
        return file.read().decode(errors="backslashreplace")


def _be_told(words: list[str], folder: Path, logs: list[int]) -> None:
    """Become the command; never return."""
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        _obey_permissions()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, descriptor in enumerate(logs, start=1):
            os.dup2(descriptor, number)
        sys.argv = ["imer", *words]
        from imer.cli.app import run

        code = run(words)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - whatever a program dies of is shown
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _obey_permissions() -> None:
    """Have root meet the permissions of files as anyone else does: drop CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    if os.geteuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        sets = (ctypes.c_uint32 * 6)()
        libc = ctypes.CDLL(None)
        libc.capget(header, sets)
        for number in range(3):
            sets[number] &= ~0b110
        libc.capset(header, sets)


@dataclass
class Case:
    """A line that was tried: what it means, what it said, and what became of the folder."""

    command: Command
    words: list[str]
    said: Said
    before: tree.State
    after: tree.State

    def __post_init__(self) -> None:
        self.asked = self.command.read(self.words)
        self.new, self.changed = tree.differences(self.before, self.after)
        self.code = self.said.code
        self.as_json = "--json" in self.words

    def __str__(self) -> str:
        last = self.said.err.strip().splitlines()[-1:] or [""]
        return f"imer {self.command.name} {shlex.join(self.words)!a} → {self.code} {last[0][-300:]}"

    def outputs(self) -> tuple[str, ...]:
        """Return the places that the line names as its outputs, relative to the folder."""
        asked = self.asked or {}
        named = [asked.get("out"), asked.get("out_dir")]
        if self.command.name == "eval" and asked.get("run") and asked.get("out") is None:
            named.append(asked["run"] / "eval")
        if self.command.name == "train" and asked.get("out") is None:
            named.append("run")
        return tuple(os.path.normpath(str(one)) for one in named if one is not None)

    def log_file(self) -> str:
        log = (self.asked or {}).get("log_file")
        return "" if log is None else os.path.normpath(str(log))

    def may_touch(self, name: str) -> bool:
        """Say whether a name is, is below, leads to, or belongs to, an output or the log."""
        for place in filter(None, (*self.outputs(), self.log_file())):
            real = self.before.get(place, ("",))
            target = str(real[1]) if real[0] == "link" else place
            for one in {place, target}:
                if name == one or name.startswith(one + "/") or one.startswith(name + "/"):
                    return True
                stem = os.path.splitext(os.path.basename(one))[0]
                belongs = name.endswith(_BESIDE) or os.path.basename(name).startswith(
                    f"{stem}-"
                )  # pictures of a report
                if os.path.dirname(name) == os.path.dirname(one) and belongs:
                    return True
        return False

    def document(self) -> dict[str, Any] | None:
        """Return the one document on stdout, if there is one and it is as the schema says."""
        try:
            found = json.loads(self.said.out)
        except ValueError:
            return None
        return found if self.said.out.count("\n") == 1 and SCHEMA.is_valid(found) else None


def judge(case: Case, counts: Counts) -> None:
    """Check all that is promised of every line."""
    said, code, shown = case.said, case.code, str(case)
    counts.promise("lines that hang", code is not None, shown)
    if code is None:
        return
    counts.add(f"exit code {code}")
    counts.promise("exit codes that no page names", code in CODES, shown)
    counts.promise("tracebacks", "Traceback" not in said.err, shown)
    counts.promise("processes left behind", not said.orphans, shown)
    told_lines = said.err.splitlines()
    mine = re.compile(rf"imer( {case.command.name})?: ")
    counts.promise(
        "words on stderr that are no message", all(map(mine.match, told_lines)), f"{shown} {told_lines[:3]!a}"
    )
    if "-q" in case.words or "--quiet" in case.words:
        quiet = all(": warning: " in text or ": error: " in text for text in told_lines)
        counts.promise("notes in spite of --quiet", quiet or not case.asked, shown)
    error = next((text for text in told_lines if ": error: " in text), "")
    if CODES.get(code) == "error":
        counts.promise("errors that say nothing", bool(error), shown)
        counts.promise("errors that name nothing of the line", _names(error, case), shown)
    _judge_stdout(case, counts, shown)
    _judge_files(case, counts, shown)


def _names(error: str, case: Case) -> bool:
    """Say whether an error names an option, a value, a setting or a file of the line, or one that it lacks."""
    words = [part for word in case.words for part in (os.path.normpath(word), *re.split(r"[=,:/]", word)) if part]
    asked = "|".join(
        str(option.name).replace("_", " ") for option in case.command.parser.params
    )  # "the mask", "the label"
    lacks = re.search(rf"Missing |needs |--[a-z]|-o |FEATURES|RUN_DIR|\b(?:{asked})\b", error)
    return bool(lacks) or any(
        word in error or repr(word)[1:-1] in error or ascii(word)[1:-1] in error for word in words
    )


def _judge_stdout(case: Case, counts: Counts, shown: str) -> None:
    code, out = case.code, case.said.out
    if case.as_json:
        document = case.document()
        counts.promise("no single document as the schema says", document is not None, f"{shown} {out[:200]!a}")
        if document is not None:
            counts.promise("a status that is not the exit code's", document["status"] == CODES.get(code), shown)
            there = all(_is_there(case, one) for one in document["outputs"])
            counts.promise("outputs that are not there", there, shown)
    elif CODES.get(code) == "error" and code != errors.EXIT_MISSING_DEPENDENCY:
        counts.promise("words on stdout of what failed", not out, f"{shown} {out[:200]!a}")


def _is_there(case: Case, output: dict[str, Any]) -> bool:
    entry = case.after.get(os.path.normpath(output["path"]))
    return entry is None or entry[0] in ("folder", "link") or entry[1] == output["bytes"]


def _judge_files(case: Case, counts: Counts, shown: str) -> None:
    touched = [*case.new, *case.changed]
    outside = [name for name in touched if not case.may_touch(name)]
    counts.promise("files touched that are no outputs", not outside, f"{shown} {outside[:4]!a}")
    asked = case.asked or {}
    log = case.log_file()
    kind, target = (*case.before.get(log, ("", "")), "")[:2]
    logs = [place for place in (log, str(target) if kind == "link" else "") if place]
    changed = [name for name in touched if not any(one == name or one.startswith(name + "/") for one in logs)]
    spoilt = log in case.changed and case.before[log][1]  # no file that was there is a log; an empty one may become it
    counts.promise("files spoilt by a log", not spoilt, shown)
    if case.code == errors.EXIT_USAGE:
        left = [name for name in changed if not any(one.startswith(name + "/") for one in case.outputs())]
        counts.promise("something left by what was refused", not left, f"{shown} {left[:4]!a}")  # but folders to be in
    if asked.get("dry_run"):
        counts.promise("something done in spite of --dry-run", not changed, f"{shown} {changed[:4]!a}")
    goes_on = (
        case.command.name == "sweep" or asked.get("resume") or (case.command.name == "eval" and not asked.get("out"))
    )
    if not asked.get("overwrite") and not goes_on:
        kept = [
            name for name in case.changed if case.before[name][0] != "link"
        ]  # nothing is lost with one that leads nowhere
        lost = [name for name in kept if name != log and not name.endswith("errors.jsonl")]
        counts.promise("files replaced without --overwrite", not lost, f"{shown} {lost[:4]!a}")


def try_lines(folder: Path, asked: Any, counts: Counts) -> None:
    """Try as many lines as were asked for, of the commands that were asked for."""
    wanted = names_in(asked.commands)
    chosen = [command for command in commands() if not wanted or command.name in wanted]
    rng = random.Random(asked.seed)
    here, kept = folder / "here", folder / "kept"
    if not kept.exists():
        make_inputs(here, networks=needs_networks(wanted))
        tree.copy_tree(here, kept)
    before = tree.state_of(here)
    tried: set[tuple[str, str]] = set()
    pairs: set[tuple[str, str, str]] = set()
    try:
        for number in range(asked.times):
            command = chosen[number % len(chosen)]
            words = line(command, rng)
            given = sorted({p.name for word in words if (p := command.option(word.partition("=")[0]))})
            tried |= {(command.name, name) for name in given}
            pairs |= {(command.name, one, other) for one in given for other in given if one < other}
            started = time.monotonic()
            said = told([*command.name.split(), *words], here)
            took_s = time.monotonic() - started
            after = tree.state_of(here)
            case = Case(command, words, said, before, after)
            n_broken = len(counts.broken)
            judge(case, counts)
            if asked.tell:
                print(f"{took_s:6.2f} {case}", *counts.broken[n_broken:], sep="\n  BROKEN ", flush=True)
            if after != before:
                before = tree.put_back(here, kept, before, after)
            counts.add("lines")
    finally:
        every = {
            (command.name, p.name) for command in chosen for p in command.parser.params if p.param_type_name == "option"
        }
        counts.add("options tried", len(tried))
        counts.add("options never tried", len(every - tried))
        counts.add("pairs of options", len(pairs))


def main() -> int:
    """Run the campaign; 0 where every promise held."""
    asked = workbench.arguments(__doc__ or "", times=1000, commands="", tell=0)
    workbench.load_product(networks=needs_networks(names_in(asked.commands)))
    return workbench.carry_out(
        "combinations of options", asked, lambda folder, counts: try_lines(folder, asked, counts)
    )


if __name__ == "__main__":
    sys.exit(main())
