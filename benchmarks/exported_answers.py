"""What a shipped model takes to answer: the bundle, ONNX Runtime and `torch.export`, on a CPU with one thread.

    python benchmarks/exported_answers.py RUN_DIR STORE [--dialogues 1,8,32] [--json FILE]

RUN_DIR is exported in both file formats. All then answer every utterance of STORE, with everything observed that is there: the
files by so many dialogues a call, of like length and padded to the longest of them, and the model of RUN_DIR as
`imer predict` asks it, which chooses its own batches and works on no padding. Answers per CPU second, of all utterances.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from imer.batches.corpus import Corpus
from imer.batches.dialogues import Dialogues
from imer.export.chosen import choose_fold
from imer.export.publish import export
from imer.store.reader import FeatureStore
from imer.training.run_folder import RunFolder

LEAST_S = 2.0  # CPU seconds that are measured
Feed = dict[str, np.ndarray]


def feeds(corpus: Corpus, dialogues: int) -> list[Feed]:
    """Return what an exported file is asked, call by call."""
    found = []
    for row_BU in Dialogues.of(corpus, np.arange(corpus.n)).batches(1, dialogues=dialogues):
        valid_BU, at_BU = row_BU >= 0, np.maximum(row_BU, 0)
        features = {name: values[at_BU].astype(np.float32) for name, values in corpus.features.items()}
        found.append({**features, "observed": corpus.present_NM[at_BU] & valid_BU[..., None], "valid": valid_BU})
    return found


def per_cpu_s(n: int, ask: Callable[[], object]) -> float:
    """Return how many of n utterances are answered in a CPU second."""
    ask()
    started, rounds = time.process_time(), 0
    while time.process_time() - started < LEAST_S:
        ask()
        rounds += 1
    return n * rounds / (time.process_time() - started)


def ask_all(answer: Callable[[Feed], object], calls: list[Feed]) -> None:
    """Ask for every call's answers, one call after the other."""
    for feed in calls:
        answer(feed)


def onnx(path: Path) -> Callable[[Feed], object]:
    """Open an ONNX file with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)


def program(path: Path) -> Callable[[Feed], object]:
    """Open a program of `torch.export`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        loaded = torch.export.load(path).module()

    def run(feed: Feed) -> object:
        with torch.inference_mode():
            return loaded(*map(torch.from_numpy, feed.values()))

    return run


def main() -> None:
    """Measure, print a line for each, and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--dialogues", default="1,8,32")
    parser.add_argument("--json", type=Path)
    choice = parser.parse_args()
    torch.set_num_threads(1)
    fold = choose_fold(RunFolder.open(choice.run).folds, None)
    with FeatureStore.open(choice.store) as store:
        corpus = Corpus.from_store(store, label=fold.label, modalities=list(fold.modalities))
    rows = np.arange(corpus.n)
    found = {"imer predict": per_cpu_s(corpus.n, lambda: fold.predict(corpus, rows, corpus.present_NM))}
    with tempfile.TemporaryDirectory() as folder:
        for format, name, opened in (("onnx", "model.onnx", onnx), ("torch-export", "model.pt2", program)):
            path = Path(folder) / name
            export(choice.run, path, format)
            answer = opened(path)
            for dialogues in map(int, choice.dialogues.split(",")):
                calls = feeds(corpus, dialogues)
                found[f"{format}, {dialogues} dialogues a call"] = per_cpu_s(corpus.n, partial(ask_all, answer, calls))
    print(f"{corpus.n} utterances of {len(set(corpus.dialogue_ids.tolist()))} dialogues, one thread")
    for what, answers in found.items():
        print(f"{what:<34} {answers:>10,.0f} answers per CPU second")
    if choice.json:
        choice.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
