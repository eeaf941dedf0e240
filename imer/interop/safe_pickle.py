"""Read other people's pickles without running what is in them.

A pickle is a program: it may name any function of any package and call it. Here a table of a few harmless names is all
that it can reach, the names are scanned before anything is loaded, and the loading happens in a child process with
limits of time and memory, which leaves plain JSON and plain arrays behind. Writing one for others is harmless. This is the
only file that imports pickle.
"""

from __future__ import annotations

import io
import json
import pickle  # restricted below: see `_ALLOWED`
import pickletools
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import listed
from imer.interop.child import read_in_child

MAX_BYTES = 16 << 30
LIMIT_S = 60.0
MEMORY_FACTOR = 4.0  # the file's bytes, its arrays, and what is made of them
_RESULT = "result.json"


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """What protocol 2 writes bytes with; no other codec is let through."""
    if encoding.lower().replace("-", "") not in ("latin1", "iso88591"):
        raise pickle.UnpicklingError(f"the codec {encoding!r} is not allowed")
    return text.encode("latin1")


_SCALAR, _ARRAY = np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]
_BUFFER = np.zeros(1).__reduce_ex__(5)[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.numeric", "_frombuffer"): _BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _BUFFER,
    ("_codecs", "encode"): _latin1,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("collections", "OrderedDict"): OrderedDict,
} | {
    (f"numpy.{core}.multiarray", name): made
    for core in ("core", "_core")
    for name, made in (("_reconstruct", _ARRAY), ("scalar", _SCALAR))
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed")
        return _ALLOWED[module, name]


def load_foreign_pickle(path: Path, out: Path) -> Any:
    """Return what a pickle holds: dicts, lists, texts, numbers, None, and arrays of numbers (or of texts, as lists).

    Tuples and sets come back as lists; keys as texts. On their way the arrays are files beside the output `out`.

    Raises
    ------
    InvalidInput
        The file is missing, no pickle, too large, names anything but arrays and plain containers, or takes too long.
    """
    with read_in_child(
        _copy_out, Path(path), out, max_bytes=MAX_BYTES, limit_s=LIMIT_S, memory_factor=MEMORY_FACTOR
    ) as folder:
        return _assembled(json.loads((folder / _RESULT).read_text(encoding="utf-8")), folder)


def _copy_out(path: Path, folder: Path) -> None:
    content = path.read_bytes()
    foreign = sorted({f"{m}.{n}" for m, n in _names(content) if (m, n) not in _ALLOWED})
    if foreign:
        raise pickle.UnpicklingError(f"it names {listed(foreign)}; only arrays and plain containers are read")
    value = _Restricted(io.BytesIO(content), encoding="latin1").load()
    (folder / _RESULT).write_text(json.dumps(_plain(value, folder, [0])), encoding="utf-8")


def write_pickle(path: Path, value: Any) -> None:
    """Write containers, texts, numbers and arrays as a pickle that any Python 3 with any NumPy reads.

    NumPy 2 names its parts by new names that NumPy 1 does not have, and knows the old ones still. Protocol 3 names them in so
    many words, once, before any data.
    """
    content = pickle.dumps(value, protocol=3)
    path.write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1))


def globals_of(path: Path) -> dict[str, bool]:
    """Return what a pickle names of the world outside it, `module.name` → whether an import would let it through.

    Nothing of it is loaded. Names that it puts together while it runs are not seen here, but are refused when it is read.

    Raises
    ------
    InvalidInput
        The file is missing, no pickle, or too large.
    """
    with read_in_child(
        _list_names, Path(path), None, max_bytes=MAX_BYTES, limit_s=LIMIT_S, memory_factor=MEMORY_FACTOR
    ) as folder:
        found: dict[str, bool] = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
        return found


def _list_names(path: Path, folder: Path) -> None:
    found = {f"{module}.{name}": (module, name) in _ALLOWED for module, name in _names(path.read_bytes())}
    (folder / _RESULT).write_text(json.dumps(dict(sorted(found.items()))), encoding="utf-8")


def _names(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of every global that a pickle names in so many words; `find_class` sees the others."""
    pushed: list[str | None] = []  # the texts on the stack, None for anything else; only the last two are looked at
    memo: dict[int, str | None] = {}
    for opcode, argument, _ in pickletools.genops(content):
        match opcode.name:
            case "GLOBAL" | "INST":
                module, _, name = str(argument).partition(" ")
                yield module, name
                pushed = [None]
            case "STACK_GLOBAL":
                last = pushed[-2:]
                if len(last) == 2 and last[0] is not None and last[1] is not None:
                    yield last[0], last[1]
                pushed = [None]
            case "MEMOIZE":
                memo[len(memo)] = pushed[-1] if pushed else None
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[int(argument or 0)] = pushed[-1] if pushed else None
            case "GET" | "BINGET" | "LONG_BINGET":
                pushed = [*pushed[-1:], memo.get(int(argument or 0))]
            case "PROTO" | "FRAME":
                pass
            case _:
                pushed = [*pushed[-1:], argument if isinstance(argument, str) else None]


def _plain(value: Any, folder: Path, count: list[int]) -> Any:
    """Return a value as JSON can hold it; arrays go to files of the folder."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {"items": [[str(key), _plain(inner, folder, count)] for key, inner in value.items()]}
    if isinstance(value, set):
        return sorted((_plain(inner, folder, count) for inner in value), key=str)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        count[0] += 1
        np.save(folder / f"{count[0]}.npy", value, allow_pickle=False)
        return {"array": count[0]}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(inner, folder, count) for inner in value]
    raise pickle.UnpicklingError(f"it holds a {type(value).__name__}, which is not read")


def _assembled(value: Any, folder: Path) -> Any:
    """Undo `_plain`; arrays are read whole, since their files do not last."""
    if isinstance(value, list):
        return [_assembled(inner, folder) for inner in value]
    if isinstance(value, dict):
        if "array" in value:
            return np.load(folder / f"{int(value['array'])}.npy", allow_pickle=False)
        return {key: _assembled(inner, folder) for key, inner in value["items"]}
    return value
