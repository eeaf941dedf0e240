"""What the campaign of effects is told beside the lines and values of `option_values.py`, and why an option may do nothing."""

from __future__ import annotations

MANNERS = (
    "json",
    "quiet",
    "verbose",
    "log_file",
    "overwrite",
)  # the same code in every command: one line each is enough
AGAIN = ("overwrite", "train.resume")  # about what is there already: tried on what the same line has just made
GUESSES = ("1", "2", "0.5", "audio", "f.h5", "new")  # values of an option that `option_values.py` does not know yet

# By `command.option` or option, instead of the values of `option_values.py`.
VALUES: dict[str, tuple[str, ...]] = {
    "visual": ("face/geometry-hog", "none"), "frames_per_s": ("1",), "face_stride": ("1",), "face_policy": ("central",),
    "log_file": ("log.jsonl",), "device": ("cpu",), "workers": ("2",), "jobs": ("2",), "max_epochs": ("3",), "seed": ("7",),
    "train.out": ("other",), "sweep.out": ("other",), "eval.out": ("other",), "train.preset": ("dpl",), "head": ("dpl",),
    "train.assignments": ("train.seed=3",), "sweep.assignments": ("train.class_weights=none",), "batch_size": ("16",),
    "demo.utterances": ("13",), "sweep.grid": ("train.class_weights=none,balanced",),
    "sweep.config": ("runs/folds/config.toml",), "sweep.missing_rates": ("0.5",), "sweep.modalities": ("audio,text",),
}  # fmt: skip

_FACES = "clips.csv -o out.h5 --audio none --text none --limit 1 --workers 1"
_CLIPS = "--text campaign/letters --visual none --workers 1"
_FEW = "--label emotion --seeds 1 --mask-seeds 1 --device cpu --jobs 1"
# By `command.option`: lines in which it takes effect, where those of `option_values.py` do not show it.
WHERE: dict[str, tuple[str, ...]] = {
    "data import.manifest": ("arrays --features audio=arrays/audio.npy -o out.h5",),
    "data import.labels": ("csd --features audio=covarep.csd -o out.h5",),
    "data inspect.list_globals": ("mmsa.pkl",), "data merge.allow_missing": ("s1.h5 -o out.h5",),
    "extract.frames_per_s": (_FACES,), "extract.face_policy": (_FACES,), "extract.face_stride": (_FACES,),
    "extract.max_failures": (f"broken.csv -o out.h5 {_CLIPS}",),
    "extract.resume": (f"broken.csv -o out.h5 {_CLIPS} --max-failures 0 && broken.csv -o out.h5 {_CLIPS}",),
    "extract.allow_outside": (f"deep/outside.csv -o out.h5 {_CLIPS}",),
    "predict.allow_outside": ("bundles/clips deep/outside.csv --workers 1 --device cpu",),
    "predict.speaker": ("bundles/clips clips --workers 1 --device cpu --json",),
    "sweep.config": (f"f.h5 -o out --models mlp {_FEW} --max-epochs 1 --missing-rates 0",),
    "sweep.grid": (f"f.h5 -o out --models linear {_FEW} --missing-rates 0",),
    "sweep.heads": (f"f.h5 -o out --models transformer {_FEW} --max-epochs 1 --missing-rates 0",),
    "sweep.overwrite": (f"f.h5 -o sweep --models linear {_FEW} --set train.class_weights=none",),
}  # fmt: skip

_NO_NOTES = "says nothing that could be left unsaid"
_WEIGHTS = "needs weights that are not in the repository"
# Options that no line here can show at work, by `command.option` or option, and why.
NOWHERE: dict[str, str] = {
    "verbose": "shows where a bug is, and there is none", "workers": "speed only", "jobs": "speed only",
    "device": "the same processor by another name", "engine": "Ray: tests/extraction/test_ray.py",
    "address": "Ray: tests/extraction/test_ray.py", "face_precision": _WEIGHTS, "face_weights": _WEIGHTS,
    "download": _WEIGHTS, "sentence_model": "needs a model folder: tests/extractors/test_sentence.py",
    "accept_versions": "the extractors are those of the training: tests/export/test_predict.py",
    "mask.quiet": _NO_NOTES, "ls.quiet": _NO_NOTES, "doctor.quiet": _NO_NOTES, "data import.quiet": _NO_NOTES,
    "data export.quiet": _NO_NOTES, "data inspect.quiet": _NO_NOTES, "data verify.quiet": _NO_NOTES,
    "data merge.quiet": _NO_NOTES, "report.quiet": _NO_NOTES,
    "predict.text": "the models of clips here read sounds alone: tests/cli/test_predict.py",
}  # fmt: skip

_FITTED = "a fitted model, which says that it has no use for it"
_PLANNED = "--dry-run tells no more than names"
# Options that do nothing in some line which takes them, by `command.option` or option, and why that is as it should be.
IDLE: dict[str, str] = {
    "quiet": "there are lines without notes", "overwrite": "nothing is there; RUN_DIR/eval is replaced anyway",
    "allow_outside": "nothing lies outside", "max_failures": "nothing fails", "extract.resume": "nothing was begun",
    "whole": "no timed transcript lies beside", "window": "a timed transcript lies beside",
    "predict.speaker": "stands in what -o and --json give", "sweep.overwrite": "nothing was made with other settings",
    "mask.protocol": "the one that --pattern speaks of", "train.model": "that of --config",
    "train.members": "as many as in --config", "train.protocol": "the default, or that of --config",
    "train.max_epochs": _FITTED, "train.batch_size": _FITTED, "sweep.max_epochs": _FITTED, "sweep.out": _PLANNED,
    "sweep.modalities": _PLANNED, "sweep.missing_rates": _PLANNED, "sweep.pattern": _PLANNED,
    "sweep.mask_seeds": _PLANNED, "sweep.assignments": _PLANNED, "sweep.folds": _PLANNED, "sweep.config": _PLANNED,
    "data merge.allow_missing": "nothing is missing", "report.reference": "the default by its name",
}  # fmt: skip
ALONE = {"eval": "--explain"}  # says something and ends, whatever else the line has; tried with the manners only
