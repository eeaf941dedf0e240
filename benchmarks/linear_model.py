"""What fitting `linear` costs by the number of utterances: memory, and CPU seconds of all its penalties, one thread.

    python benchmarks/linear_model.py [--utterances 10000] [--widths 400,600,300] [--task regression|classification]

Features and labels are random, in as many modalities as there are widths; each of eight draws of masks hides some.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator

import torch

from imer.batches.batch import Batch
from imer.models.base import ModelSpec
from imer.models.baselines.linear import LinearModel, LinearModelSettings

CLASSES, DIALOGUE = 4, 128  # utterances of a dialogue


def batches(features: dict[str, torch.Tensor], target_N: torch.Tensor, draws: int) -> Iterator[Batch]:
    """Yield dialogues under one draw of masks after the other."""
    n, n_modalities = len(target_N), len(features)
    for draw in range(draws):
        drawn = torch.Generator().manual_seed(draw)
        observed_NM = torch.rand(n, n_modalities, generator=drawn) >= 0.7 * torch.rand(n, 1, generator=drawn)
        for part in torch.arange(n).split(DIALOGUE):
            yield Batch(
                features={name: values[part][None] for name, values in features.items()},
                observed_BUM=observed_NM[part][None],
                valid_BU=torch.ones(1, len(part), dtype=torch.bool),
                target_BU=target_N[part][None],
                row_BU=part[None],
                speaker_BU=torch.zeros(1, len(part), dtype=torch.int64),
            )


def main() -> None:
    """Fit all penalties and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=10_000)
    parser.add_argument("--widths", default="400,600,300")
    parser.add_argument("--task", choices=("regression", "classification"), default="classification")
    choice = parser.parse_args()
    torch.set_num_threads(1)
    drawn = torch.Generator().manual_seed(0)
    widths = {f"modality{i}": int(width) for i, width in enumerate(choice.widths.split(","))}
    features = {name: torch.randn(choice.utterances, width, generator=drawn) for name, width in widths.items()}
    value_N = sum(values[:, :5].sum(dim=1) for values in features.values()) + torch.randn(choice.utterances)
    target_N = value_N
    if choice.task == "classification":
        target_N = torch.bucketize(value_N, value_N.quantile(torch.arange(1, CLASSES) / CLASSES))
    n_outputs = 1 if choice.task == "regression" else CLASSES
    model = LinearModel(ModelSpec(widths, choice.task, n_outputs), LinearModelSettings())
    before, started = _peak_mib(), time.process_time()
    collected = model.collect(batches(features, target_N, model.mask_draws))
    print(f"features {before} MiB; collected after {time.process_time() - started:.1f} CPU s, {_peak_mib()} MiB")
    for candidate in range(model.candidates):
        figures = model.fit(collected, candidate)
        print(f"l2 {figures['l2']:g}: {time.process_time() - started:.1f} CPU s, {_peak_mib()} MiB at most")


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    main()
