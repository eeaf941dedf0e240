"""`train`: from a feature store to a run folder, continued from wherever it was interrupted."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from imer._version import __version__
from imer.batches.corpus import Corpus
from imer.batches.splits import Split
from imer.core.errors import ImerError, InvalidInput, OutputExists, UsageError
from imer.core.files import read_json, remove_folder, remove_leftovers, write_json, write_text
from imer.core.locks import output_lock
from imer.core.settings import toml_layer
from imer.models.products import products_are_fast
from imer.training.checkpoint import load_newest_state, save_state
from imer.training.data import divide, read_corpus
from imer.training.device import repeatable, resolve_device
from imer.training.loop import FoldTrainer
from imer.training.masks import Masks
from imer.training.results import write_results
from imer.training.runs import fold_folder, safe_name
from imer.training.selection import OPTIMISTIC, TEST_BEST
from imer.training.settings import BEFORE_IT_EXISTED, Settings, load_settings
from imer.training.trained import TrainedMember, learnt_rows, publish_fold

# May differ between a run and its continuation: they do not change what is computed on the same machine.
FREE_ON_RESUME = {("data", "features"), ("train", "device"), ("train", "threads"), ("train", "checkpoint_every_s")}

SLOW_BFLOAT16 = (
    "{device} does not multiply bfloat16 faster than float32, so train.precision = bfloat16 makes training slower here; "
    "leave it at float32."
)


@dataclass
class Listener:
    """Where a training says what happens: notes, warnings, and how far it is."""

    note: Callable[[str], None] = lambda message: None
    warn: Callable[[str], None] = lambda message: None
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None


@dataclass(frozen=True)
class TrainResult:
    """What `train` did."""

    path: Path
    already_finished: bool
    selected: dict[str, Any]
    metrics: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def train(
    features: Path | None,
    out: Path,
    *,
    preset: str | None = None,
    config: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    assignments: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> TrainResult:
    """Train a model on a feature store into a run folder.

    Parameters
    ----------
    features
        The feature store; None takes the one that `config` names.
    preset, config, flags, assignments
        Settings, later ones winning over earlier ones: a shipped preset, a TOML file, section → key → value, and
        texts like "train.seed=1".
    resume
        Continue a run folder that exists; a finished one is left as it is. One that was interrupted is continued anyway.
    overwrite
        Delete a run folder that exists.

    Raises
    ------
    UsageError, InvalidInput, MissingDependency, OutputExists
        See the errors' own sentences.
    """
    listener = listener or Listener()
    given = {section: dict(values) for section, values in (flags or {}).items()}
    if features is not None:
        given.setdefault("data", {})["features"] = str(features)
    settings = load_settings(preset=preset, config=config, flags=given, assignments=assignments)
    if not settings.data.features:
        raise UsageError("Name the feature store to train on: imer train FEATURES.h5 -o RUN_DIR.")
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise OutputExists(f"{out} is a file; a run is a folder. Choose another name.")
    if settings.train.select == TEST_BEST:
        listener.warn(OPTIMISTIC)
    device = resolve_device(settings.train.device)
    if settings.train.precision == "bfloat16" and not products_are_fast(device):
        listener.warn(SLOW_BFLOAT16.format(device=device))
    with output_lock(out, listener.note):
        return _Run(settings, out, listener).go(device, resume=resume, overwrite=overwrite)


class _Run:
    """One run, from its settings to its results."""

    def __init__(self, settings: Settings, out: Path, listener: Listener) -> None:
        self.settings, self.out, self.listener = settings, out, listener

    def go(self, device: Any, *, resume: bool, overwrite: bool) -> TrainResult:
        for folder in (self.out, self.out / "checkpoint"):
            remove_leftovers(folder)
        occupied = self.out.is_dir() and any(self.out.iterdir())
        interrupted = (self.out / "run.json").is_file() and not (self.out / "metrics.json").is_file()
        if occupied and not (resume or overwrite or interrupted):
            raise OutputExists(
                f"{self.out} exists already; choose another name, add --resume to leave a finished run as it is, or "
                "--overwrite to start anew."
            )
        corpus = read_corpus(self.settings.data, self.listener.warn)
        splits = divide(corpus, self.settings, self.listener.warn)
        masks = Masks(corpus, self.settings.train)
        if occupied and overwrite and not resume:
            self._clear()
        begins = not all((self.out / name).is_file() for name in ("run.json", "config.toml"))
        if begins:
            self._begin(corpus, splits)
        elif self._continue(corpus, splits):
            self.listener.note(f"{self.out} is finished already; nothing to do.")
            shutil.rmtree(self.out / "state", ignore_errors=True)  # where it was killed at its very end
            metrics = read_json(self.out / "metrics.json")
            return TrainResult(self.out, True, metrics["selected"], metrics)
        try:
            metrics = self._folds(corpus, splits, masks, device)
        except ImerError:
            # Refused before anything was learnt, such as for one class only: leave nothing in the way of a better try.
            if begins and not any((self.out / name).exists() for name in ("state", "checkpoint", "log.jsonl")):
                shutil.rmtree(self.out)
            raise
        shutil.rmtree(self.out / "state", ignore_errors=True)
        return TrainResult(self.out, False, metrics["selected"], metrics)

    def _folds(self, corpus: Corpus, splits: list[Split], masks: Masks, device: Any) -> dict[str, Any]:
        """Train what is not trained yet, and write the results."""
        with repeatable(device, self.settings.train.threads):
            members = [
                splits if n == 0 else divide(corpus, self.settings, lambda message: None, member=n)
                for n in range(self.settings.train.members)
            ]
            for number, split in enumerate(splits):
                if not self._is_trained(split.name):
                    title = f"fold {split.name} ({number + 1}/{len(splits)}): " if split.name else ""
                    self._fold(corpus, [seen[number] for seen in members], masks, device, title)
            return write_results(self.out, corpus, splits, masks, self.settings, str(device))

    def _is_trained(self, fold: str) -> bool:
        return (fold_folder(self.out, fold) / "manifest.json").is_file()

    def _clear(self) -> None:
        """Delete the old run; refuse a folder that is no run, so that a slip of the finger costs nothing."""
        if not (self.out / "run.json").is_file():
            raise OutputExists(
                f"{self.out} is not a run folder, so --overwrite does not delete it; choose another name."
            )
        shutil.rmtree(self.out)

    def _begin(self, corpus: Corpus, splits: list[Split]) -> None:
        if self.out.is_dir() and any(path.name != "run.json" for path in self.out.iterdir()):
            raise OutputExists(f"{self.out} exists and is not a run folder; choose another name.")
        self.out.mkdir(parents=True, exist_ok=True)
        names = [split.name for split in splits]
        if len({safe_name(name) for name in names}) < len(names):
            raise UsageError(
                "Two folds have names that differ in special characters only; rename them in the manifest."
            )
        write_json(
            self.out / "run.json",
            {
                "format": "imer-run/1",
                "imer_version": __version__,
                "content_sha256": corpus.content_sha256,
                "folds": names,
            },
        )
        # Second: a folder that holds no more than a run.json is one whose beginning was interrupted.
        write_text(self.out / "config.toml", self.settings.to_toml())

    def _continue(self, corpus: Corpus, splits: list[Split]) -> bool:
        """Check that the folder is of this very run; tell whether it is finished."""
        changed = changed_settings(self.out, self.settings)
        if changed:
            name, (was, value) = next(iter(changed.items()))
            raise UsageError(
                f"{self.out} was started with {name} = {was!r}, now it is {value!r}; continue with the same settings, choose "
                "another folder, or add --overwrite to start anew."
            )
        record = read_json(self.out / "run.json")
        if record["content_sha256"] != corpus.content_sha256:
            raise InvalidInput(
                f"{self.settings.data.features} is not the feature store that {self.out} was started with (its content "
                "differs); continue with the same features, or choose another folder."
            )
        if record["folds"] != [split.name for split in splits]:
            raise UsageError(f"{self.out} was started with other folds; choose another folder.")
        return (self.out / "metrics.json").is_file() and all(self._is_trained(split.name) for split in splits)

    def _fold(self, corpus: Corpus, splits: list[Split], masks: Masks, device: Any, title: str) -> None:
        """Train a fold's model, or one member of its ensemble after the other, each on its own split."""
        fold, learnt_R = splits[0].name, learnt_rows(splits)
        states = self.out / "state" / (safe_name(fold) or "single")
        trained = []
        for number, split in enumerate(splits):
            trainer = FoldTrainer(corpus, split, self.settings, masks, device, member=number, learnt_R=learnt_R)
            if len(splits) == 1:
                self._train(trainer, states, title)
            else:
                whose = f"{title}member {number + 1}/{len(splits)}: "
                self._train(trainer, states / f"member-{number}", whose)
                save_state(states / f"member-{number}", trainer)  # an interrupted fold goes on with the next member
            trained.append(TrainedMember(split, trainer.progress))
        # The log first: a fold with a checkpoint is never trained again.
        self._write_log(fold, _records(trained))
        publish_fold(fold_folder(self.out, fold), corpus, trainer.spec, trainer.data.scaler, trained, self.settings)
        remove_folder(states)

    def _train(self, trainer: FoldTrainer, states: Path, title: str) -> None:
        """Train one model to its end, from its newest saved state."""
        if load_newest_state(states, trainer, self.listener.warn) and not trainer.progress.finished:
            self.listener.note(f"{title}continuing after epoch {trainer.progress.epoch} of stage {trainer.stage}.")
        saved_s = time.monotonic()

        def after_epoch(trainer: FoldTrainer) -> None:
            nonlocal saved_s
            self.listener.progress(
                f"{title}stage {trainer.stage}", trainer.progress.epoch, trainer.max_epochs(trainer.stage)
            )
            if time.monotonic() - saved_s >= self.settings.train.checkpoint_every_s:
                save_state(states, trainer)
                saved_s = time.monotonic()

        trainer.run(after_epoch)
        best = trainer.progress.best
        values = ", ".join(f"{k} {v:.4f}" for k, v in best.metrics.items() if v is not None)
        self.listener.note(f"{title}selected epoch {best.epoch} on validation: {values}.")

    def _write_log(self, fold: str, records: list[dict[str, Any]]) -> None:
        """Write the log of all finished folds and this one, in the order they were trained."""
        path = self.out / "log.jsonl"
        kept = []
        if path.is_file():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if json.loads(line)["fold"] != fold]
        write_text(path, "\n".join([*kept, *(json.dumps(r, ensure_ascii=False) for r in records)]) + "\n")


def changed_settings(run: Path, settings: Settings) -> dict[str, tuple[Any, Any]]:
    """Return what differs between a run folder's settings and these, as `section.key` → (then, now).

    What does not change the results on the same machine (path of the store, device, threads) is left out. A setting
    that was not known when the run was made had the value in `BEFORE_IT_EXISTED`, or else the one which is its default now.
    """
    before = toml_layer(run / "config.toml").values
    changed: dict[str, tuple[Any, Any]] = {}
    for section, part in settings.sections().items():
        had = {**_plain(asdict(type(part)())), **BEFORE_IT_EXISTED.get(section, {}), **before.get(section, {})}
        for key, value in _plain(asdict(part)).items():
            if had[key] != value and (section, key) not in FREE_ON_RESUME:
                changed[f"{section}.{key}"] = (had[key], value)
    return changed


def _records(trained: Sequence[TrainedMember]) -> list[dict[str, Any]]:
    """Return the log of a fold; where it has several members, every record says whose it is."""
    if len(trained) == 1:
        return trained[0].progress.log
    return [{"member": number, **record} for number, member in enumerate(trained) for record in member.progress.log]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
