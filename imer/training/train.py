"""`train`: from a feature store to a run folder, continued from wherever it was interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from imer.batches.corpus import Corpus
from imer.batches.splits import alike_but_for_capitals
from imer.core.devices import chosen_device
from imer.core.errors import ImerError, InvalidInput, OutputExists, UsageError, listed
from imer.core.files import behind_links, check_name, make_folder, remove_leftovers, sha256_file, write_text
from imer.core.locks import output_lock
from imer.core.machine import usable_cores
from imer.core.settings import toml_layer
from imer.models.products import products_are_fast
from imer.training.build import build_model, check_lengths, check_modalities, model_spec
from imer.training.data import read_corpus
from imer.training.fold import Fold, folds_of
from imer.training.history import LOG_FILE
from imer.training.listener import Listener
from imer.training.masks import Masks
from imer.training.named_files import with_files_of
from imer.training.origin import ORIGIN_FILE, Origin
from imer.training.publish import learnt_rows
from imer.training.repeatable import repeatable
from imer.training.results import conditions_of_test, write_results
from imer.training.run_folder import is_published, read_metrics, safe_name
from imer.training.selection import OPTIMISTIC, TEST_BEST
from imer.training.settings import BEFORE_IT_EXISTED, NOT_THE_RESULT, Settings
from imer.training.settings_layers import is_fitted, load_settings, no_use_for, useless_settings
from imer.training.side_by_side import train_side_by_side

SLOW_BFLOAT16 = (
    "{device} does not multiply bfloat16 faster than float32, so train.precision = bfloat16 makes training slower here; "
    "leave it at float32."
)


@dataclass(frozen=True)
class TrainResult:
    """What `train` did."""

    path: Path
    already_finished: bool
    selected: dict[str, Any]
    metrics: dict[str, Any]


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
    jobs: int = 1,
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
    jobs
        Where a run has several models (folds, members): how many are trained at the same time, each in a process of
        its own with one thread. With 1 this process trains all. Any number gives the same bits, unless
        `train.threads` asks for more threads.

    Raises
    ------
    UsageError, InvalidInput, MissingDependency, OutputExists
        See the errors' own sentences.
    """
    if resume and overwrite:
        raise UsageError("--resume goes on with a run and --overwrite starts it anew; give one of them.")
    listener = listener or Listener()
    given = {section: dict(values) for section, values in (flags or {}).items()}
    if features is not None:
        given.setdefault("data", {})["features"] = str(features)
    settings = load_settings(preset=preset, config=config, flags=given, assignments=assignments)
    if config is not None:
        settings = with_files_of(settings, Path(config), listener.warn, chosen=features is not None)
    if not settings.data.features:
        raise UsageError("Name the feature store to train on: imer train FEATURES.h5 -o RUN_DIR.")
    if useless := useless_settings(settings, given, assignments):
        listener.note(no_use_for([settings.run.model], useless))
    out = behind_links(Path(out))
    if out.exists() and not out.is_dir():
        raise OutputExists(f"{out} is a file; a run is a folder. Choose another name.")
    check_name(out)
    if settings.train.select == TEST_BEST:
        listener.warn(OPTIMISTIC)
    device = torch.device(chosen_device(settings.train.device))
    if settings.train.precision == "bfloat16" and not products_are_fast(device):
        listener.warn(SLOW_BFLOAT16.format(device=device))
    with output_lock(out, listener.note):
        return _Run(settings, out, listener).go(device, jobs, resume=resume, overwrite=overwrite)


