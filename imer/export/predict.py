"""`predict`: what a trained model says of clips, of a manifest's utterances, or of a feature store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imer.core.errors import OutputExists, UsageError, counted, listed
from imer.core.files import spare_inputs, write_text
from imer.core.json_lines import as_json_lines
from imer.export.answers import Answered, answer_store, open_model, utterances_seen
from imer.export.chosen import MeanOfFolds, why_chosen
from imer.export.clips import MANIFEST, STORE, Extraction, extract_clips, extraction_folder, write_clip_manifest
from imer.export.inputs import is_manifest, is_store, read_clips
from imer.export.table import answer_table
from imer.extraction.failures import FILE_NAME, clip_lines, write_errors
from imer.extraction.job import Progress
from imer.media.clips import Clips, Cutting
from imer.media.rows import DELIMITERS
from imer.media.tables import csv_row
from imer.training.trained_fold import TrainedFold

_OF_OTHERS = frozenset({".ods", ".parquet", ".xls", ".xlsx"})  # what somebody with such a suffix expects is no text
NO_OUTPUT = Path("predictions.jsonl")  # what failures are filed under where nothing is written


@dataclass(frozen=True)
class Predicted:
    """The answers, and all that did not go as it should.

    errors        lines of errors.jsonl: what failed, per utterance and modality
    errors_file   where they were written, if anywhere
    notes, warnings   sentences for the user
    """

    answered: Answered
    fold: TrainedFold
    errors: tuple[dict[str, Any], ...] = ()
    errors_file: Path | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass
class _Said:
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def predict(
    model: Path | str,
    inputs: Sequence[Path | str],
    *,
    text: str | None = None,
    speaker: str | None = None,
    cutting: Cutting = Cutting(),
    out: Path | None = None,
    fold: str | None = None,
    mask: Path | None = None,
    how: Extraction | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Predicted:
    """Answer clips, folders of clips, a manifest, or a feature store with the model of a run folder or a bundle.

    From clips just the features that the model reads are extracted, as they were for its training. The utterances of a
    dialogue of a manifest or store are answered together, in order; each clip that is named singly is a dialogue of its own,
    of one utterance or of the parts that `cutting` makes. `text` is the transcript of a single clip; without it the
    transcript of the clip's name beside it is taken. `speaker` is who speaks in all clips that are named singly, for a model
    that reads features relative to their speaker. With `out` the answers are written there, as a table where its suffix
    is .csv or .tsv and else as JSON lines, and failures to errors.jsonl beside it.

    Raises
    ------
    UsageError
        The inputs or options do not go together.
    InvalidInput
        The model or an input is missing or damaged; or the features are not those of the training, and cannot be made
        here.
    OutputExists
        `out` exists and `overwrite` is false.
    """
    paths = [Path(path) for path in inputs]
    how = how or Extraction()
    if out is not None:
        _check_output(out, overwrite)
        spare_inputs(out, *paths, mask)
    # The inputs before the model: what cannot be meant is said at once.
    clips = None
    if not is_store(paths):
        clips = read_clips(paths, text=text, speaker=speaker or "", cutting=cutting, allow_outside=how.allow_outside)
    elif text is not None or speaker is not None or cutting != Cutting():
        raise UsageError(
            "--text, --speaker, --window, --whole and --channels tell of clips; a feature store has its utterances already."
        )
    elif how.face_weights or how.sentence_model:
        raise UsageError(
            "--face-weights and --sentence-model are to read clips with; a feature store has its features already."
        )
    chosen, n_folds = open_model(Path(model), fold=fold, device=how.device)
    if text is not None and "text" not in chosen.modalities:
        raise UsageError(f"--text is of no use to this model, which reads {listed(chosen.modalities)}.")
    said = _Said()
    if n_folds > 1:
        which = (
            f"the mean of all {n_folds} folds"
            if isinstance(chosen, MeanOfFolds)
            else f"fold {chosen.name} of {n_folds}"
        )
        said.notes.append(f"answering with {which}: {why_chosen(chosen, fold)}.")
    errors: list[dict[str, Any]] = []
    if clips is None:
        answered = answer_store(chosen, paths[0], mask=mask, accept_versions=how.accept_versions)
    else:
        if chosen.longest_dialogue == 1 and not is_manifest(paths):
            clips = _one_by_one(clips, said)
        answered, errors = _answer_clips(chosen, paths, clips, out, mask, how, said, progress, notice)
    _comment(chosen, answered, said)
    errors = [{**line, "output": None if out is None else out.name} for line in errors]
    errors_file = None
    if out is not None:
        write_text(out, _written(chosen, answered.records, out.suffix.lower()))
        errors_file = write_errors(out, errors)
    return Predicted(answered, chosen, tuple(errors), errors_file, tuple(said.notes), tuple(said.warnings))


def _written(fold: TrainedFold, records: Sequence[dict[str, Any]], suffix: str) -> str:
    """Return the predictions as the output's suffix says: a table, or a JSON document for each line."""
    if suffix not in DELIMITERS:
        return as_json_lines(records)
    columns, rows = answer_table(fold, records, with_source=True)
    cells: list[Sequence[object]] = [columns, *([("" if cell is None else cell) for cell in row] for row in rows)]
    if suffix == ".csv":
        return "".join(map(csv_row, cells))
    return "".join("\t".join(" ".join(str(cell).split()) for cell in row) + "\n" for row in cells)


