"""What a first user stumbled over: lost inputs, runs that were left alone, streams, and lines that cannot be read."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.stores import write_small_store
from tests.training.small import quick


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("spared") / "small.h5", n_dialogues=6)


@pytest.fixture(scope="module")
def run(store: Path) -> Path:
    quick(store, out := store.parent / "run")
    return out


def test_an_input_is_never_the_output(imer: Callable, store: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("utterance_id,text\na,hello\n")
    np.save(tmp_path / "a.npy", np.ones((1, 3)))
    shard = tmp_path / "shard.h5"
    assert imer("extract", manifest, "-o", shard, "--audio", "none", "--visual", "none", "--shard", "1/1").code == 0
    commands = {
        shard: [("data", "merge", shard)],
        manifest: [
            ("extract", manifest, "--audio", "none", "--visual", "none"),
            ("data", "import", "arrays", "--manifest", manifest, "--features", f"audio={tmp_path / 'a.npy'}"),
        ],
        store: [("mask", store, "--missing-rate", "0.3")],
    }
    for path, asked in commands.items():
        before = path.read_bytes()
        for command in asked:
            done = imer(*command, "-o", path, "--overwrite")
            assert done.code == 2, done.err
            assert f"{path} is an input of this command" in done.err
            assert path.read_bytes() == before


def test_a_log_spoils_no_other_file(imer: Callable, store: Path, tmp_path: Path) -> None:
    """What is appended to a store, and what is cut off its end for that, would be the end of it."""
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"utterance_id": "a"}\n')
    for path in (store, manifest):
        before = path.read_bytes()
        done = imer("mask", store, "-o", tmp_path / "m.h5", "--missing-rate", "0.3", "--log-file", path, "--json")
        assert (done.code, done.json["error"]["kind"]) == (2, "UsageError")
        assert f"--log-file {path} is there and is no log of imer" in done.err
        assert path.read_bytes() == before
    done = imer("ls", "models", "--log-file", "-", "--json", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (done.code, done.json["error"]["kind"]) == (2, "UsageError")
    assert done.json["error"]["message"] == "--log-file - : the log is a file and no stream; give it a name."
    assert not (tmp_path / "-").exists()
    log = tmp_path / "log.jsonl"
    log.write_text('{"ti')  # as a kill leaves it
    for code in (0, 6):
        assert imer("mask", store, "-o", tmp_path / "m.h5", "--missing-rate", "0.3", "--log-file", log).code == code
    assert [json.loads(line)["message"] for line in log.read_text().splitlines()][:3] == ["started", "ended", "started"]


def test_a_log_that_becomes_the_output_is_written_no_more(imer: Callable, store: Path, tmp_path: Path) -> None:
    mask = tmp_path / "m.h5"
    done = imer("mask", store, "-o", mask, "--missing-rate", "0.3", "--overwrite", "--log-file", mask)
    assert done.code == 0
    assert "has become something else; nothing more is logged" in done.err
    assert imer("data", "verify", mask).code == 0


def test_a_message_is_one_line_whatever_a_name_holds(imer: Callable, tmp_path: Path) -> None:
    done = imer("data", "verify", tmp_path / "a\nb\x1b[31m.h5")
    assert done.code == 4
    assert done.err.count("\n") == 1
    assert r"a\nb\x1b[31m.h5" in done.err


def test_a_circle_of_links_is_followed_by_nobody(imer: Callable, store: Path, tmp_path: Path) -> None:
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "ok.wav").write_bytes(b"media")
    (tmp_path / "known.csv").write_text("file,emotion\nok.wav,calm\nloop.wav,joy\n")
    listed = ("data", "manifest", "ok.wav", "-o", "m.csv", "--labels", "known.csv")
    done = imer(*listed, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "1 row of known.csv names no clip that was given (loop.wav)" in done.err
    assert imer("data", "manifest", "ok.wav", "-o", "loop", cwd=tmp_path).code in (0, 4)
    done = imer("data", "export", "csv", store, "-o", "loop.wav", cwd=tmp_path)
    assert done.code in (0, 4), done.err


def test_a_run_finds_its_store_from_anywhere(
    imer: Callable, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store.parent)
    quick(Path(store.name), tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    done = imer("eval", "../run", "--mask-seeds", "1", "-o", "ev", cwd=tmp_path / "elsewhere")
    assert done.code == 0, done.err


def test_others_may_read_what_was_trained(run: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (run / "checkpoint").iterdir()}
    assert modes["model.safetensors"] == modes["scaler.safetensors"] == modes["checkpoint.json"]


def test_predictions_can_be_streamed(imer: Callable, run: Path, store: Path, tmp_path: Path) -> None:
    done = imer("predict", run, store, "-o", "-", cwd=tmp_path)
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in done.out.splitlines()]
    imer("predict", run, store, "-o", tmp_path / "p.jsonl")
    assert lines == [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert not (tmp_path / "-").exists()
    assert imer("predict", run, store, "-o", "-", "--json", cwd=tmp_path).code == 2
    assert "give it a name" in imer("mask", store, "--missing-rate", "0.3", "-o", "-", cwd=tmp_path).err


@pytest.mark.parametrize("words", [("--bogus",), ("--seed", "x"), ()])
def test_a_line_that_cannot_be_read_is_an_error_like_any_other(imer: Callable, words: tuple[str, ...]) -> None:
    done = imer("mask", *(("f.h5",) if words else ()), *words, "--json")
    assert done.code == 2
    assert done.err.startswith("imer mask: error: ")
    assert len(done.err.splitlines()) == 1
    assert done.json["error"]["kind"] == "UsageError"
    assert done.json["schema"] == "imer.mask/1"


def test_without_words_the_help_is_shown(imer: Callable) -> None:
    done = imer()
    assert done.code == 2
    assert "Usage" in done.out + done.err
    assert imer("--help").code == 0
    assert imer("nothing-of-the-kind").code == 2
