"""What the campaign of options puts on its lines: lines that work, values that options take, and values that they do not."""

from __future__ import annotations

NUMBERS = (
    "0", "1", "-1", "2", "0.5", "1.0", "-0", "-0.0", "0.9999999", "1e-300", "1e300", "nan", "inf", "-inf", "1e9",
    "1_000",
    "٣", "0x10", " 3", "3 ", "2147483648", "-9223372036854775809", "99999999999999999999", "1/2", "1%", "50%", "+1",
)  # fmt: skip
WORDS = (
    "", " ", ",", ",,", "none", "NONE", "all", "auto", "null", "True", "-", "--", "=", "a=b", "=b", "a=", "a=b=c",
    "x", "ärger",
    "笑い", "e\u0301motion", "🙂", "a\nb", "a\tb", "tab\\t", "%s", "{}", "[bold]", "../x", "/", ".", "..", "~", "*",
    "a,b", "at", "a,a",
    "audio", "text=0.5", "audio=nan", "0:1", "0:0.7:0", "0:0.7:-0.1", "1:0:0.1", "0:0.7:1e-300", "0:inf:1",
    "nan:0:1", "0::",
    "word " * 80, "y" * 300, "\udcff", "surrogate\ud800", "\x1b[31m", "\u202e", "con", "a;b", "'", '"', "\\",
)  # fmt: skip
PATHS = (
    "gone.h5", "gone/er/x", "empty", "words.txt", "list.json", "cut.h5", "cut.npy", "folder", "nothing", "closed",
    "loop",
    "dangling", "pipe", "/dev/null", "/dev/zero", "", ".", "..", "/", "~", "f.h5", "two.h5", "mask.h5", "clips.csv",
    "clips.h5",
    "clips", "clips/c0.mp4", "known.csv", "runs", "runs/comp", "bundles/comp", "m.onnx", "mmsa.pkl", "labels.csd",
    "head.csv",
    "bad.toml", "f.h5/x", "f.h5/", "x" * 300, "ä/ö", "\udcff.h5", "unlabelled.h5", "stereo.wav", "runs/damaged",
)  # fmt: skip
OUTPUTS = (
    "out", "out.h5", "new/deep/out.h5", "out.csv", "out.tsv", "out.jsonl", "out.md", "out.tex", "out.html", "-", "",
    "out/",
    "./out.h5", "ünï/çø.h5", "out\n.h5", "out.H5", "out.json", "out.onnx", "out.pt2", "out.pkl", "out.h5.staging",
    ".out",
)  # fmt: skip

STORES = ("f.h5", "f.h5", "other.h5", "two.h5", "clips.h5", "unlabelled.h5", "ünï côdé.h5", "./f.h5")
RUNS = (
    "runs/comp", "runs/reg", "runs/folds", "runs/members", "runs/dpl", "runs/majority", "runs/clips", "bundles/comp",
    "bundles/clips", "sweep/runs/linear_mixed_seed0", "runs/comp/", "sweep",
)  # fmt: skip
RATES = ("0", "0.5", "0.3", "0:0.6:0.3", "0,0.3", "audio=0.2,text=0.5", "0.6667", "0.67", "0.7", "1", "0.5,0.5")
DEVICES = ("auto", "cpu", "cpu", "cpu:0", "cuda", "cuda:0", "cuda:99", "mps", "CPU", "meta", "cuda:")
MODELS = ("comp", "mlp", "linear", "majority", "transformer", "momke", "unimodal", "late-fusion", "comp-official")
SETTINGS = (
    "train.seed=3", "model.hidden=16", "model.hidden=17", "model.hidden=0", "model.hidden=nan", "train.threads=1",
    "train.patience=1",
    "train.learning_rate=0", "train.learning_rate=1e300", "train.learning_rate=nan", "train.batch_utterances=1",
    "data.within_speaker=all", "data.within_speaker=audio", "data.folds=speaker", "data.label=take",
    "run.model=mlp", "head.x=1",
    "model.blocks=1", "train.validation_share=0", "train.validation_share=1", "train.members=2",
    "train.precision=bfloat16",
    "train.protocol=matched", "train.missing_rate=0.5", "data.modalities=audio", "train.max_epochs_joint=0",
    "train=1", "train.=1",
    "train.sede=1", "train.seed", "=", "train.seed=", "train.seed=-1", "train.seed=1.5", "train.threads=0",
    "model.input_dropout=1",
    "train.device=cuda", "train.selection=test", "head.n_prototypes=2", "run.head=dpl", "run.preset=dpl",
    "train.checkpoint_every_s=0",
)  # fmt: skip
PROTOCOLS = ("mixed", "matched", "complete", "exact", "bernoulli", "nested", "pattern", "instance", "imbalanced", "cpm")

