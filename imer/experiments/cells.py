"""One cell of a sweep: how far it is, and what is done to finish it. Its folder is an ordinary run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imer.core.errors import InvalidInput
from imer.evaluation.conditions import make_conditions
from imer.evaluation.evaluate import EVALUATION_FOLDER, evaluate
from imer.evaluation.publish import METRICS_FILE
from imer.evaluation.results import Evaluation
from imer.experiments.plan import Cell
from imer.training.listener import Listener
from imer.training.origin import ORIGIN_FILE, Origin
from imer.training.train import changed_settings, train

NEW, BEGUN, TRAINED, FINISHED, OTHER = "new", "begun", "trained", "finished", "other"


@dataclass(frozen=True)
class State:
    """How far a cell is; `why` says what differs where it is of another sweep (OTHER)."""

    kind: str
    why: str = ""

    @property
    def text(self) -> str:
        """What is to be done, for a person."""
        return f"made with {self.why}" if self.kind == OTHER else self.kind


def state_of(cell: Cell, folder: Path, content_sha256: str) -> State:
    """Look at a cell's folder. What cannot be read counts as begun: the training will say what is wrong with it."""
    if not (folder / "config.toml").is_file() or not (folder / ORIGIN_FILE).is_file():
        return State(NEW)
    try:
        changed = changed_settings(folder, cell.settings)
        if changed:
            name, (was, now) = next(iter(changed.items()))
            return State(OTHER, f"{name} = {was!r}, now {now!r}")
        if Origin.read(folder).content_sha256 != content_sha256:
            return State(OTHER, "other features")
    except InvalidInput:
        return State(BEGUN)
    if not (folder / "metrics.json").is_file():
        return State(BEGUN)
    is_judged = _is_judged(cell, folder / EVALUATION_FOLDER / METRICS_FILE, content_sha256)
    return State(FINISHED if is_judged else TRAINED)


def _is_judged(cell: Cell, metrics: Path, content_sha256: str) -> bool:
    """Tell whether an evaluation is the one that is asked for: on these features, the same conditions, as many masks."""
    try:
        found = Evaluation.read(metrics)
    except InvalidInput:
        return False
    wanted = make_conditions(
        found.modalities, missing_rate=cell.judging["missing_rate"], pattern=cell.judging["pattern"]
    )
    have = [(one.protocol, one.missing_rate, one.pattern) for one in found.summary]
    if found.features["content_sha256"] != content_sha256:
        return False
    if found.split != "test" or have != [(one.protocol, one.rate, one.pattern) for one in wanted]:
        return False
    return found.counts.get("mask_seeds") == cell.judging["mask_seeds"]


@dataclass(frozen=True)
class CellJob:
    """A cell to do, in a worker process. `anew` deletes what its folder holds."""

    cell: Cell
    features: Path
    folder: Path
    anew: bool = False

    @property
    def name(self) -> str:
        return str(self.folder)

    def do(self, warn: Callable[[str], None]) -> None:
        """Train and evaluate the cell from wherever it stands.

        Raises
        ------
        ImerError
            What `train` and `evaluate` raise.
        """
        listener = Listener(warn=warn)
        train(
            self.features,
            self.folder,
            **self.cell.training,
            resume=not self.anew,
            overwrite=self.anew,
            listener=listener,
        )
        evaluate(self.folder, self.features, **self.cell.judging, plots=False)