def _check_output(out: Path, overwrite: bool) -> None:
    if out.suffix.lower() in _OF_OTHERS:
        raise UsageError(
            f"Predictions are written as JSON lines or as a table: give {out} the suffix .jsonl, .csv or .tsv."
        )
    if out.name == FILE_NAME:
        raise UsageError(f"{FILE_NAME} is where failures are listed; give the predictions another name.")
    if out.is_dir():
        raise OutputExists(f"{out} is a folder; name a file, such as {out / 'predictions.jsonl'}.")
    if out.exists() and not overwrite:
        raise OutputExists(f"{out} exists already; choose another name or add --overwrite.")


def _answer_clips(
    fold: TrainedFold,
    paths: Sequence[Path],
    clips: Clips,
    out: Path | None,
    mask: Path | None,
    how: Extraction,
    said: _Said,
    progress: Progress | None,
    notice: Callable[[str], None] | None,
) -> tuple[Answered, list[dict[str, Any]]]:
    said.notes += clips.notes
    said.warnings += clips.warnings
    unread = {problem.name for problem in clips.problems}
    silent = sum(u.text is None and not {u.utterance_id, u.dialogue_id} & unread for u in clips.utterances)
    if "text" in fold.modalities and silent:
        said.notes.append(
            f"{silent} of {len(clips.utterances)} utterances come without words, so their text counts as missing."
        )
    with extraction_folder(out) as folder:
        store = folder / STORE
        if is_manifest(paths):
            manifest = paths[0]
        else:
            manifest = folder / MANIFEST
            write_clip_manifest(clips.utterances, manifest)
            how = replace(how, allow_outside=True)  # these paths are the user's own
        errors = extract_clips(manifest, fold.specs, store, how, progress=progress, notice=notice)
        errors += clip_lines(out or NO_OUTPUT, clips.problems, text="text" in fold.modalities)
        media = {u.utterance_id: str(u.visual or u.audio) for u in clips.utterances if u.visual or u.audio}
        return answer_store(fold, store, mask=mask, accept_versions=how.accept_versions, media=media), errors


def _one_by_one(clips: Clips, said: _Said) -> Clips:
    """Make each part of a clip a dialogue of its own, for a model that has never seen an utterance beside another."""
    if all(u.dialogue_id == u.utterance_id for u in clips.utterances):
        return clips
    said.notes.append("the model learnt from single utterances: the parts of a clip are answered one by one.")
    return replace(clips, utterances=[replace(u, dialogue_id=u.utterance_id, position=0) for u in clips.utterances])


def _comment(fold: TrainedFold, answered: Answered, said: _Said) -> None:
    """Say what the user should know about the answers as a whole."""
    if seen := utterances_seen(fold, answered.records):
        by_name = any(line["media"] for line in answered.records)  # clips of one name need not be the same
        said.warnings.append(
            f"{seen} of {len(answered.records)} answers are for utterances "
            f"{'of the names of those ' if by_name else ''}that the model saw in training."
        )
    if fold.longest_dialogue == 1 and len({line["dialogue_id"] for line in answered.records}) < len(answered.records):
        said.warnings.append(
            "the model learnt from single utterances, but these stand in dialogues, whose context it has never met: expect "
            "worse answers, or leave dialogue_id out."
        )
    if answered.absent:
        said.warnings.append(
            f"there are no {', '.join(answered.absent)} features; they are missing in every utterance."
        )
    if answered.ignored:
        said.notes.append(f"the model does not read the {', '.join(answered.ignored)} features; they are ignored.")
    if answered.speakerless:
        said.warnings.append(
            f"{answered.speakerless} of {len(answered.records)} utterances have no speaker, though the model was trained on "
            "features relative to their speaker: expect worse answers. --speaker names that of clips, a manifest its column "
            "speaker."
        )
    empty = sum(line["all_missing"] for line in answered.records)
    if empty:
        said.warnings.append(
            f"{empty} of {len(answered.records)} utterances have no observed modality: their answer (all_missing) is no "
            "statement about them."
        )
    if answered.unanswered:
        lost = counted(len(answered.unanswered), "utterance has", "utterances have")
        said.warnings.append(f"{lost} no answer, for want of a clip that can be read.")
