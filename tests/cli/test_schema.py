"""What `--json` prints keeps to one shipped JSON Schema, for every command.

The documents of all other tests that run the command line as a subprocess are checked too: see `tests/conftest.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from imer.cli.app import app
from imer.cli.data import app as data
from tests.conftest import SCHEMA, checked
from tests.stores import write_small_store

_GROUPS = {"imer", "data"}  # which take commands, and say so where none or another is named


def _said(*words: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    return checked(json.loads(done.stdout))


def test_it_is_a_schema_and_has_all_commands() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA.schema)
    commands = {name or command.callback.__name__ for command in app.registered_commands if (name := command.name)}
    names = {name.split(".")[1].removesuffix("/1") for name in SCHEMA.schema["properties"]["schema"]["enum"]}
    of_data = {name or command.callback.__name__ for command in data.registered_commands if (name := command.name)}
    assert names == {*commands, *(f"data-{name}" for name in of_data), *_GROUPS}
    assert names - _GROUPS <= set(SCHEMA.schema["$defs"])
    assert [row["name"] for row in _said("ls", "schemas")["items"]] == SCHEMA.schema["properties"]["schema"]["enum"]


def test_commands_that_there_are_not(imer: Callable) -> None:
    said = [imer(*words, "--json").json for words in (["frobnicate"], ["data", "frobnicate"], ["data"])]
    assert [document["schema"] for document in said] == ["imer.imer/1", "imer.data/1", "imer.data/1"]


def test_from_training_to_a_report(tmp_path: Path) -> None:
    store, run = write_small_store(tmp_path / "f.h5"), tmp_path / "run"
    few = ["--label", "emotion", "--model", "mlp", "--max-epochs", 1, "--device", "cpu"]
    documents = [
        _said("train", store, "-o", run, *few),
        _said("train", store, "-o", run, *few, "--resume"),
        _said("eval", run, "--missing-rate", "0,0.5", "--pattern", "all", "--mask-seeds", 2),
        _said("eval", "--explain"),
        _said("report", run, "-o", tmp_path / "report.md"),
        _said(
            "sweep",
            store,
            "-o",
            tmp_path / "s",
            "--models",
            "majority",
            "--seeds",
            1,
            "--label",
            "emotion",
            "--dry-run",
        ),
        _said("predict", run, store),
        _said("data", "verify", store),
    ]
    assert [document["status"] for document in documents] == ["ok"] * len(documents)
    wrong = _said("train", store, "-o", run, *few)
    assert (wrong["status"], wrong["error"]["kind"]) == ("error", "OutputExists")


def test_a_cross_validated_training_says_the_epochs_of_its_folds(tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "f.h5", n_dialogues=8)
    few = ["--label", "emotion", "--model", "mlp", "--max-epochs", 1, "--device", "cpu", "--folds", "2", "--members", 2]
    selected = _said("train", store, "-o", tmp_path / "run", *few)["selected"]
    assert (selected["epoch"], selected["epochs"]) == ([1, 1], [[1, 1], [1, 1]])


@pytest.mark.parametrize(
    "change",
    [
        {"status": "fine"},
        {"surprise": 1},
        {"outputs": [{"path": "x"}]},
        {"error": {"kind": "Bug", "message": ""}},
        {"items": [1]},
    ],
)
def test_it_notices_what_is_not_in_it(change: dict[str, Any]) -> None:
    document = _said("ls", "models")
    with pytest.raises(AssertionError):
        checked({**document, **change})
