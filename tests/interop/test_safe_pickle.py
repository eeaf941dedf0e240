"""Pickles of others: what they hold comes out, what they would do does not happen."""

from __future__ import annotations

import collections
import os
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imer.core.errors import InvalidInput
from imer.interop import safe_pickle
from imer.interop.safe_pickle import globals_of, load_foreign_pickle
from tests.conftest import Finished

HARMLESS = {
    "list": [1, 2.5, "ä", None, True, (3, {4})],
    "array": np.arange(6, dtype=np.float32).reshape(2, 3),
    "texts": np.array(["a", "bc"], dtype=object),
    "words": np.array(["x", "yz"]),
    "scalar": np.float64(0.5),
    "ordered": collections.OrderedDict(a=b"bytes"),
}


def write(path: Path, value: Any, protocol: int) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def test_what_it_holds_comes_out(tmp_path: Path) -> None:
    for protocol in (2, 5):
        found = load_foreign_pickle(write(tmp_path / "f.pkl", HARMLESS, protocol), tmp_path / "out" / "f.h5")
        assert found["list"] == [1, 2.5, "ä", None, True, [3, [4]]]
        assert np.array_equal(found["array"], HARMLESS["array"])
        assert found["array"].dtype == np.float32
        assert (found["texts"], found["words"], found["scalar"]) == (["a", "bc"], ["x", "yz"], 0.5)
        assert found["ordered"] == {"a": "bytes"}


class Attack:
    """Touches the canary when it is unpickled."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


def attacks(canary: Path) -> dict[str, bytes]:
    touch = f"touch {canary}"
    simple = Attack(os.system, touch)
    found = {f"os.system, protocol {p}": pickle.dumps(simple, protocol=p) for p in range(6)}
    found |= {
        "eval": pickle.dumps(Attack(eval, f"open({str(canary)!r}, 'w')")),
        "getattr": b"cbuiltins\ngetattr\n.",
        "numpy.load": pickle.dumps(Attack(np.load, str(canary))),
        "inside an object array": pickle.dumps(np.array([simple, 1], dtype=object)),
        "inside a dict key": pickle.dumps({(1, 2): [{"a": simple}]}),
        "INST": f"(S'{touch}'\nios\nsystem\n.".encode(),
        "OBJ": b"(cos\nsystem\nS'" + touch.encode() + b"'\no.",
        "copyreg": b"ccopyreg\n_reconstructor\n(cos\n_wrap_close\nc__builtin__\nobject\nNtR.",
        "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.__dict__\x93.",
        "the table's own codec": b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
        "memo tricks": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x8c\x05numpy\x8c\x07ndarrayh\x00h\x01\x93.",
        "extension registry": b"\x80\x02\x82\x01.",
        "persistent id": b"Pnumber\n.",
        "not a pickle": b"PK\x03\x04 something else",
        "cut": pickle.dumps(HARMLESS)[:-40],
    }
    return found


def test_what_it_would_do_does_not_happen(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for name, content in attacks(canary).items():
        path = tmp_path / "attack.pkl"
        path.write_bytes(content)
        try:
            safe_pickle._copy_out(path, tmp_path)
        except Exception:  # noqa: BLE001 - refusals come in the words of pickle, of numpy or of zip
            assert not canary.exists(), name
        else:
            raise AssertionError(f"{name} was let through")


def test_a_refusal_says_what_was_found(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.pkl", {"train": Attack(os.system, f"touch {tmp_path / 'canary'}")}, 2)
    assert any(opcode.name == "GLOBAL" for opcode, _, _ in pickletools.genops(path.read_bytes()))
    with pytest.raises(InvalidInput, match=r"bad\.pkl is refused: it names posix\.system; only arrays and plain"):
        load_foreign_pickle(path, tmp_path / "f.h5")
    assert not (tmp_path / "canary").exists()
    path.write_bytes(pickle.dumps({"train": bytearray(b"raw")}, protocol=5))
    with pytest.raises(InvalidInput, match="it holds a bytearray, which is not read"):
        load_foreign_pickle(path, tmp_path / "f.h5")
    with pytest.raises(InvalidInput, match="does not exist"):
        load_foreign_pickle(tmp_path / "none.pkl", tmp_path / "f.h5")


def test_what_it_names_is_listed_without_loading_it(tmp_path: Path, imer: Callable[..., Finished]) -> None:
    canary = tmp_path / "canary"
    for protocol in range(6):
        harmless = globals_of(write(tmp_path / "h.pkl", HARMLESS, protocol))
        assert set(harmless.values()) == {True}
        assert "numpy.ndarray" in harmless
        evil = write(tmp_path / "e.pkl", [Attack(os.mkdir, str(canary)), HARMLESS, Attack(os.mkdir, "x")], protocol)
        found = globals_of(evil)
        assert [name for name, allowed in found.items() if not allowed] == ["posix.mkdir"]
        assert "collections.OrderedDict" in found
    done = imer("data", "inspect", "--globals", evil, "--json")
    assert (done.json["globals"], done.json["counts"]["refused"]) == (found, 1)
    assert not canary.exists()
    (tmp_path / "text.pkl").write_text("no pickle")
    assert imer("data", "inspect", "--globals", tmp_path / "text.pkl").code == 4


def test_only_one_file_imports_pickle() -> None:
    root = Path(safe_pickle.__file__).parents[1]
    importing = [p.name for p in root.rglob("*.py") if "import pickle" in p.read_text()]
    assert importing == ["safe_pickle.py"]
