"""`export`: a trained run as something to hand on. What does not answer as the model does is not published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from imer._version import __version__
from imer.core.errors import OutputExists, UsageError, did_you_mean, listed
from imer.core.files import check_name, is_free, published_file, read_json, sha256_file, write_json
from imer.core.folders import published_folder
from imer.export.bundle import is_bundle, load_bundle, preprocessing, write_bundle
from imer.export.card import model_card
from imer.export.chosen import MeanOfFolds, choose_fold, deployable, parity_cases, value_unit, why_chosen
from imer.export.deployable import Deployable
from imer.export.parity import TOLERANCE, TOLERANCE_OF_BATCHES, Arrays, Parity, measure, require_parity
from imer.export.record import card_facts, run_record
from imer.training.repeatable import repeatable
from imer.training.run_folder import RunFolder, fold_folder
from imer.training.selection import is_optimistic
from imer.training.trained_fold import TrainedFold

FORMATS = ("bundle", "onnx", "torch-export")


@dataclass(frozen=True)
class Exported:
    """What an export made: its files (or folder), which fold it is, and how near it is to the model."""

    outputs: tuple[Path, ...]
    format: str
    fold: str
    n_folds: int
    parity: Parity
    optimistic: bool = False


def export(
    run: Path | str,
    out: Path | str,
    format: str = "bundle",
    *,
    fold: str | None = None,
    overwrite: bool = False,
    notice: Callable[[str], None] | None = None,
) -> Exported:
    """Publish a trained run at `out` as a bundle (a folder), an ONNX file or a `torch.export` program.

    Before it is published, the export answers 200 random inputs over all patterns of observed modalities and many
    paddings, and its answers are compared with the model's: at most 1e-5 apart (1e-4 for the published designs whose
    answers depend on the batch), and never another class. Beside a file lies `<out>.json` with what its inputs and outputs
    mean. Of a run with folds, `fold` is exported; by default the one that was best on its validation part.

    Raises
    ------
    UsageError
        There is no such format or fold.
    InvalidInput
        `run` is no finished run folder, or is damaged.
    OutputExists
        `out` exists and `overwrite` is false.
    ImerError
        The export answers differently from the model.

    Examples
    --------
    >>> from imer import export  # doctest: +SKIP
    >>> export("runs/comp", "comp.onnx", "onnx").parity.max_abs_difference  # doctest: +SKIP
    4.7e-07
    """
    run, out = Path(run), Path(out)
    say = notice or (lambda _: None)
    if format not in FORMATS:
        raise UsageError(f"There is no export format {format!r}; {did_you_mean(format, FORMATS)}")
    _check_output(out, format, overwrite)
    if is_bundle(run):
        chosen, n_folds, about = load_bundle(run), 1, read_json(run / "bundle.json")
        if fold is not None:
            raise UsageError(f"--fold {fold}: a bundle holds a single model; leave --fold out.")
        if format == "bundle":
            raise UsageError(f"{run} is a bundle already; copy the folder.")
    else:
        opened = RunFolder.open(run)
        chosen, n_folds = choose_fold(opened.folds, fold), len(opened.folds)
        if isinstance(chosen, MeanOfFolds):
            raise UsageError(
                "--fold all is for `imer predict`: what is exported is a single model; name one of the folds."
            )
        about = run_record(opened, chosen)
    if format != "bundle" and chosen.within_speaker:
        raise UsageError(
            f"This model reads {listed(chosen.within_speaker)} features relative to their speaker, over all of the speaker's "
            f"utterances, which {format} cannot say; export a bundle."
        )
    if n_folds > 1:
        say(f"exporting fold {chosen.name} of {n_folds}: {why_chosen(chosen, fold)}.")
    # One thread: the inputs are small, and threads that wait for each other cost more than they give.
    with repeatable(torch.device("cpu"), threads=1):
        model = deployable(chosen)
        cases, unit = parity_cases(chosen, model), value_unit(chosen)
        if format == "bundle":
            parity = _publish_bundle(run, out, chosen, about, model, cases, unit, overwrite)
        else:
            parity = _publish_file(out, format, chosen, about, model, cases, unit)
    outputs = (out,) if format == "bundle" else (out, _sidecar(out))
    return Exported(outputs, format, chosen.name, n_folds, parity, is_optimistic(chosen.selected))


def _sidecar(out: Path) -> Path:
    return out.with_name(out.name + ".json")


def _check_output(out: Path, format: str, overwrite: bool) -> None:
    """Refuse an output that is there, or cannot be, before minutes go into making it."""
    check_name(out)
    if format != "bundle" and out.is_dir():
        name = out / ("model.onnx" if format == "onnx" else "model.pt2")
        raise OutputExists(f"{out} is a folder; name the file to write, such as {name}.")
    if format == "bundle" and out.is_file():
        raise OutputExists(f"{out} is a file, but a bundle is a folder; choose another name.")
    wanted = [out] if format == "bundle" else [out, _sidecar(out)]
    taken = [path for path in wanted if not is_free(path)]
    if taken and not overwrite:
        raise OutputExists(f"{taken[0]} exists already; choose another name or add --overwrite.")
    if format == "bundle" and out.is_dir() and any(out.iterdir()) and not is_bundle(out):
        raise OutputExists(
            f"{out} is a folder, but not a bundle, so --overwrite does not delete it; choose another name."
        )


def _publish_bundle(
    run: Path,
    out: Path,
    fold: TrainedFold,
    about: dict[str, Any],
    model: Deployable,
    cases: list[Arrays],
    unit: float | None,
    overwrite: bool,
) -> Parity:
    settings = read_json(fold_folder(run, fold.name) / "checkpoint.json")["settings"]
    card = model_card(card_facts(fold, about, sum(p.numel() for p in fold.model.parameters())))
    with published_folder(out, overwrite=overwrite) as part:
        write_bundle(part, fold, settings, about, card)
        again = deployable(load_bundle(part, verify=False))
        parity = measure(model.run, again.run, cases, unit=unit)
        require_parity(parity, "bundle", _tolerance(model))
    return parity


def _publish_file(
    out: Path,
    format: str,
    fold: TrainedFold,
    about: dict[str, Any],
    model: Deployable,
    cases: list[Arrays],
    unit: float | None,
) -> Parity:
    from imer.export import onnx, torch_export

    with published_file(out) as part:
        if format == "onnx":
            onnx.write_onnx(model, part, _properties(fold, about))
            parity = onnx.onnx_parity(part, model, cases, unit)
        else:
            torch_export.write_program(torch_export.export_program(model), part)
            parity = torch_export.program_parity(part, model, cases, unit)
        require_parity(parity, f"{format} file", _tolerance(model))
        # The sidecar first: with the file itself the export is complete.
        write_json(_sidecar(out), _description(format, sha256_file(part), fold, about, model, parity))
    return parity


def _tolerance(model: Deployable) -> float:
    return TOLERANCE_OF_BATCHES if model.batch_dependent else TOLERANCE


def _properties(fold: TrainedFold, about: Mapping[str, Any]) -> dict[str, str]:
    """Return the properties kept inside an ONNX file."""
    return {
        "imer_version": __version__,
        "name": about["name"],
        "label": fold.label,
        "task": fold.task,
        "class_names": "\n".join(fold.class_names),
        "training_data_sha256": about["content_sha256"],
    }


def _description(
    format: str, sha256: str, fold: TrainedFold, about: Mapping[str, Any], model: Deployable, parity: Parity
) -> dict[str, Any]:
    """Return what lies beside an exported file: what its inputs and outputs are, and what it was compared with."""
    prepared = preprocessing(fold)
    for entry in prepared["modalities"]:
        del entry["mean"], entry["sd"]  # inside the file: it takes the features as they were extracted
    n = len(fold.modalities)
    inputs = {name: {"dtype": "float32", "shape": ["batch", "utterances", w]} for name, w in fold.modalities.items()}
    inputs["observed"] = {"dtype": "bool", "shape": ["batch", "utterances", n]}
    inputs["valid"] = {"dtype": "bool", "shape": ["batch", "utterances"]}
    if model.tells_speakers:
        inputs["speaker"] = {"dtype": "int64", "shape": ["batch", "utterances"]}
    answer = "probabilities" if model.classification else "value"
    return {
        "format": f"imer-{format}/1",
        "imer_version": __version__,
        "sha256": sha256,
        "inputs": inputs,
        "outputs": {
            answer: {"dtype": "float32", "shape": ["batch", "utterances", fold.spec.n_outputs]},
            "weights": {"dtype": "float32", "shape": ["batch", "utterances", n]},
        },
        **({"most_utterances": model.most_utterances} if model.most_utterances else {}),
        **prepared,
        "parity": {**asdict(parity), "tolerance": _tolerance(model)},
        "model": dict(about),
    }
