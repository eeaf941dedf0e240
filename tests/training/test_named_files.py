"""The settings file of a run means the files of that run, and says so where they have changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imer.core.errors import InvalidInput
from imer.masks.make import make_mask
from imer.store.reader import FeatureStore
from imer.training.listener import Listener
from imer.training.origin import Origin
from imer.training.train import train
from tests.stores import write_small_store

FITTED = {"run": {"model": "majority"}}


def _write_mask(store: str, path: str, rate: float) -> None:
    with FeatureStore.open(Path(store)) as opened:
        make_mask(opened, "exact", rate=rate).write(Path(path), overwrite=True)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store and a mask under relative names, and a run that was trained on them from there."""
    lab = tmp_path / "lab"
    lab.mkdir()
    monkeypatch.chdir(lab)
    write_small_store(Path("f.h5"))
    _write_mask("f.h5", "m.h5", 0.3)
    train(Path("f.h5"), Path("run"), flags={**FITTED, "train": {"protocol": "table", "mask": "m.h5"}})
    return lab


def _again(lab: Path, out: str, features: Path | None = None, **train_flags: str) -> tuple[Origin, list[str]]:
    said: list[str] = []
    flags = {"train": train_flags} if train_flags else {}
    train(features, Path(out), config=lab / "run" / "config.toml", flags=flags, listener=Listener(warn=said.append))
    return Origin.read(Path(out)), said


def test_from_anywhere_else(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    write_small_store(Path("f.h5"), seed=1)  # of the same name, but not meant
    _write_mask("f.h5", "m.h5", 0.1)
    origin, said = _again(lab, "again")
    assert origin == Origin.read(lab / "run")
    assert not [sentence for sentence in said if "changed" in sentence]
    assert json.loads(Path("again/metrics.json").read_text()) == json.loads((lab / "run/metrics.json").read_text())


def test_what_is_named_now_counts(lab: Path) -> None:
    write_small_store(Path("g.h5"), seed=1)
    _write_mask("g.h5", "n.h5", 0.1)
    origin, _ = _again(lab, "other", Path("g.h5"), mask="n.h5")
    assert (Path(origin.features).name, Path(origin.mask).name) == ("g.h5", "n.h5")


def test_what_has_changed_is_said(lab: Path) -> None:
    write_small_store(Path("f.h5"), seed=1)
    _write_mask("f.h5", "m.h5", 0.1)
    _, said = _again(lab, "again")
    assert [sentence.split(" is not the ")[1].split()[0] for sentence in said if "content has changed" in sentence] == [
        "store",
        "mask",
    ]


def test_what_is_gone_is_named(lab: Path) -> None:
    Path("m.h5").unlink()
    with pytest.raises(InvalidInput, match=r"The mask m\.h5, which .*config\.toml names, does not exist"):
        _again(lab, "again")


def test_a_run_is_not_continued_under_another_mask(lab: Path) -> None:
    _write_mask("f.h5", "m.h5", 0.1)
    flags = {**FITTED, "train": {"protocol": "table", "mask": "m.h5"}}
    with pytest.raises(InvalidInput, match=r"m\.h5 is not the mask that run was started with"):
        train(Path("f.h5"), Path("run"), flags=flags, resume=True)
