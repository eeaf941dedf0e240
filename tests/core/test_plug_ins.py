"""The package of `docs/plug-ins.md`, word for word, goes through the whole chain."""

from __future__ import annotations

import csv
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "plug-ins.md"
FAST = ("--max-epochs", "40", "--set", "train.learning_rate=0.03", "--set", "train.average_epochs=0")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the package as pip leaves it, in a folder on the path."""
    project = tomllib.loads(block("toml"))["project"]
    folder = tmp_path / "site"
    about = folder / "my_emotions-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups]
    (about / "entry_points.txt").write_text("\n".join(lines))
    (folder / "my_emotions.py").write_text(block("python"), "utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return folder


def test_the_package_of_the_page_extracts_trains_exports_and_predicts(
    site: Path, tmp_path: Path, imer: Callable
) -> None:
    with open(tmp_path / "m.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["utterance_id", "text", "dialogue_id", "split", "emotion"])
        for i in range(24):
            words = "no " * (1 + i % 3) if i % 2 else "certainly wonderful " * (2 + i % 3)
            table.writerow(
                [f"u{i}", words, f"d{i // 2}", ("train", "train", "val", "test")[i // 6], ("sad", "glad")[i % 2]]
            )
    commands = [
        ("extract", "m.csv", "-o", "f.h5", "--text", "word-counts", "--audio", "none", "--visual", "none"),
        ("train", "f.h5", "-o", "run", "--model", "mean-mlp", "--set", "model.width=8", *FAST),
        ("eval", "run", "--pattern", "all"),
        ("export", "run", "-o", "model.onnx", "--format", "onnx"),
        ("export", "run", "-o", "bundle"),
        ("predict", "bundle", "m.csv", "-o", "answers.csv"),
    ]
    for command in commands:
        done = imer(*command, cwd=tmp_path)
        assert done.code == 0, (command, done.err)
    with open(tmp_path / "answers.csv", newline="") as file:
        answers = [row["emotion"] for row in csv.DictReader(file)]
    assert answers == ["sad", "glad"] * 12