# By `command.option`, or by the option's name alone where it means the same everywhere. What is not here is drawn
# from NUMBERS, WORDS and PATHS: a new option is tried from the day it is there.
TAKEN: dict[str, tuple[str, ...]] = {
    "accept_versions": (), "add": ("clips.h5", "s1.h5", "f.h5"), "address": ("local", "nowhere:1"),
    "audio": ("none", "opensmile/egemaps", "minilm"),
    "assignments": SETTINGS, "batch_size": ("16", "1", "100000"), "channels": ("left,right", "a,b", "agent,", "a,a",
    "a", "1,2", "ann,,bob"),
    "clips": ("clips", "clips/c0.mp4", "clips/called.wav", "stereo.wav", "clips/c1.wav"), "code": ("E-TRUNCATED",
    "silent", "decode_error", "e-truncated"),
    "config": ("runs/comp/config.toml", "runs/folds/config.toml", "bad.toml"), "device": DEVICES,
    "engine": ("local",),
    "face_policy": ("largest", "central", "confident"), "face_precision": ("float32", "bfloat16"),
    "face_stride": ("1", "8"),
    "face_weights": ("empty", "folder"), "features": STORES, "file": ("f.h5", "mask.h5", "bundles/comp",
    "runs/comp", "runs/comp/checkpoint", "sweep", "clips.h5"),
    "fold": ("0", "1", "all", "3"), "folds": ("session", "speaker", "take", "2", "none", "3", "1", "100", "emotion",
    "split", "utterance_id"),
    "format": ("bundle", "onnx", "torch-export"), "frames_per_s": ("5", "1", "0.1", "1000"),
    "grid": ("model.hidden=8,16", "train.seed=0,1", "model.hidden=8", "model.hidden="),
    "head": ("linear", "dpl"), "heads": ("linear", "dpl", "linear,dpl"), "inputs": ("f.h5", "clips.csv", "clips",
    "clips/c0.mp4", "clips/called.wav", "clips.h5", "stereo.wav"),
    "jobs": ("1", "2", "auto"), "kind": ("extractors", "models", "protocols", "metrics", "presets", "settings",
    "schemas", "heads"),
    "data export.kind": ("csv", "arrays", "gcnet", "mmsa"), "data import.kind": ("csv", "arrays", "gcnet", "mmsa",
    "csd"),
    "data import.source": ("mmsa.pkl", "gcnet"), "data import.manifest": ("arrays/m.csv", "tables/utterances.csv"),
    "data import.labels": ("labels.csd",),
    "data import.features": ("audio=arrays/audio.npy", "text=arrays/text.npy", "audio=tables/audio.csv",
    "audio=covarep.csd", "audio=audio", "smell=arrays/audio.npy"),
    "data inspect.features": (*STORES, "mmsa.pkl"), "label": ("emotion", "sentiment", "take", "speaker"),
    "labels": ("known.csv", "clips.csv"),
    "level": ("utterance", "frame"), "limit": ("1", "3", "100"), "log_file": ("log.jsonl", "new/log.jsonl"),
    "manifest": ("clips.csv", "known.csv"),
    "mask": ("mask.h5", "test_mask.h5"), "mask_seeds": ("1", "2"), "max_epochs": ("1", "2"), "max_failures": ("0",
    "1", "50%", "100%", "101%"),
    "members": ("1", "2"), "missing_rate": RATES, "missing_rates": RATES, "modalities": ("audio,text", "text",
    "audio,text,visual", "at", "text,audio"),
    "model": MODELS, "predict.model": RUNS, "models": ("majority", "linear", "majority,linear",
    "majority,majority"), "out": OUTPUTS, "out_dir": ("out", "folder", "nothing"),
    "parts": ("s1.h5", "s2.h5", "s1.h5", "clips.h5"), "pattern": ("a", "at", "all", "a,t,at", "atv", "audio", "ta"),
    "preset": ("comp", "dpl", "dpl-paper", "comp-paper"),
    "presets": ("dpl",), "protocol": PROTOCOLS, "protocols": ("mixed", "matched", "complete", "mixed,matched"),
    "reference": ("comp", "majority", "linear"),
    "run": RUNS, "runs": ("runs/comp", "runs/majority", "runs/reg", "runs/folds", "sweep/runs/linear_mixed_seed0"),
    "seed": ("0", "1", "7"), "seeds": ("1", "0", "0,3", "2"),
    "sentence_model": ("folder",), "shard": ("1/2", "0/2", "2/2", "3/2", "1/1"), "speaker": ("ann", "s0"),
    "split": ("train", "val", "test"),
    "text": ("campaign/letters", "none", "opensmile/egemaps"), "predict.text": ("what was said",),
    "utterances": ("1", "2"), "visual": ("none",),
    "window": ("0.3", "1", "1e-9"), "workers": ("1", "2", "auto"),
}  # fmt: skip

