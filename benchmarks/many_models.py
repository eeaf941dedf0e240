"""Does it pay to train many small models as one? K seeds of ComP, one by one or stacked by `vmap`.

    python benchmarks/many_models.py STORE [--label sentiment] [--folds COLUMN] [--models 5] [--epochs 5] [--processes N]
                                     [--set key=value] [--json FILE]

The first four take the same steps of the last stage: batches, masks per model, loss, gradient, clipping, AdamW, running
mean of the weights; one thread a process. `vmap` cannot take the gradient regulator nor packed batches, so these are off
for all four; nor autograd functions and dropout of our own, so for it alone PyTorch's take their place. Stacked models
are also given one order of batches, which separate runs do not have, and none stops early. So what `vmap` gains here is
about the most that it could gain. The last two lines are the training loop as it is, with packed batches.

One run measures all in turn, so that a busy machine slows them alike; CPU seconds are those of all processes together,
without their start and first steps.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from imer.batches.batch import Batch
from imer.core.machine import usable_cores
from imer.core.processes import ONE_THREAD, environment
from imer.models.dropout import Dropout
from imer.training.data import divide, read_corpus
from imer.training.loop import FoldTrainer
from imer.training.masks import Masks
from imer.training.optimiser import SHORTEST_MEMORY, Optimiser, parameter_groups
from imer.training.settings import Settings
from imer.training.settings_layers import load_settings

WARM_UP = 3  # steps that are not counted: PyTorch imports more when it is first used
DEVICE = torch.device("cpu")
BARE = ("model.regulator=off",)


@dataclass(frozen=True)
class Cost:
    """What one way of training costs, per step of one model."""

    name: str
    steps: int
    cpu_s: float
    wall_s: float

    @property
    def per_cpu_s(self) -> float:
        return self.steps / self.cpu_s

    @property
    def per_wall_s(self) -> float:
        return self.steps / self.wall_s


class Bench:
    """The data, and the trainers of some seeds at the beginning of their last stage."""

    def __init__(self, choice: argparse.Namespace, seeds: range, more: tuple[str, ...]) -> None:
        settings = [self.settings(choice, seed, more) for seed in seeds]
        corpus = read_corpus(settings[0].data, lambda message: None)
        self.trainers = []
        for one in settings:
            split = divide(corpus, one, lambda message: None)[0]
            self.trainers.append(FoldTrainer(corpus, split, one, Masks(corpus, one.train), DEVICE))
        self.stage = self.trainers[0].model.stages[-1]
        train = settings[0].train
        rows = self.trainers[0].data.train
        rng = np.random.default_rng(0)
        self.tables = [
            table
            for _ in range(choice.epochs)
            for table in rows.batches(train.batch_utterances, rng, least=train.least_dialogues)
        ]
        self.per_epoch = max(len(self.tables) // choice.epochs, 1)
        for trainer in self.trainers:
            trainer.model.train()

    @staticmethod
    def settings(choice: argparse.Namespace, seed: int, more: tuple[str, ...]) -> Settings:
        data = {"features": str(choice.store), "label": choice.label, "folds": choice.folds}
        flags = {"data": data, "train": {"seed": seed, "threads": 1}}
        return load_settings(flags=flags, assignments=[*more, *choice.set])

    def batches(self, trainer: FoldTrainer) -> list[Batch]:
        """Return the padded batches of all epochs, the seed's own masks over them."""
        found = []
        for number, table in enumerate(self.tables):
            mask = trainer.masks.training(trainer.data.split.train, "bench", number // self.per_epoch)
            found.append(trainer.data.resident.batch(table, torch.from_numpy(mask)))
        return found

    def first(self, n_steps: int) -> Bench:
        """Keep the first steps only: to warm up with."""
        self.tables = self.tables[:n_steps]
        return self

    def train(self, *, stacked: bool) -> None:
        """Take all steps of all models."""
        if stacked:
            self.stacked()
        else:
            self.one_by_one()

    def one_by_one(self) -> None:
        """Train the models one after the other."""
        for trainer in self.trainers:
            optimiser = Optimiser(trainer.model, trainer.settings.train, 100, self.per_epoch)
            for batch in self.batches(trainer):
                optimiser.step(loss_of(trainer.model, batch, self.stage))

    def stacked(self) -> None:
        """Train all models as one."""
        models = [trainer.model for trainer in self.trainers]
        parameters, buffers = stack_module_state(models)
        optimiser = StackedOptimiser(models[0], parameters, self.trainers[0].settings, self.per_epoch)
        model, stage = models[0], self.stage

        class Losses(torch.nn.Module):
            """The loss of the model as a module, which is what `functional_call` calls."""

            def __init__(self) -> None:
                super().__init__()
                self.inner = model

            def forward(self, batch: Batch, observed_BUM: Tensor) -> Tensor:
                return loss_of(self.inner, Batch(**{**vars(batch), "observed_BUM": observed_BUM}), stage)

        losses = Losses()

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch, observed: Tensor) -> Tensor:
            state = {f"inner.{name}": tensor for name, tensor in {**parameters, **buffers}.items()}
            return functional_call(losses, state, (batch, observed))

        every = list(zip(*(self.batches(trainer) for trainer in self.trainers), strict=True))
        for own in every:
            observed_KBUM = torch.stack([batch.observed_BUM for batch in own])
            loss_of_all = vmap(lambda p, b, o, batch=own[0]: one(p, b, batch, o), randomness="different")
            loss_K = loss_of_all(parameters, buffers, observed_KBUM)
            optimiser.step(loss_K)


