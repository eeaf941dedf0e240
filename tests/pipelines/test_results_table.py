"""The results table from a folder of small corpora: made, kept, repaired, and honest about what failed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "pipelines" / "results_table.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus that is laid out like the real one: 12 dialogues of 4 utterances in 3 folds."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "mosi_clean").mkdir()
    rng = np.random.default_rng(0)
    sentiment_N = rng.uniform(-3, 3, 48)
    rows = ["utterance_id,dialogue_id,position,speaker,fold,sentiment"]
    rows += [f"u{i:02d},d{i // 4:02d},{i % 4},s{i // 4:02d},{i // 4 % 3},{sentiment_N[i]:.2f}" for i in range(48)]
    (folder / "mosi_clean" / "manifest.csv").write_text("\n".join(rows) + "\n")
    for file, width in (("audio.npy", 3), ("text_minilm.npy", 4), ("visual.npy", 2)):
        signal_ND = sentiment_N[:, None] + rng.normal(0, 2, (48, width))
        np.save(folder / "mosi_clean" / file, signal_ND.astype(np.float32))
    return folder


def table(data: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = ["--corpora", "mosi_clean", "--methods", "majority,linear", "--seeds", "1", "--mask-seeds", "1", *more]
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(data), str(out), *arguments],
        capture_output=True, text=True, check=False, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_made_once_then_kept_and_a_cell_that_fails_costs_itself_alone(data: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "out", tmp_path / "results.md"
    blocked = out / "runs" / "mosi_clean" / "linear" / "mixed" / "seed0"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    first = table(data, out)
    assert first.returncode == 3, first.stderr
    assert re.search(r"linear/mixed/seed0: FAILED with exit code 6: .*is a file", first.stderr)
    assert "| majority | 1 |" in (out / "table.md").read_text()
    blocked.unlink()
    second = table(data, out, "--page", str(page), "--note", "Made on a Monday.")
    assert second.returncode == 0, second.stderr
    assert "2 cells, 1 finished, 1 to do" in second.stderr
    text = page.read_text()
    assert "| linear | 1 |" in text
    assert "reference" in text
    assert r"\begin{tabular}" in (out / "table.tex").read_text()
    assert re.search(r"^- commit: [0-9a-f]{40}", text, re.MULTILINE)
    assert "- command: `pipelines/results_table.py DATA OUT --corpora" in text
    assert str(tmp_path) not in text
    assert re.search(r"utterances\)\. Made on a Monday\.$", text, re.MULTILINE)
    assert "--note" not in text
    assert "(results_mosi_clean.png)" in text
    assert (tmp_path / "results_mosi_clean.png").stat().st_size > 10_000
    config = out / "runs" / "mosi_clean" / "majority" / "mixed" / "seed0" / "config.toml"
    config.write_text(config.read_text().replace("patience = ", "patience = 1"))
    third = table(data, out, "--dry-run", "--corpora", "mosi_clean")
    assert third.stdout.split() == ["mosi_clean/majority/mixed/seed0"]  # other settings than today's


def test_a_corpus_that_is_not_there_is_reported(data: Path, tmp_path: Path) -> None:
    done = table(data, tmp_path / "out", "--corpora", "meld")
    assert done.returncode == 3
    assert "meld" in done.stderr
    assert "2 cells failed" in done.stderr
