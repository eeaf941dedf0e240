"""From raw clips to a feature store with just the features that a model reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.files import make_folder, write_text
from imer.core.folders import scratch_folder
from imer.core.json_lines import read_json_lines
from imer.core.registry import NONE, entries
from imer.core.types import MODALITIES, FeatureSpec, Utterance
from imer.extraction.failures import FILE_NAME
from imer.extraction.job import ExtractSettings, Progress
from imer.extraction.recipe import OF_SOME, Recipe, taken_by
from imer.extraction.runner import extract
from imer.extraction.staging import staging_folder
from imer.store.reader import FeatureStore

MANIFEST, STORE = "clips.jsonl", "features.h5"  # in the folder where clips are extracted
# Settings of extractors that a feature's description holds under the same name.
DESCRIBED_OPTIONS = ("frames_per_s", "face_policy", "face_stride", "face_precision")


@dataclass(frozen=True)
class Extraction:
    """How to read clips: what a feature's description cannot know, since it names files of this machine."""

    workers: str = "1"
    device: str = "auto"
    face_weights: str | None = None
    sentence_model: str | None = None
    allow_outside: bool = False
    accept_versions: bool = False


def needed_recipe(specs: Mapping[str, FeatureSpec], how: Extraction) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the extractor of each modality and the options that make the model's features again.

    Raises
    ------
    InvalidInput
        The features come from no extractor that is here, or this machine's extractor would make other numbers.
    MissingDependency
        An extractor needs a package or weights that are not here.
    UsageError
        A model or weights are named that none of its extractors reads.
    """
    known = entries("extractors")
    foreign = [
        f"{name} ({spec.extractor})"
        for name, spec in specs.items()
        if name not in MODALITIES or spec.extractor not in known
    ]
    if foreign:
        imported = any(spec.is_array for spec in specs.values())
        why = "were imported as arrays" if imported else "are made by no extractor that is installed here"
        raise InvalidInput(
            f"This model cannot read raw clips: its features {listed(foreign)} {why}. Give it a feature store with the same "
            "features instead: imer predict MODEL FEATURES.h5."
        )
    options: dict[str, Any] = {}
    for name, spec in specs.items():
        described = {"level": spec.level, **{k: spec.config[k] for k in DESCRIBED_OPTIONS if k in spec.config}}
        wanted = {key: value for key, value in described.items() if key in taken_by(spec.extractor)}
        for key, value in wanted.items():
            if options.setdefault(key, value) != value:
                raise InvalidInput(
                    f"This model's features were extracted with different settings of {key} ({options[key]!r}; {name}: "
                    f"{value!r}), which one pass over the clips cannot do; use `imer extract` and give FEATURES.h5."
                )
    options |= {"face_weights": how.face_weights, "sentence_model": how.sentence_model}
    names = {m: specs[m].extractor if m in specs else NONE for m in MODALITIES}
    recipe = Recipe.of(names["audio"], names["text"], names["visual"], options, "cpu")
    if useless := recipe.useless():
        raise UsageError(
            f"{OF_SOME[useless[0]][0]} is of no use to this model, which reads {listed(recipe.extractors.values())}."
        )
    here = recipe.specs()
    for name, spec in specs.items():
        differences = spec.differences(here[name], accept_versions=how.accept_versions)
        if differences:
            advice = "; --accept-versions tries it all the same" if differences[0].startswith("version") else ""
            raise InvalidInput(
                f"The {name} extractor {spec.extractor} of this machine would make other numbers than those that the model was "
                f"trained on: {listed(differences, 3)}. Install what the model was trained with, or train it anew{advice}."
            )
    return names, options


def write_clip_manifest(utterances: Sequence[Utterance], path: Path) -> None:
    """Write a manifest of utterances with absolute paths; one without words has no text, which is not an empty one."""
    lines = []
    for u in utterances:
        row: dict[str, Any] = {"utterance_id": u.utterance_id, "dialogue_id": u.dialogue_id, "position": u.position}
        for column, media in (("audio", u.audio), ("visual", u.visual)):
            if media is not None:
                row[column] = str(media.absolute())
        if u.channel is not None:
            row["audio_channel"] = str(u.channel)
        row |= {column: at for column, at in (("start", u.start_s), ("end", u.end_s)) if at is not None}
        if u.text is not None:
            row["text"] = u.text
        if u.speaker:
            row["speaker"] = u.speaker
        lines.append(json.dumps(row, ensure_ascii=False))
    write_text(path, "\n".join(lines) + "\n")


@contextmanager
def extraction_folder(output: Path | None) -> Iterator[Path]:
    """Yield a folder to extract in, which is gone once all is answered.

    Beside an output it is `<output>.staging`, and stays where the command is interrupted: the same command goes on from
    what is done. Without an output it is a temporary one.
    """
    if output is None:
        with scratch_folder(None) as folder:
            yield folder
        return
    folder = staging_folder(output)
    make_folder(folder)
    try:
        yield folder
    except BaseException:
        if not (folder / STORE).exists() and not staging_folder(folder / STORE).exists():
            _clear(folder)  # nothing was done
        raise
    _clear(folder)


def _clear(folder: Path) -> None:
    """Delete what an extraction left in its folder; what others put there stays, and what was begun for other clips."""
    for name in (MANIFEST, STORE, FILE_NAME):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def extract_clips(
    manifest: Path,
    specs: Mapping[str, FeatureSpec],
    store: Path,
    how: Extraction,
    *,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Extract the features that `specs` describe into a store; return what failed, as lines of errors.jsonl.

    A store that is there already was finished by a command that was interrupted before it could answer: what is in it is
    taken over.

    Raises
    ------
    InvalidInput, MissingDependency
        As `needed_recipe`.
    """
    names, options = needed_recipe(specs, how)
    summary = extract(
        manifest,
        store,
        audio=names["audio"],
        text=names["text"],
        visual=names["visual"],
        device=how.device,
        settings=ExtractSettings(
            workers=how.workers,
            allow_outside=how.allow_outside,
            overwrite=True,
            add=store if _holds(store, specs) else None,
        ),
        progress=progress,
        notice=notice,
        **options,
    )
    return read_json_lines(store.parent / FILE_NAME) if summary.errors_file is not None else []


def _holds(store: Path, specs: Mapping[str, FeatureSpec]) -> bool:
    """Whether a store is there with these very features, and not those of another model."""
    with suppress(InvalidInput), FeatureStore.open(store) as found:
        made = [found.specs.get(name, {}).get(spec.extractor) for name, spec in specs.items()]
        wanted = [spec.fingerprint for spec in specs.values()]
        return [spec and spec.fingerprint for spec in made] == wanted
    return False
