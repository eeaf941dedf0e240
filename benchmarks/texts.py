"""How many texts a second a sentence model encodes: one by one, and as `imer extract` does it.

    python benchmarks/texts.py MANIFEST.csv [--texts 4096] [--sentence-model FOLDER] [--json FILE]

One process, one thread, the model loaded. Compares every value, bit for bit, and names the lengths in tokens that were
not batched because a batch would have given other bits.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path


def measure(texts: list[str], model_folder: str | None) -> dict[str, object]:
    """Return CPU milliseconds a text, alone and in batches, and what the comparison found."""
    import numpy as np
    import torch

    from imer.core.types import Utterance
    from imer.extraction.plan import TextTask, plan_tasks
    from imer.extractors.base import Extracted
    from imer.extractors.sentence import MiniLM, SentenceModel

    model = MiniLM() if model_folder is None else SentenceModel(sentence_model=model_folder)
    model.load("cpu")
    torch.set_num_threads(1)
    for text in texts[:20]:
        model.extract(text)
    rows = [Utterance(str(i), str(i), 0, i, text=text) for i, text in enumerate(texts)]
    tasks = [task for task in plan_tasks(rows, ["text"], lambda row, modality: True) if isinstance(task, TextTask)]
    found: dict[int, Extracted] = {}
    started = time.process_time()
    for task in tasks:
        found.update(zip(task.rows, model.extract_all(task.texts), strict=True))
    together_s = time.process_time() - started
    started = time.process_time()
    alone = [model.extract(text) for text in texts]
    alone_s = time.process_time() - started
    pairs = [(alone[i].values_TD, found[i].values_TD) for i in range(len(texts))]
    same = sum(a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs)
    return {
        "texts": len(texts), "alone_ms": round(alone_s / len(texts) * 1e3, 2),
        "together_ms": round(together_s / len(texts) * 1e3, 2), "factor": round(alone_s / together_s, 2),
        "same_bits": same, "lengths_tried": len(model.batches.exact),
        "lengths_left_alone": sorted(length for length, exact in model.batches.exact.items() if not exact),
        "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--texts", type=int, default=4096, help="so many different ones, drawn at random")
    parser.add_argument("--sentence-model", help="a model folder; default: MiniLM")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    from imer.media.manifest import read_manifest

    texts = sorted({u.text for u in read_manifest(given.manifest).utterances if u.text and u.text.strip()})
    random.Random(0).shuffle(texts)
    figures = measure(texts[: given.texts], given.sentence_model)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
