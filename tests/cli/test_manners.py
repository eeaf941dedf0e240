"""The manners of the command line: fast help, clean streams, honest exit codes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from imer.cli.ls import KINDS
from imer.cli.reporting import reporting
from imer.core.types import Verdict
from imer.extraction.failures import VERDICTS
from imer.store.reader import FeatureStore
from imer.training.settings_layers import load_settings
from tests.stores import write_small_store

COMMANDS = (
    "demo", "extract", "mask", "train", "eval", "sweep", "predict", "export", "report", "data", "ls", "doctor",
)  # fmt: skip
HEAVY = ("torch", "librosa", "opensmile", "sentence_transformers", "facenet_pytorch", "sklearn", "scipy", "matplotlib")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["ls", "protocols"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom imer.cli.app import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_mask_and_inspect_import_nothing_heavy(tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "f.h5")
    mask = ["mask", str(store), "-o", str(tmp_path / "m.h5"), "--missing-rate", "0.5"]
    for arguments in (mask, ["data", "inspect", str(store)], ["data", "verify", str(store)]):
        code = (
            "import sys\nfrom imer.cli.app import app\n"
            f"try:\n    app({arguments!r})\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
            f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.strip().splitlines()[-1] == "[]"


def test_an_unknown_command_is_told_once(imer: Callable) -> None:
    done = imer("trian")
    assert (done.code, done.out) == (2, "")
    assert done.err == "imer: error: No such command 'trian'. Did you mean 'train'? See `imer --help`.\n"


def test_every_command_has_help(imer: Callable) -> None:
    top = imer("--help").out
    for command in COMMANDS:
        assert f" {command} " in top
        done = imer(command, "--help")
        assert done.code == 0
        assert "Usage" in done.out
    assert "Exit codes" in top


def test_mask_prints_nominal_beside_realised(imer: Callable, tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "f.h5")
    done = imer("mask", store, "-o", tmp_path / "m.h5", "--missing-rate", "0.5", "--split", "test", "--json")
    assert done.code == 0
    document = done.json
    assert document["schema"] == "imer.mask/1"
    assert document["status"] == "ok"
    assert (document["missing_rate"], document["split"]) == (0.5, "test")
    assert document["realised_rate"] == pytest.approx(0.5, abs=1 / document["counts"]["cells"])
    with FeatureStore.open(store) as features:
        of_test = features.present_NM()[features.splits == "test"]
        assert document["natural_rate"] == pytest.approx(1 - of_test.mean(), abs=1e-6)
        assert of_test.mean() != pytest.approx(features.present_NM().mean(), abs=1e-3), "or this shows nothing"
    assert document["outputs"][0]["path"] == str(tmp_path / "m.h5")
    assert not document["warnings"]
    little = imer("mask", store, "-o", tmp_path / "m1.h5", "--missing-rate", "0.01", "--json").json["warnings"]
    assert "is missing by nature already, more than the 0.01 asked for" in little[0]
    table = imer("mask", store, "-o", tmp_path / "m2.h5", "--pattern", "at").out.splitlines()
    assert table[0].split("\t")[:3] == ["protocol", "nominal", "realised"]
    assert table[1].startswith("pattern audio+text\t–\t")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--missing-rate", "0.9"], 2, "0.6667"),
        (["--missing-rate", "lots"], 2, "neither a number"),
        (["--missing-rate", "audio=0.2,audio=0.3"], 2, "names a modality twice"),
        (["--missing-rate", "0.5", "--protocol", "exat"], 2, "did you mean 'exact'"),
        (["--missing-rate", "0.5", "--split", "tset"], 2, "no utterance of split 'tset'"),
        (["--pattern", "x"], 2, "no modality"),
        (["--missing-rate", "audio=0.9,text=0.9,visual=0.9"], 2, "at most 2"),
        (["--pattern", "at", "--missing-rate", "0.5"], 2, "without --missing-rate"),
        (["--pattern", "at", "--protocol", "exact"], 2, "without --missing-rate"),
        (["--missing-rate", "0.5", "--protocol", "mixed"], 2, "takes no --missing-rate"),
        (["--missing-rate", "audio=0.5", "--protocol", "exact"], 2, "for imbalanced"),
    ],
)
def test_mask_explains_what_is_wrong(
    imer: Callable, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    store = write_small_store(tmp_path / "f.h5")
    done = imer("mask", store, "-o", tmp_path / "m.h5", *arguments)
    assert done.code == code
    assert words in done.err
    assert not (tmp_path / "m.h5").exists()


def test_existing_output_needs_overwrite(imer: Callable, tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "f.h5")
    (tmp_path / "m.h5").write_text("precious")
    done = imer("mask", store, "-o", tmp_path / "m.h5", "--missing-rate", "0.5", "--json")
    assert done.code == 6
    assert done.json["status"] == "error"
    assert "--overwrite" in done.json["error"]["message"]
    assert (tmp_path / "m.h5").read_text() == "precious"
    assert imer("mask", store, "-o", tmp_path / "m.h5", "--missing-rate", "0.5", "--overwrite").code == 0


def test_a_wrong_file_is_named(imer: Callable, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("no hdf5")
    for arguments in (
        ["data", "inspect", tmp_path / "x.h5"],
        ["data", "verify", tmp_path / "x.h5"],
        ["data", "inspect", "gone.h5"],
    ):
        done = imer(*arguments)
        assert done.code == 4
        assert str(arguments[-1]) in done.err
        assert "Traceback" not in done.err


def test_inspect_json_has_the_digest_counts_and_verdicts(imer: Callable, tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "f.h5")
    document = imer("data", "inspect", store, "--json").json
    assert len(document["content_sha256"]) == 64
    assert set(document["present"]) == {"audio", "text", "visual"}
    assert document["quality"]["audio"]["ok"] == document["present"]["audio"]
    assert imer("data", "verify", store, "--json").json["content_sha256"] == document["content_sha256"]


def test_log_file_is_json_lines(imer: Callable, tmp_path: Path) -> None:
    imer("data", "inspect", tmp_path / "gone.h5", "--log-file", tmp_path / "log.jsonl")
    begun, failed, ended = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert begun["argv"][1:4] == ["data", "inspect", str(tmp_path / "gone.h5")]
    assert failed["level"] == "error"
    assert "gone.h5" in failed["message"]
    assert (ended["status"], ended["exit_code"]) == ("error", 4)
    assert datetime.fromisoformat(ended["time"]).utcoffset() is not None


def test_ls_knows_its_kinds(imer: Callable) -> None:
    for kind in KINDS:
        done = imer("ls", kind, "--json")
        assert done.code == 0
        assert done.json["items"]
    done = imer("ls", "metric")
    assert done.code == 2
    assert "did you mean 'metrics'" in done.err


def test_every_setting_is_explained_and_taken(imer: Callable) -> None:
    rows = imer("ls", "settings", "--json").json["items"]
    assert all(row["what it is"] for row in rows)
    named = {row["name"] for row in rows if "comp" in row["of"].split(", ") or row["of"] in ("all", "linear")}
    taken = load_settings(preset="comp").to_toml()
    for section, values in tomllib.loads(taken).items():
        assert {f"{section}.{key}" for key in values} <= named
    widths = {row["of"]: row["default"] for row in rows if row["name"] == "model.hidden"}
    assert widths["comp"] == "96"
    assert widths["transformer, momke"] == "128"


def test_doctor_explains_every_verdict(imer: Callable) -> None:
    assert set(VERDICTS) == {verdict.name for verdict in Verdict}
    done = imer("doctor", "no_face", "--json")
    assert done.json["error_code"] == {"code": "no_face", "meaning": VERDICTS["no_face"], "retryable": False}
    assert "silent" in imer("doctor", "unknown").err


def test_doctor_names_versions_and_licences(imer: Callable) -> None:
    done = imer("doctor", "--json")
    assert done.code == 0
    checks = {check["name"]: check for check in done.json["checks"]}
    assert "audEERING" in checks["opensmile"]["found"]
    assert checks["torch"]["state"] == "ok"
    assert "--face-weights" in checks["face weights"]["advice"]


def test_a_log_file_that_cannot_be_written_costs_no_result(imer: Callable, tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "f.h5")
    done = imer("mask", store, "-o", tmp_path / "m.h5", "--missing-rate", "0.9", "--log-file", tmp_path / "no" / "x")
    assert done.code == 2
    assert done.err.count("nothing more is logged") == 1
    assert "0.6667" in done.err
    assert "Traceback" not in done.err


def test_an_output_below_a_file_says_what_to_do(imer: Callable, tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "f.h5")
    done = imer("mask", store, "-o", store / "m.h5", "--missing-rate", "0.5")
    assert done.code == 4
    assert "a part of this path is a file" in done.err


def test_what_a_part_of_imer_logs_is_a_warning_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting("train", json=True):
        for _ in range(2):  # by two folds: said once
            logging.getLogger("imer.models").warning("The head falls back on %s.", "a case")
    shown = capsys.readouterr()
    assert json.loads(shown.out)["warnings"] == ["The head falls back on a case."]
    assert shown.err == "imer train: warning: The head falls back on a case.\n"
    assert logging.getLogger("imer").handlers == []


def test_ctrl_c_during_the_imports_is_quiet() -> None:
    code = (
        "import sys\nfrom imer.__main__ import main\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'imer.cli.train':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_all_protocols_are_listed_with_the_commands_that_take_them(imer: Callable) -> None:
    rows = {(row["name"], row["used by"]) for row in imer("ls", "protocols", "--json").json["items"]}
    assert {("exact", "mask, eval"), ("matched-static", "train, sweep"), ("mixed", "train, sweep")} <= rows
    assert {("mixed", "mask, eval --mask"), ("pattern", "mask, eval --pattern")} <= rows
