"""Who is evaluated: the models of a run, or that of a bundle, with what is known of their training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imer.core.errors import InvalidInput
from imer.core.folders import output_entry
from imer.core.settings import flat

if TYPE_CHECKING:
    from imer.training.run_folder import RunFolder
    from imer.training.trained_fold import TrainedFold


@dataclass(frozen=True)
class Subject:
    """Trained models, one a fold, and what is known of their training.

    settings     section.key → value, as far as they are known
    sha256       digest of the weights and all that belongs to them
    trained_on   content digest of the store of the training
    stores       where that store may be; empty where nobody wrote it down
    log          the records of the training's log
    """

    path: Path
    folds: Sequence[TrainedFold]
    settings: dict[str, Any]
    sha256: str
    trained_on: str
    stores: tuple[Path, ...] = ()
    log: list[dict[str, Any]] = field(default_factory=list)


def subject_of_run(path: Path, device: str = "auto") -> Subject:
    """Open a run folder.

    Raises
    ------
    InvalidInput
        It is missing, damaged, or no finished run.
    """
    if not path.is_dir():  # before PyTorch takes its seconds
        raise InvalidInput(f"{path} is not a run folder of `imer train`: there is no such folder.")

    from imer.training.history import read_log
    from imer.training.origin import Origin
    from imer.training.run_folder import RunFolder

    run = RunFolder.open(path, device=device)
    origin = Origin.read(path)
    return Subject(
        path=path,
        folds=run.folds,
        settings=flat(run.settings),
        sha256=output_entry(path / "checkpoint")["sha256"],
        trained_on=origin.content_sha256,
        stores=_stores(run, origin.features),
        log=read_log(path),
    )


def _stores(run: RunFolder, absolute: str) -> tuple[Path, ...]:
    """Return where the store of a training may be: where it was then, or beside the run folder."""
    recorded = Path(run.settings["data"]["features"])
    if not recorded.is_absolute():  # it was meant from where the training was started; older runs do not say where
        recorded = Path(absolute or recorded)
    return recorded, run.path.parent / recorded.name