def loss_of(model: Any, batch: Batch, stage: str) -> Tensor:
    """Return the loss of a model on a padded batch."""
    output = model(batch.features, batch.observed_BUM, batch.valid_BU, stage=stage)
    return torch.stack(list(model.losses(output, batch, stage).values())).sum()


class StackedOptimiser:
    """The same steps as `Optimiser` takes, for K models whose parameters are stacked: [K, …] each."""

    def __init__(self, model: Any, parameters: dict[str, Tensor], settings: Settings, per_epoch: int) -> None:
        self.settings, self.per_epoch, self.steps = settings.train, per_epoch, 0
        stacked = {id(own): parameters[name] for name, own in model.named_parameters()}
        groups = parameter_groups(model, settings.train)
        for group in groups:
            group["params"] = [stacked[id(own)] for own in group["params"]]
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.adam = torch.optim.AdamW(groups, lr=settings.train.learning_rate, fused=True)
        self.mean = [parameter.detach().clone() for parameter in self.parameters]

    def step(self, loss_K: Tensor) -> None:
        self.adam.zero_grad(set_to_none=True)
        loss_K.sum().backward()
        used = [p for p in self.parameters if p.grad is not None]
        square_K = torch.stack([p.grad.flatten(1).square().sum(dim=1) for p in used]).sum(dim=0)
        factor_K = (self.settings.clip_norm / (square_K.sqrt() + 1e-6)).clamp(max=1.0)
        for parameter in used:
            parameter.grad.mul_(factor_K.view(-1, *(1 for _ in parameter.shape[1:])))
        warm = min(1.0, (self.steps + 1) / max(self.settings.warmup_epochs * self.per_epoch, 1))
        for group in self.adam.param_groups:
            group["lr"] = self.settings.learning_rate * group["factor"] * warm
        self.adam.step()
        self.steps += 1
        decay = min(
            1.0 - 1.0 / (self.settings.average_epochs * self.per_epoch), self.steps / (self.steps + SHORTEST_MEMORY)
        )
        with torch.no_grad():
            torch._foreach_lerp_(self.mean, self.parameters, 1.0 - decay)


