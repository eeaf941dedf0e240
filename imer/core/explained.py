"""What the docstring of a settings dataclass says of each of its fields: read by `imer ls settings`."""

from __future__ import annotations

import re
from dataclasses import fields

_ENTRY = re.compile(r"^(\s*)(\w+(?:, \w+)*)\s{2,}(\S.*)$")


def explained(kind: type) -> dict[str, str]:
    """Return field → sentence, of the class and those that it extends; fields that nothing is said of are left out.

    An entry is a line that begins with the names of one or more fields, two spaces or more, and the sentence; lines that
    are indented further go on with it.
    """
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= _said(base.__doc__ or "", {field.name for field in fields(kind)})
    return found


def _said(text: str, names: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    entry: list[str] = []
    indent = 0
    for line in text.splitlines():
        match = _ENTRY.match(line)
        if match and set(match[2].split(", ")) <= names:
            entry, indent = match[2].split(", "), len(match[1])
            found |= dict.fromkeys(entry, match[3])
        elif entry and line.strip() and len(line) - len(line.lstrip()) > indent:
            for name in entry:
                found[name] += " " + line.strip()
        else:
            entry = []
    return found
