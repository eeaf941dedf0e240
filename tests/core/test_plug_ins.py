"""The package of `docs/plug-ins.md`, word for word, goes through the whole chain."""

from __future__ import annotations

import csv
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from imer.core.json_lines import read_json_lines
from imer.store.reader import FeatureStore
from tests.stores import write_small_store

PAGE = Path(__file__).parents[2] / "docs" / "plug-ins.md"
FAST = ("--max-epochs", "40", "--set", "train.learning_rate=0.03", "--set", "train.average_epochs=0")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return found


# What somebody who writes a plug-in does first: broken in its beginning, in its middle, and where imer looks at it.
BROKEN = """
from torch import nn
from imer.core.errors import InvalidInput
from imer.core.types import FeatureSpec
from my_emotions import MeanMlp, MeanMlpSettings, WordCounts, finite, np

class Odd(MeanMlp):
    def __init__(self, spec, settings):
        raise ValueError("the width is odd")

class Narrow(MeanMlp):
    def forward(self, features, observed_BUM, valid_BU, *, stage=None):
        return self.answer(next(iter(features.values())))

class Careless(MeanMlp):
    def losses(self, output, batch, stage):
        return {}

class Bare(nn.Module):
    pass

class Lost(WordCounts):
    def __init__(self):
        open("/no/such/weights")

class Strict(WordCounts):
    def __init__(self, language):
        pass

class Heavy(WordCounts):
    def load(self, device):
        open("/no/such/model")

class Unsure(WordCounts):
    @property
    def spec(self):
        return self.chosen

class Unpaid(InvalidInput):
    pass

class Dear(WordCounts):
    def load(self, device):
        raise Unpaid("The licence of Dear has ended.")

class Wide(WordCounts):
    def extract(self, text):
        if text == "nothing":
            return None
        return finite(np.ones((1, 3 if text == "wide" else 2)), "wide")
"""
OF_EXTRACTORS = ("Lost", "Heavy", "Strict", "Unsure", "Dear", "Wide")
FAULTS = {
    "Odd": r"The model Odd of the plug-in broken fails in broken\.py, line 9 \(ValueError: the width is odd\)",
    "Narrow": r"The plug-in broken fails in broken\.py, line 13 \(RuntimeError: mat1 and mat2 shapes cannot be",
    "Careless": r"The model Careless of the plug-in broken fails \(RuntimeError: ",
    "Bare": r"The model Bare of the plug-in broken fails \(AttributeError: .* no attribute 'Settings'\)",
    "Typo": r"The model Typo of the plug-in typo fails \(SyntaxError: .*typo\.py, line 1\)",
    "Lost": r"The extractor Lost of the plug-in broken fails in broken\.py, line 24 \(FileNotFoundError: .*weights",
    "Heavy": r"The extractor Heavy of the plug-in broken fails in broken\.py, line 32 \(FileNotFoundError: .*model",
    "Strict": r"The extractor Strict of the plug-in broken fails \(TypeError: .* argument: 'language'\)",
    "Unsure": r"The extractor Unsure of the plug-in broken fails in broken\.py, line 37 \(AttributeError: .* 'chosen'\)",
    "Dear": r"The licence of Dear has ended\.",
}


@pytest.fixture
def broken(site: Path) -> Path:
    """Install a package beside it that uses it, wrongly."""
    about = site / "broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    models = "".join(f"{name} = broken:{name}\n" for name in ("Odd", "Narrow", "Careless", "Bare"))
    extractors = "".join(f"{name} = broken:{name}\n" for name in OF_EXTRACTORS)
    text = f"[imer.models]\n{models}Typo = typo:Typo\n[imer.extractors]\n{extractors}"
    (about / "entry_points.txt").write_text(text)
    (site / "broken.py").write_text(BROKEN)
    (site / "typo.py").write_text("class Typo(:")
    return site


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


@pytest.mark.parametrize("name", FAULTS)
def test_a_plug_in_that_fails_is_named(broken: Path, tmp_path: Path, imer: Callable, name: str) -> None:
    if name in OF_EXTRACTORS:
        (tmp_path / "m.csv").write_text("utterance_id,text\na,hello\n")
        command = ("extract", "m.csv", "-o", "f.h5", "--text", name, "--audio", "none", "--visual", "none")
    else:
        write_small_store(tmp_path / "f.h5")
        command = ("train", "f.h5", "-o", "run", "--model", name)
    done = imer(*command, cwd=tmp_path)
    assert done.code == 5, done.err
    assert re.search(f"error: {FAULTS[name]}", done.err), done.err


def test_a_result_that_is_not_what_a_plug_in_promised_costs_that_utterance(
    broken: Path, tmp_path: Path, imer: Callable
) -> None:
    (tmp_path / "m.csv").write_text("utterance_id,text\na,hello\nb,wide\nc,nothing\nd,you\n")
    done = imer("extract", "m.csv", "-o", "f.h5", "--text", "Wide", "--audio", "none", "--visual", "none", cwd=tmp_path)
    assert done.code == 3, done.err
    assert {line["utterance_id"]: line["message"] for line in read_json_lines(tmp_path / "errors.jsonl")} == {
        "b": "the extractor word-counts gave values of shape (1, 3), and not (1, 2) as its spec says.",
        "c": "the extractor word-counts gave a NoneType, which is no Extracted.",
    }
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.vectors("text")[1].tolist() == [True, False, False, True]


def test_a_plug_in_that_fails_in_another_process_is_named(broken: Path, tmp_path: Path, imer: Callable) -> None:
    store = write_small_store(tmp_path / "f.h5")
    done = imer("train", store, "-o", tmp_path / "run", "--model", "Narrow", "--folds", "2", "--jobs", "2")
    assert done.code == 5, done.err
    assert re.search(f"error: {FAULTS['Narrow']}", done.err), done.err


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