def measured(name: str, steps: int, work: Callable[[], object]) -> Cost:
    """Time some work in this process."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Cost(name, steps, time.process_time() - cpu, time.perf_counter() - wall)


def as_trained(choice: argparse.Namespace, name: str, *more: str) -> Cost:
    """Measure an epoch of the training loop itself; its validation is measured apart and taken off."""
    schedule = (f"train.max_epochs_joint={choice.epochs + 1}", f"train.patience={choice.epochs + 1}")
    bench = Bench(choice, range(1), (*more, *schedule, "train.max_epochs_branches=1"))
    trainer, marks = bench.trainers[0], []

    def mark(now: FoldTrainer) -> None:
        if now.stage == bench.stage:
            marks.append((time.process_time(), time.perf_counter()))

    trainer.run(mark)
    epoch = np.median(np.diff(marks, axis=0), axis=0)
    judged = measured("", 0, lambda: trainer.validation_metrics(bench.stage))
    return Cost(name, bench.per_epoch, float(epoch[0]) - judged.cpu_s, float(epoch[1]) - judged.wall_s)


def child(choice: argparse.Namespace, seeds: range, stacked: bool, pipe: Any) -> None:
    """Train some of the models in a process of its own, when told to."""
    torch.set_num_threads(1)
    warm, bench = (Bench(choice, seeds, BARE) for _ in range(2))
    with fit_for_vmap() if stacked else nullcontext():
        warm.first(WARM_UP).train(stacked=stacked)
        pipe.send(len(bench.tables))
        pipe.recv()
        cpu = time.process_time()
        bench.train(stacked=stacked)
        pipe.send(time.process_time() - cpu)


def in_processes(name: str, choice: argparse.Namespace, n_processes: int, *, stacked: bool) -> Cost:
    """Share the models out to processes that start together."""
    context: Any = get_context("spawn")
    workers = []
    for number in range(n_processes):
        seeds = range(number, choice.models, n_processes)
        ours, theirs = context.Pipe()
        with environment(ONE_THREAD):
            process = context.Process(target=child, args=(choice, seeds, stacked, theirs))
            process.start()
        theirs.close()
        workers.append((process, ours, len(seeds)))
    steps = sum(pipe.recv() * n for _, pipe, n in workers)
    wall = time.perf_counter()
    for _, pipe, _ in workers:
        pipe.send("go")
    cpu = sum(pipe.recv() for _, pipe, _ in workers)
    wall = time.perf_counter() - wall
    for process, _, _ in workers:
        process.join()
    return Cost(name, steps, cpu, wall)


class _Nothing:
    """Stands for the context of an autograd function; keeps nothing."""

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Nothing has to be kept: PyTorch differentiates the forward pass itself."""


@contextmanager
def fit_for_vmap() -> Iterator[None]:
    """Within, `imer`'s own autograd functions and its dropout are PyTorch's: `vmap` cannot see through others."""
    own = [kind for kind in torch.autograd.Function.__subclasses__() if kind.__module__.startswith("imer.")]
    for kind in own:
        kind.apply = staticmethod(lambda *given, kind=kind: kind.forward(_Nothing(), *given))
    before = Dropout.forward
    Dropout.forward = lambda self, x: functional.dropout(x, self.probability, self.training)  # type: ignore[method-assign]
    try:
        yield
    finally:
        Dropout.forward = before  # type: ignore[method-assign]
        for kind in own:
            del kind.apply


def main() -> int:
    """Measure, print a table, and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--label", default="")
    parser.add_argument("--folds", default="")
    parser.add_argument("--models", type=int, default=5, help="seeds that are trained (default: 5)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--processes", type=int, default=usable_cores(), help="default: one a core")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    choice = parser.parse_args()
    torch.set_num_threads(1)
    several = max(min(choice.processes, choice.models), 1)
    costs = [
        in_processes(name, choice, n, stacked=stacked)
        for name, n, stacked in (
            ("one after the other", 1, False),
            ("stacked by vmap", 1, True),
            (f"{several} processes", several, False),
            (f"{several} processes, stacked", several, True),
        )
    ]
    costs.append(as_trained(choice, "imer's loop, the same off", *BARE))
    costs.append(as_trained(choice, "imer's loop, everything on"))
    one = costs[0]
    print(f"{'':28}{'ms CPU / step':>14}{'steps / CPU s':>15}{'steps / s':>12}{'per CPU s':>11}{'per s':>8}")
    for cost in costs:
        ratios = f"{cost.per_cpu_s / one.per_cpu_s:10.2f}×{cost.per_wall_s / one.per_wall_s:7.2f}×"
        print(f"{cost.name:28}{1000 / cost.per_cpu_s:14.2f}{cost.per_cpu_s:15.1f}{cost.per_wall_s:12.1f}{ratios}")
    if choice.json:
        choice.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
