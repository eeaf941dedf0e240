"""How far the training of one model is: everything that a resumed run needs beside the data, as tensors and JSON.

Every random choice of an epoch (order, masks, dropout) has its own seed made of (run seed, fold, member, stage, epoch), so
the position in training is the whole of the random state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Best:
    """The best validation score so far, its epoch and metrics, and the tensors that gave it."""

    score: float = -math.inf
    epoch: int = 0
    metrics: dict[str, float | None] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, score: float, epoch: int, metrics: dict[str, float | None], tensors: dict[str, Tensor]) -> bool:
        """Take this epoch if it is better than all before; tell whether it was.

        Where validation has never said anything (no score, as of a modality that it never observes), the newest is kept.
        """
        improved = score > self.score or not self.epoch
        if not improved and math.isfinite(self.score):
            return False
        self.score, self.epoch, self.metrics = score, epoch, dict(metrics)
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        return improved


@dataclass
class Progress:
    """The position in the training of one model: of a fold, or of a member of its ensemble.

    stage     index of the stage; `epoch` counts finished epochs within it
    best      of the joint stages; `branch_best` per modality, of a branch stage
    log       one record per finished epoch
    """

    stage: int = 0
    epoch: int = 0
    waited: int = 0
    best: Best = field(default_factory=Best)
    branch_best: dict[str, Best] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return everything but the tensors. −∞ (no score yet) is written as null."""

        def plain(best: Best) -> dict[str, Any]:
            score = best.score if math.isfinite(best.score) else None
            return {"score": score, "epoch": best.epoch, "metrics": best.metrics}

        return {
            **{name: getattr(self, name) for name in ("stage", "epoch", "waited", "log", "finished")},
            "best": plain(self.best),
            "branch_best": {name: plain(best) for name, best in self.branch_best.items()},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], tensors: dict[str, dict[str, Tensor]]) -> Progress:
        """Read what `to_json` gave, with the tensors of each best by its key (see `tensor_groups`)."""

        def best(key: str, plain: dict[str, Any]) -> Best:
            score = -math.inf if plain["score"] is None else plain["score"]
            return Best(score, plain["epoch"], plain["metrics"], tensors.get(key, {}))

        return cls(
            stage=values["stage"],
            epoch=values["epoch"],
            waited=values["waited"],
            best=best("best", values["best"]),
            branch_best={name: best(f"best.{name}", plain) for name, plain in values["branch_best"].items()},
            log=values["log"],
            finished=values["finished"],
        )

    def tensor_groups(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors of each best by its key."""
        groups = {"best": self.best.tensors}
        groups.update({f"best.{name}": best.tensors for name, best in self.branch_best.items()})
        return {key: tensors for key, tensors in groups.items() if tensors}