# What would be done as asked and take for ever, or burden the machine: nothing that a line can show.
LONG: dict[str, frozenset[str]] = {
    name: frozenset({"2147483648", "99999999999999999999", "1e9", "1_000", "100000", "0x10", "1e300"})
    for name in ("utterances", "max_epochs", "members", "mask_seeds", "seeds", "workers", "jobs", "level")
}

_TINY = "--device cpu --max-epochs 1 --members 1 --set train.threads=1"
LINES: dict[str, tuple[str, ...]] = {
    "demo": ("out --utterances 11 --workers 1",) * 7 + ("out --utterances 12 --workers 1",),
    "extract": (
        "clips.csv -o out.h5 --text campaign/letters --visual none --workers 1",
        "clips.csv -o out.h5 --audio none --text campaign/letters --visual none --workers 1",
        "clips.csv -o out.h5 --add clips.h5 --workers 1",
    ),
    "mask": ("f.h5 -o out.h5 --missing-rate 0.5", "f.h5 -o out.h5 --pattern at", "f.h5 -o out.h5"),
    "train": (
        f"f.h5 -o out {_TINY} --model mlp --label emotion", f"f.h5 -o out {_TINY} --model linear --label sentiment",
        f"f.h5 -o out {_TINY} --label emotion", f"f.h5 -o runs/reg {_TINY} --model linear --label sentiment --resume",
        "-o out --config runs/reg/config.toml",
    ),
    "eval": (
        "runs/comp --mask-seeds 1 --device cpu", "runs/reg f.h5 -o out --mask-seeds 1 --device cpu", "--explain",
        "bundles/comp other.h5 -o out --mask-seeds 1 --device cpu",
        "runs/folds --missing-rate 0.5 --mask-seeds 1 --device cpu",
    ),
    "sweep": (
        "f.h5 -o out --models majority --label emotion --seeds 1 --mask-seeds 1 --device cpu --jobs 1 --dry-run",
        "f.h5 -o sweep --models majority,linear --label emotion --seeds 1 --mask-seeds 1 --device cpu --jobs 1",
        "f.h5 -o out --models majority --label emotion --seeds 1 --mask-seeds 1 --device cpu --jobs 1 --missing-rates 0",
    ),
    "predict": (
        "bundles/comp other.h5 --device cpu", "runs/folds f.h5 --device cpu -o out.csv",
        "bundles/clips clips --workers 1 --device cpu",
        "bundles/clips clips.csv --workers 1 --device cpu -o out.jsonl",
        "bundles/clips stereo.wav --workers 1 --device cpu",
    ),
    "export": ("runs/comp -o out", "runs/folds -o out", "bundles/comp -o out.onnx --format onnx"),
    "report": ("runs/comp runs/majority -o out.md", "runs/reg -o out.html",
    "runs/comp runs/majority -o out.tex --table"),
    "ls": ("models", "settings"),
    "doctor": ("", "E-TRUNCATED"),
    "data manifest": ("clips -o out.csv", "clips -o out.csv --labels known.csv",
    "stereo.wav -o out.csv --channels ann,bob"),
    "data import": (
        "arrays --manifest arrays/m.csv --features audio=arrays/audio.npy -o out.h5", "mmsa mmsa.pkl -o out.h5",
        "csv --manifest tables/utterances.csv --features audio=tables/audio.csv -o out.h5",
        "gcnet gcnet --features audio=audio -o out.h5",
        "csd --labels labels.csd --features audio=covarep.csd -o out.h5",
    ),
    "data export": ("csv f.h5 -o out", "arrays f.h5 -o out", "gcnet f.h5 -o out", "mmsa f.h5 -o out.pkl"),
    "data inspect": ("f.h5", "mmsa.pkl --globals"),
    "data verify": ("f.h5", "mask.h5", "bundles/comp"),
    "data merge": ("s1.h5 s2.h5 -o out.h5", "s1.h5 -o out.h5 --allow-missing"),
}  # fmt: skip
NEED_NETWORKS = ("train", "eval", "sweep", "predict", "export", "report")


def names_in(text: str) -> list[str]:
    """Return the names that an option of a campaign lists, apart by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def needs_networks(commands: list[str]) -> bool:
    """Say whether one of these commands, or of all where none is named, has inputs that networks made."""
    return not commands or any(name in NEED_NETWORKS for name in commands)
