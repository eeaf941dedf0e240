"""The error tree and its exit codes.

    ImerError                1   (a bug, unless a subclass says otherwise)
    ├── UsageError           2   what the user asked for cannot be done as asked
    ├── PartialFailure       3   finished, but some items failed; they are listed in errors.jsonl
    ├── InvalidInput         4   a file is missing, corrupt or not what was expected
    ├── MissingDependency    5   a package, weights or a device is missing
    └── OutputExists         6   the output is there already, or another process works on it

An error is one sentence that says what was expected, what was found, in which file, for which utterance, and
what to do. Code raises these for everything a user can cause; anything else that escapes is a bug (exit code 1).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3
EXIT_INVALID_INPUT = 4
EXIT_MISSING_DEPENDENCY = 5
EXIT_OUTPUT_EXISTS = 6
EXIT_OF_SIGNAL = 128  # plus its number
EXIT_INTERRUPTED = EXIT_OF_SIGNAL + 2
EXIT_TERMINATED = EXIT_OF_SIGNAL + 15


class ImerError(Exception):
    """Base of all errors that `imer` reports as one sentence."""

    exit_code = EXIT_BUG


class UsageError(ImerError):
    """What was asked for cannot be done as asked: a flag, a setting or a combination of them."""

    exit_code = EXIT_USAGE


class PartialFailure(ImerError):
    """The command finished and its outputs are valid, but some items failed."""

    exit_code = EXIT_PARTIAL


class InvalidInput(ImerError):
    """An input file is missing, corrupt, or not what was expected."""

    exit_code = EXIT_INVALID_INPUT


class MissingDependency(ImerError):
    """A package, model weights or a device is missing."""

    exit_code = EXIT_MISSING_DEPENDENCY


class OutputExists(ImerError):
    """The output is there already, or another process is working on it."""

    exit_code = EXIT_OUTPUT_EXISTS


_KINDS = {
    kind.__name__: kind
    for kind in (ImerError, UsageError, PartialFailure, InvalidInput, MissingDependency, OutputExists)
}


def error_named(kind: str, sentence: str) -> ImerError:
    """Return the error that another process met, by the name of its class; one of a plug-in's own is a MissingDependency."""
    return _KINDS.get(kind, MissingDependency)(sentence)


_ADVICE = {
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EACCES: "check its permissions, or choose another place",
    errno.EPERM: "check its permissions, or choose another place",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOENT: "check the folder's name",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EEXIST: "a part of this path is a file, not a folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def refusal(error: OSError) -> str:
    """Say what the system refused, for which file, and what helps."""
    advice = _ADVICE.get(error.errno or 0)
    return f"{error.filename or 'a file'}: {error.strerror or error}{'; ' + advice if advice else ''}."


_OUT_OF_MEMORY = (
    "allocate memory",
    "Unable to allocate",
    "out of memory",
    "Storage size calculation overflowed",
    "array is too big",
    "failed to map segment",  # of a library that is being loaded
)


def lacks_memory(error: Exception) -> bool:
    """Say whether memory ran out; PyTorch says so by a RuntimeError, in several ways."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


MAX_LISTED = 10  # offending items named in one message


def listed(items: Iterable[object], limit: int = MAX_LISTED) -> str:
    """Join items for a message, at most `limit` of them, and say how many were left out.

    >>> listed(["a", "b"])
    'a, b'
    >>> listed(range(12))
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … (2 more)'
    """
    texts = [str(item) for item in items]
    shown = ", ".join(texts[:limit])
    return shown if len(texts) <= limit else f"{shown}, … ({len(texts) - limit} more)"


def counted(n: int, one: str, several: str) -> str:
    """Say how many there are of something, with the words for one or those for several (or none).

    >>> counted(1, "row is broken", "rows are broken"), counted(3, "row is broken", "rows are broken")
    ('1 row is broken', '3 rows are broken')
    """
    return f"{n} {one if n == 1 else several}"


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Name the nearest valid name, or list them all where none is near.

    >>> did_you_mean("audoi", ["audio", "text"])
    "did you mean 'audio'?"
    """
    names = sorted(valid)
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"valid names: {listed(names, 40)}"
