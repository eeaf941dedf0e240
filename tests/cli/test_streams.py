"""What shells and schedulers do to a command: odd streams, odd names, signals, stray variables."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imer.cli.output import _print_rich
from imer.cli.reporting import reporting
from imer.store.reader import FeatureStore
from tests.conftest import Finished
from tests.stores import write_small_store

Imer = Callable[..., Finished]


def shell(arguments: list[object], redirection: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = " ".join(shlex.quote(str(part)) for part in [sys.executable, "-m", "imer", *arguments])
    settings = {**os.environ, **environment}
    return subprocess.run(["bash", "-c", f"{command} {redirection}"], capture_output=True, check=False, env=settings)


def test_a_closed_or_full_stdout_is_no_traceback(tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "f.h5")
    for form in ([], ["--json"]):
        closed = shell(["data", "inspect", store, *form], ">&-")
        assert (closed.returncode, closed.stdout, closed.stderr) == (0, b"", b"")
        assert shell(["data", "inspect", store, *form], "| head -c 1").stderr == b""
        full = shell(["data", "inspect", store, *form], "> /dev/full")
        assert full.returncode == 4
        said = "imer data inspect: error: the result cannot be written to stdout: No space left on device.\n"
        assert full.stderr.decode() == said


def test_progress_needs_no_stderr() -> None:
    code = (
        "from imer.cli.reporting import reporting\n"
        "with reporting('train') as report:\n"
        "    report.progress('stage joint', 1, 2)\n"
        "    report.note('half')\n"
    )
    done = subprocess.run(["bash", "-c", f"{sys.executable} -c {shlex.quote(code)} 2>&-"], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"]])
def test_help_that_nobody_can_read(words: list[object]) -> None:
    full = shell(words, "> /dev/full")
    assert full.returncode == 4
    assert full.stderr.decode() == "imer: error: this cannot be written to stdout: No space left on device.\n"
    assert shell(words, "| head -0; exit ${PIPESTATUS[0]}").returncode == 0


def test_ids_break_no_line_of_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting("predict") as report:
        report.table("", ["id", "prediction"], [["new\nline", "a"], ["ta\tb", "\x1b[31mred"], ["ü \udcff", "字"]])
    assert capsys.readouterr().out.splitlines() == [
        "id\tprediction", "new\\nline\ta", "ta\\tb\t\\x1b[31mred", "ü \\udcff\t字",
    ]  # fmt: skip


def test_json_is_utf8_whatever_the_names_and_the_locale(tmp_path: Path) -> None:
    store = Path(write_small_store(tmp_path / "größe.h5"))
    done = shell(["data", "inspect", store, "--json"], "", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert json.loads(done.stdout.decode("utf-8"))["status"] == "ok"
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/gone\xff.h5")
    missing = shell(["data", "inspect", odd, "--json"], "")
    assert missing.returncode == 4
    assert "gone" in json.loads(missing.stdout.decode("utf-8"))["error"]["message"]


def test_a_name_that_is_no_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BaseException), reporting("extract"):  # noqa: B017, PT011 - the exit of Typer
        ("x" * 99 + "o\udcff.h5").encode()
    assert "xo\\udcff.h5' is no UTF-8 text" in capsys.readouterr().err


@pytest.mark.parametrize(
    "failure", ["MemoryError('no')", "RuntimeError('Storage size calculation overflowed with sizes')"]
)
def test_too_little_memory_is_no_bug(failure: str) -> None:
    code = f"from imer.cli.reporting import reporting\nwith reporting('train', json=True):\n    raise {failure}\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["error"]["kind"] == "OutOfMemory"


@pytest.mark.parametrize(("name", "code"), [("SIGHUP", 129), ("SIGINT", 130), ("SIGTERM", 143)])
def test_a_scheduler_that_ends_a_command_is_told_so(name: str, code: int) -> None:
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from imer.cli.reporting import reporting\nimport typer\n"
        "try:\n"
        "    with reporting('train', json=True):\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "        signal.pause()\n"
        "except typer.Exit as end:\n"
        "    sys.exit(end.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    assert json.loads(done.stdout)["error"]["kind"] == ("Interrupted" if name == "SIGINT" else "Terminated")


@pytest.mark.parametrize(
    "failure", ["AttributeError('half an import')", "InvalidInput('f.h5 is damaged')", "OSError(5)"]
)
def test_what_fails_because_of_a_signal_is_not_the_error(failure: str) -> None:
    """A signal cuts an import short; what uses it while everything unwinds fails in another way."""
    script = (
        "import os, signal, sys\nfrom imer.cli.reporting import reporting\nfrom imer.core.errors import InvalidInput\n"
        "import typer\n"
        "try:\n"
        "    with reporting('predict', json=True):\n"
        "        try:\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "            signal.pause()\n"
        "        finally:\n"
        f"            raise {failure}\n"
        "except typer.Exit as end:\n"
        "    sys.exit(end.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 143
    assert json.loads(done.stdout)["error"] == {
        "kind": "Terminated", "message": "terminated; the same command starts again.",
    }  # fmt: skip


def test_work_outlives_a_stderr_that_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("utterance_id,text\nu1,hello\nu2,\n")
    words = ["extract", tmp_path / "m.csv", "-o", tmp_path / "f.h5", "--workers", 1]
    done = shell(words, "2>/dev/full")
    assert done.returncode == 0
    assert b"minilm" in done.stdout
    assert (tmp_path / "f.h5").is_file()


def test_closed_streams_swallow_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("utterance_id,text\nu1,hello\nu2,\n")
    done = shell(["extract", tmp_path / "m.csv", "-o", tmp_path / "f.h5", "--workers", 1], "<&- >&- 2>&-")
    assert done.returncode == 0
    assert not (tmp_path / "errors.jsonl").exists()
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.vectors("text")[1].tolist() == [True, False]


def test_a_command_that_outlives_its_terminal_goes_on() -> None:
    script = (
        "import os, signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\nfrom imer.cli.reporting import reporting\n"
        "with reporting('train'):\n    os.kill(os.getpid(), signal.SIGHUP)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_variable_that_is_no_setting_is_named(imer: Callable, tmp_path: Path) -> None:
    done = imer("train", tmp_path / "gone.h5", "-o", tmp_path / "run", IMER_TRIAN_SEED="3", IMER_TRAIN_SEED="4")
    assert done.code == 4
    assert "IMER_TRIAN_SEED is no setting" in done.err
    assert "IMER_TRAIN_SEED is no setting" not in done.err


def test_a_seed_that_no_file_can_hold(imer: Callable, tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "f.h5")
    done = imer("mask", store, "-o", tmp_path / "m.h5", "--missing-rate", "0.3", "--seed", "9" * 23)
    assert done.code == 2
    assert "--seed lies in 0" in done.err


def test_an_error_code_is_explained(imer: Callable) -> None:
    done = imer("doctor", "E-TRUNCATED")
    assert done.code == 0
    assert "copy it again" in done.out
    assert imer("doctor", "E-CRASH", "--json").json["error_code"]["retryable"] is True
    done = imer("doctor", "E-NOSTREAM")
    assert done.code == 2
    assert "is no error but a verdict" in done.err


def test_a_narrow_terminal_cuts_nothing_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    columns, values = [f"observed modality {i}" for i in range(6)], [f"0.123{i}" for i in range(6)]
    _print_rich([("one line", columns, [values])])
    upright = capsys.readouterr().out
    assert all(f"{column} │ {value}" in upright for column, value in zip(columns, values, strict=True))
    _print_rich([("two lines", columns, [values, values])])
    folded = capsys.readouterr().out
    assert "…" not in folded
    assert all(folded.count(value) == 2 for value in values)


def test_a_terminal_without_some_character_gets_its_number(imer: Imer) -> None:
    done = imer("extract", "--help", PYTHONIOENCODING="latin-1")
    assert done.code == 0, done.err
    assert "Usage" in done.out


def test_a_name_that_is_no_utf8_can_be_logged(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    done = shell(["data", "inspect", os.fsdecode(b"caf\xe9.h5"), "--log-file", log, "--json"], "")
    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout)["error"]["kind"] == "InvalidInput"
    assert r"caf\udce9.h5" in log.read_text()
    assert json.loads(log.read_text().splitlines()[0])["message"] == "started"


def test_a_run_cannot_lie_where_libraries_cannot_go(imer: Imer, tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "f.h5")
    out = os.fsdecode(os.fsencode(tmp_path) + b"/d\xe9r")
    done = imer("train", store, "-o", out, "--label", "emotion")
    assert (done.code, "is not valid UTF-8; choose another name" in done.err) == (2, True)
