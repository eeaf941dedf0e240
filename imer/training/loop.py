"""The training loop of one model of a fold: stages, epochs, validation, early stopping.

Selection looks at the validation part only. A branch stage keeps, per modality, the state of its own best epoch; the
joint stage starts from these and keeps the best joint state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imer.batches.batch import Batch
from imer.batches.corpus import Corpus
from imer.batches.splits import Split
from imer.core.errors import UsageError
from imer.core.registry import answering
from imer.core.seeding import derived_seed, generator, member_part
from imer.metrics.compute import SELECTION_METRIC, Metrics, mean_metrics, metrics_of, selection_score
from imer.metrics.weights import mean_weights
from imer.models.products import reduced_products
from imer.training.build import build_model
from imer.training.fold_data import VALIDATION_BATCH, FoldData, SharedData
from imer.training.gradients import gradient_shares
from imer.training.inference import answer, gather, run
from imer.training.masks import FixedMask, Masks
from imer.training.optimiser import Optimiser
from imer.training.progress import Best, Progress
from imer.training.selection import TEST_BEST, epoch_score, selecting_metric
from imer.training.settings import Settings


class FoldTrainer:
    """Trains one model of a fold from wherever its `progress` stands.

    `member` is its number in the fold's ensemble, `shared` what all its members have in common. By default it is alone.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: Split,
        settings: Settings,
        masks: Masks,
        device: torch.device,
        *,
        member: int = 0,
        shared: SharedData | None = None,
    ) -> None:
        self.settings, self.masks, self.device = settings, masks, device
        shared = shared or SharedData.of(corpus, split.train, split.name, masks, settings, device)
        self.spec, self.once_NM = shared.spec, shared.once_NM
        self.data = FoldData.of(corpus, split, shared, masks, settings)
        self.seed_parts = (settings.train.seed, split.name, *member_part(member))
        self.mask_name = "/".join((split.name, *member_part(member)))
        self.model: Any = build_model(self.spec, settings, seed_parts=self.seed_parts).to(device)
        self.progress = Progress()
        self.optimiser: Optimiser | None = None
        self._collected: Any = None  # what a model that is fitted needs of all batches

    @property
    def stage(self) -> str:
        return self.model.stages[self.progress.stage]

    @property
    def branch_stages(self) -> tuple[str, ...]:
        """Stages that train the branches alone; a model that says nothing of them has none."""
        return tuple(getattr(self.model, "branch_stages", ()))

    @property
    def candidates(self) -> int:
        """Solutions that a fitted model offers; 0 for one that is trained by descent."""
        return int(getattr(self.model, "candidates", 0))

    def max_epochs(self, stage: str) -> int:
        if self.candidates:
            return self.candidates
        train = self.settings.train
        return train.max_epochs_branches if stage in self.branch_stages else train.max_epochs_joint

    def run(self, after_epoch: Callable[[FoldTrainer], None]) -> None:
        """Train to the end. The model then holds the selected weights.

        `after_epoch` is called with the trainer after every finished epoch: to save it, and to say how far it is.

        Raises
        ------
        UsageError
            A loss is not finite.
        """
        if not self.progress.log and self.stage not in self.branch_stages:
            self._introduce_stage()
        while not self.progress.finished:
            if self._stage_is_over():
                self._end_stage()
                continue
            if self.candidates:
                self._fit()
            else:
                self._epoch()
            after_epoch(self)
        self.model.load_state_dict(self.progress.best.tensors)
        if getattr(getattr(self.model, "head", None), "is_calibrated", False):
            self._calibrate()

    @torch.no_grad()
    def _calibrate(self) -> None:
        """Show the head of the selected weights what it answers for the validation part; keep what it makes of that."""
        self.model.eval()
        said = []
        for condition in self.data.val_conditions:
            observed = torch.from_numpy(condition.observed_NM).to(self.device)
            resident = self.data.resident.as_seen(self.data.val_tables, observed)
            for row_BU in self.data.val_tables:
                batch = gather(self.model, resident, row_BU, observed)
                output = run(self.model, batch, self.stage)
                said.append((output.extra["head"], batch.target_BU, batch.labelled_BU))
        self.model.head.calibrate(said)
        for name, tensor in self.model.state_dict().items():
            self.progress.best.tensors[name].copy_(tensor)

    def _stage_is_over(self) -> bool:
        progress = self.progress
        return progress.epoch >= self.max_epochs(self.stage) or progress.waited >= self.settings.train.patience

    def renew_optimiser(self) -> Optimiser:
        """Give the stage a new optimiser; also called when a stage is resumed, whose state is loaded afterwards."""
        steps_per_epoch = len(self._tables(0))
        self.optimiser = Optimiser(self.model, self.settings.train, self.max_epochs(self.stage), steps_per_epoch)
        return self.optimiser

    def _tables(self, epoch: int) -> list[np.ndarray]:
        train = self.settings.train
        rng = generator("order", *self.seed_parts, self.stage, epoch)
        return self.data.train.batches(
            train.batch_utterances,
            rng,
            least=train.least_dialogues,
            dialogues=train.batch_dialogues,
            pad_to=train.pad_to,
        )

    def _fit(self) -> None:
        """Let a fitted model solve for its next candidate, on all draws of the training masks at once."""
        if self._collected is None:
            self._collected = self.model.collect(self._drawn())
        losses = self.model.fit(self._collected, self.progress.epoch)
        self.progress.epoch += 1
        self._validate(losses, None)

    def _drawn(self) -> Iterator[Batch]:
        """Yield the training part's batches under one draw of the masks after the other."""
        for draw in range(self.model.mask_draws):
            observed, tables = self._observed(draw), self._tables(0)
            resident = self.data.resident.as_seen(tables, observed)
            yield from (resident.batch(row_BU, observed) for row_BU in tables)

    def _observed(self, epoch: int) -> Tensor:
        """Return what is observed of the training part in this epoch of the stage."""
        if self.once_NM is not None:
            return torch.from_numpy(self.once_NM).to(self.device)
        observed_NM = self.masks.training(self.data.split.train, f"{self.mask_name}/{self.stage}", epoch)
        return torch.from_numpy(observed_NM).to(self.device)

    def _epoch(self) -> None:
        progress, stage = self.progress, self.stage
        torch.manual_seed(derived_seed("dropout", *self.seed_parts, stage, progress.epoch))
        observed = self._observed(progress.epoch)
        missing_rate = 1.0 - float(observed[self.data.split.train].float().mean())
        optimiser = self.optimiser or self.renew_optimiser()
        self.model.train()
        sums: dict[str, Tensor] = {}
        watched: dict[str, Tensor] = {}
        tables = self._tables(progress.epoch)
        resident = self.data.resident.as_seen(tables, observed)
        for row_BU in tables:
            batch = gather(self.model, resident, row_BU, observed)
            with reduced_products(self.settings.train.precision == "bfloat16"):
                output = run(self.model, batch, stage)
            terms = self.model.losses(output, batch, stage)
            with answering("models", self.settings.run.model):  # a plug-in may return anything
                loss = torch.stack(list(terms.values())).sum()
            optimiser.step(loss)
            for name, term in {**terms, "total": loss}.items():
                sums[name] = sums.get(name, 0.0) + term.detach()
            for name, figure in getattr(self.model, "watched", {}).items():
                watched[name] = watched.get(name, 0.0) + figure
        progress.epoch += 1
        losses = {name: float(total) / len(tables) for name, total in sums.items()}
        if not math.isfinite(losses["total"]):
            broken = [name for name, value in losses.items() if not math.isfinite(value)]
            raise UsageError(
                f"The loss became {losses['total']} in epoch {progress.epoch} of stage {stage} ({broken[0]}); lower "
                f"train.learning_rate (now {self.settings.train.learning_rate:g}), or look at the features with "
                "`imer data inspect`."
            )
        with optimiser.averaged_weights():
            seen = {name: float(total) / len(tables) for name, total in watched.items()}
            self._validate(losses, optimiser.mean_gradient_norm(), {"missing_rate": missing_rate, **seen})

    def _validate(
        self, losses: dict[str, float], gradient_norm: float | None, watched: dict[str, float] | None = None
    ) -> None:
        """Measure the epoch on the validation part, keep it if it is the best, and log it."""
        progress, stage = self.progress, self.stage
        joint, branches, weights = self.validation_metrics(stage)
        record: dict[str, Any] = {
            "fold": self.data.split.name, "stage": stage, "epoch": progress.epoch, "loss": losses,
            "gradient_norm": gradient_norm, "gradient_share": gradient_shares(self.model, list(self.model.modalities)),
            **(watched or {}),
        }  # fmt: skip
        key = SELECTION_METRIC[self.spec.task]
        if stage in self.branch_stages:
            better = []
            for u, name in enumerate(self.model.modalities):
                best = progress.branch_best.setdefault(name, Best())
                score = selection_score(self.spec.task, branches[name])
                better.append(best.offer(score, progress.epoch, branches[name], self.model.modality_state(u)))
            improved = any(better)
            record["val"] = {name: {key: metrics[key]} for name, metrics in branches.items()}
        else:
            metric = selecting_metric(self.spec.task, self.settings.train.select, self.data.corpus.target_N)
            score = epoch_score(joint, metric)
            improved = progress.best.offer(score, progress.epoch, joint, self.model.state_dict())
            record["val"] = joint
            record["val_branches"] = {name: {key: metrics[key]} for name, metrics in branches.items()}
            record["val_weights"] = weights
        progress.waited = 0 if improved else progress.waited + 1
        progress.log.append(record)

    def _end_stage(self) -> None:
        """Restore what was best, and go on to the next stage."""
        progress = self.progress
        if self.stage in self.branch_stages:
            for u, name in enumerate(self.model.modalities):
                kept = progress.branch_best[name].tensors if name in progress.branch_best else {}
                for key, tensor in self.model.modality_state(u).items():
                    if key in kept:
                        tensor.copy_(kept[key])
        if progress.stage + 1 == len(self.model.stages):
            progress.finished, self._collected = True, None
            return
        progress.stage, progress.epoch, progress.waited = progress.stage + 1, 0, 0
        if not self.settings.train.carry_optimiser:
            self.optimiser = None
        self._introduce_stage()

    @torch.no_grad()
    def _introduce_stage(self) -> None:
        """Show a model that wants it the branches of all labelled training utterances as they are when the stage begins."""
        if not hasattr(self.model, "start_stage"):
            return
        self.model.eval()
        ever_NM = self.once_NM if self.once_NM is not None else self.masks.natural(self.data.split.train).observed_NM
        ever = torch.from_numpy(ever_NM).to(self.device)
        branches, observed, target = [], [], []
        train = self.settings.train
        tables = self.data.train.batches(VALIDATION_BATCH, pad_to=train.pad_to, dialogues=train.batch_dialogues)
        resident = self.data.resident.as_seen(tables, ever)
        for row_BU in tables:
            batch = gather(self.model, resident, row_BU, ever)
            output = run(self.model, batch, self.stage)
            counted = batch.labelled_BU
            branches.append(output.extra["branches"][:, counted])
            observed.append(batch.observed_BUM[counted])
            target.append(batch.target_BU[counted])
        torch.manual_seed(derived_seed("stage", *self.seed_parts, self.stage))
        self.model.start_stage(
            self.stage,
            {"branches_MNH": torch.cat(branches, 1), "observed_NM": torch.cat(observed), "target_N": torch.cat(target)},
        )

    def validation_metrics(self, stage: str) -> tuple[Metrics, dict[str, Metrics], dict[str, float | None]]:
        """Return the mean over the validation masks of the joint metrics, and of each modality's own head's; and the mean
        coordinator weight of each modality.

        A modality's own head is judged where the modality is observed.
        """
        joint: list[Metrics] = []
        weights, observed = [], []
        branches: dict[str, list[Metrics]] = {name: [] for name in self.model.modalities}
        for condition in self._judged_under():
            said = answer(
                self.model, self.spec, self.data.resident, self.data.val_tables, condition.observed_NM, stage=stage
            )
            joint.append(self._measured(said.rows_N, said.probabilities_NC))
            weights.append(said.weights_NM)
            observed.append(said.observed_NM)
            for u, name in enumerate(self.model.modalities):
                if name in said.branches:
                    here = condition.observed_NM[said.rows_N, u]
                    branches[name].append(self._measured(said.rows_N[here], said.branches[name][here]))
        of_branches = {name: mean_metrics(metrics, self.spec.task) for name, metrics in branches.items()}
        spoken = mean_weights(np.concatenate(weights), np.concatenate(observed), list(self.model.modalities))
        return mean_metrics(joint, self.spec.task), of_branches, spoken

    def _judged_under(self) -> list[FixedMask]:
        train = self.settings.train
        if train.select != TEST_BEST:
            return self.data.val_conditions
        return self.masks.fixed(self.data.split.test, TEST_BEST, 1, first_seed=self.progress.epoch)

    def _measured(self, rows: np.ndarray, answers_NC: np.ndarray) -> Metrics:
        corpus = self.data.corpus
        return metrics_of(corpus.target_N[rows], answers_NC, len(corpus.class_names))