class _Run:
    """One run, from its settings to its results."""

    def __init__(self, settings: Settings, out: Path, listener: Listener) -> None:
        self.settings, self.out, self.listener = settings, out, listener

    def go(self, device: torch.device, jobs: int, *, resume: bool, overwrite: bool) -> TrainResult:
        for folder in (self.out, self.out / "checkpoint"):
            remove_leftovers(folder)
        occupied = self.out.is_dir() and any(self.out.iterdir())
        interrupted = (self.out / ORIGIN_FILE).is_file() and not (self.out / "metrics.json").is_file()
        if occupied and not (resume or overwrite or interrupted):
            raise OutputExists(
                f"{self.out} exists already; choose another name, add --resume to leave a finished run as it is, or "
                "--overwrite to start anew."
            )
        corpus = read_corpus(self.settings.data, self.listener.warn)
        if unlabelled := int((~corpus.labelled_N).sum()):
            self.listener.note(
                f"{unlabelled} of {corpus.n} utterances have no {corpus.label}: they are context, not examples."
            )
        check_modalities(corpus, self.settings.run.model)
        masks = Masks(corpus, self.settings.train)
        folds = folds_of(corpus, masks, self.settings, device, self.out, self.listener.warn)
        names = [fold.name for fold in folds]
        self._refuse_early(corpus, masks, folds)
        if occupied and overwrite and not resume:
            self._clear()
        begins = not all((self.out / name).is_file() for name in (ORIGIN_FILE, "config.toml"))
        if begins:
            self._begin(corpus, names, device)
        elif self._continue(corpus, names, device):
            self.listener.note(f"{self.out} is finished already; nothing to do.")
            shutil.rmtree(self.out / "state", ignore_errors=True)  # where it was killed at its very end
            metrics = read_metrics(self.out)
            return TrainResult(self.out, True, metrics["selected"], metrics)
        try:
            metrics = self._train(corpus, masks, folds, jobs)
        except ImerError:
            # Refused before anything was learnt, such as for one class only: leave nothing in the way of a better try.
            if begins and not any((self.out / name).exists() for name in ("state", "checkpoint", LOG_FILE)):
                shutil.rmtree(self.out)
            raise
        shutil.rmtree(self.out / "state", ignore_errors=True)
        return TrainResult(self.out, False, metrics["selected"], metrics)

    def _train(self, corpus: Corpus, masks: Masks, folds: Sequence[Fold], jobs: int) -> dict[str, Any]:
        """Train what is not trained yet, and write the results."""
        twins = alike_but_for_capitals(safe_name(fold.name) for fold in folds)
        # Of two folds with one folder the second would be taken for trained: the files are there.
        if twins and (self.out / "CONFIG.TOML").exists():
            raise UsageError(
                f"Folds differ in capitals only ({listed(twins, 3)}), which are one folder on this disk; rename them in the "
                "manifest."
            )
        device, splits = folds[0].device, [fold.splits[0] for fold in folds]
        with repeatable(device, self._threads()):
            if jobs > 1 and len(folds) * self.settings.train.members > 1:
                train_side_by_side([fold for fold in folds if not fold.is_published], jobs, self.listener)
            for number, fold in enumerate(folds):
                if not fold.is_published:
                    fold.finish(self.listener, f"fold {fold.name} ({number + 1}/{len(folds)}): " if fold.name else "")
            return write_results(self.out, corpus, splits, masks, self.settings, str(device))

    def _threads(self) -> int:
        """Return how many threads this process computes with: all cores for the large products of a fitted model."""
        usual = usable_cores() if is_fitted(self.settings.run.model) else 1
        return self.settings.train.threads or usual

    def _refuse_early(self, corpus: Corpus, masks: Masks, folds: Sequence[Fold]) -> None:
        """Refuse what cannot be trained, or not be tested in the end: before an old run is deleted, and not after hours."""
        if len({safe_name(fold.name) for fold in folds}) < len(folds):
            raise UsageError(
                "Two folds have names that differ in special characters only; rename them in the manifest."
            )
        splits = [fold.splits[0] for fold in folds]
        conditions_of_test(masks, splits, self.settings)
        if self.settings.train.select == TEST_BEST and not all(corpus.labelled_N[split.test].any() for split in splits):
            raise UsageError(f"train.select = {TEST_BEST} chooses by the test part, and there is none with labels.")
        specs = [
            model_spec(corpus, learnt_rows(fold.splits), self.settings.train.class_weights, fold.name) for fold in folds
        ]
        with repeatable(torch.device("cpu")):
            model = build_model(specs[0], self.settings)
        most = getattr(model, "most_utterances", None)
        check_lengths(corpus, splits, most=most, pad_to=self.settings.train.pad_to)

    def _clear(self) -> None:
        """Delete the old run; refuse a folder that is no run, so that a slip of the finger costs nothing."""
        if not (self.out / ORIGIN_FILE).is_file():
            raise OutputExists(
                f"{self.out} is not a run folder, so --overwrite does not delete it; choose another name."
            )
        shutil.rmtree(self.out)

    def _begin(self, corpus: Corpus, names: list[str], device: torch.device) -> None:
        if self.out.is_dir() and any(path.name != ORIGIN_FILE for path in self.out.iterdir()):
            raise OutputExists(f"{self.out} exists and is not a run folder; choose another name.")
        make_folder(self.out)
        store = Path(self.settings.data.features).absolute()
        origin = Origin(corpus.content_sha256, tuple(names), str(store), device=device.type)
        if mask := self.settings.train.mask:
            origin = replace(origin, mask_sha256=sha256_file(Path(mask)), mask=str(Path(mask).absolute()))
        origin.write(self.out)
        # Second: a folder that holds no more than the origin is one whose beginning was interrupted.
        write_text(self.out / "config.toml", self.settings.to_toml())

    def _continue(self, corpus: Corpus, names: list[str], device: torch.device) -> bool:
        """Check that the folder is of this very run; tell whether it is finished."""
        changed = changed_settings(self.out, self.settings)
        if changed:
            name, (was, value) = next(iter(changed.items()))
            raise UsageError(
                f"{self.out} was started with {name} = {was!r}, now it is {value!r}; continue with the same settings, choose "
                "another folder, or add --overwrite to start anew."
            )
        origin = Origin.read(self.out)
        if origin.content_sha256 != corpus.content_sha256:
            raise InvalidInput(
                f"{self.settings.data.features} is not the feature store that {self.out} was started with (its content "
                "differs); continue with the same features, or choose another folder."
            )
        mask = self.settings.train.mask
        if mask and origin.mask_sha256 not in ("", sha256_file(Path(mask))):
            raise InvalidInput(
                f"{mask} is not the mask that {self.out} was started with (its content differs); continue with the same mask, "
                "or choose another folder."
            )
        if origin.folds != tuple(names):
            raise UsageError(f"{self.out} was started with other folds; choose another folder.")
        finished = (self.out / "metrics.json").is_file() and all(is_published(self.out, name) for name in names)
        if not finished and origin.device not in ("", device.type):
            self.listener.warn(
                f"{self.out} was begun on {origin.device} and is continued on {device.type}: the weights will be those of "
                "neither alone."
            )
        return finished


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
            if had[key] != value and f"{section}.{key}" not in NOT_THE_RESULT:
                changed[f"{section}.{key}"] = (had[key], value)
    return changed


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
