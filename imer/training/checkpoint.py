"""Saved states of a training in progress, from which it continues to the same final weights, bit for bit.

    <run>/state/<fold>/[member-<n>/]<stage>-<epoch>/   model, optimiser, best (safetensors), progress.json, manifest.json

A state is a published folder: complete with its manifest, or not there. The two newest are kept, so that a damaged
one costs no more than the epochs since the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from imer.core.errors import InvalidInput
from imer.core.files import read_json, write_json
from imer.core.folders import published_folder, remove_folder, verify_folder
from imer.training.loop import FoldTrainer
from imer.training.progress import Progress

STATES_KEPT = 2
WEIGHTS = "model.safetensors"


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors (no checksum inside: the folder's manifest has it)."""
    # Not `save_file`: what it writes can be read by its owner alone, whatever the umask says.
    path.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors.

    Raises
    ------
    InvalidInput
        The file is missing or damaged.
    """
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} is missing; copy the whole folder again.") from error
    except (SafetensorError, OSError) as error:
        raise InvalidInput(f"{path} is not a readable safetensors file ({error}).") from error


def save_state(folder: Path, trainer: FoldTrainer) -> Path:
    """Publish the state of a trainer under `folder` and drop all but the newest states."""
    progress = trainer.progress
    target = folder / f"{progress.stage}-{progress.epoch:06d}"
    with published_folder(target, overwrite=True) as part:
        save_tensors(part / WEIGHTS, trainer.model.state_dict())
        if trainer.optimiser is not None:
            save_tensors(part / "optimiser.safetensors", trainer.optimiser.state())
        best = {
            f"{key}/{name}": tensor for key, group in progress.tensor_groups().items() for name, tensor in group.items()
        }
        save_tensors(part / "best.safetensors", best)
        write_json(part / "progress.json", progress.to_json())
    for old in _states(folder)[:-STATES_KEPT]:
        remove_folder(old)
    return target


def _states(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def load_newest_state(folder: Path, trainer: FoldTrainer, warn: Callable[[str], None]) -> bool:
    """Bring a trainer to the newest state that is whole; tell whether there was one."""
    for path in reversed(_states(folder)):
        try:
            verify_folder(path)
            _load(path, trainer)
        except InvalidInput as error:
            warn(f"the saved state {path} is left out: {error}")
            continue
        return True
    return False


def _load(path: Path, trainer: FoldTrainer) -> None:
    values: dict[str, Any] = read_json(path / "progress.json")
    device = trainer.device
    groups: dict[str, dict[str, Tensor]] = {}
    for full, tensor in load_tensors(path / "best.safetensors").items():
        key, _, name = full.partition("/")
        groups.setdefault(key, {})[name] = tensor.to(device)
    trainer.progress = Progress.from_json(values, groups)
    trainer.model.load_state_dict({n: t.to(device) for n, t in load_tensors(path / WEIGHTS).items()})
    if not trainer.candidates:
        with torch.no_grad():
            trainer.renew_optimiser().load_state(load_tensors(path / "optimiser.safetensors"))
