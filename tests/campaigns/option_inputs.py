"""What the lines of the campaign of options are tried on: small inputs that the product made itself, and unusable ones."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from tests.campaigns import workbench
from tests.clips import face, voice, write_clip, write_manifest
from tests.interop.test_foreign import write_csd
from tests.stores import write_small_store

CUES = "1\n00:00:00,000 --> 00:00:00,300\nfirst words\n\n2\n00:00:00,300 --> 00:00:00,600\nANN: other words\n"
TRAINED = ("--device", "cpu", "--max-epochs", "1", "--members", "1", "--set", "train.threads=1")


def made(*words: str) -> None:
    """Have the product make something here, in a fork."""
    code = workbench.finished(workbench.command(*words, "-q"), Path("said"))
    assert code == 0, f"{' '.join(words)}: exit {code}: {Path('said').read_text()}"
    Path("said").unlink()


def make_inputs(folder: Path, *, networks: bool) -> None:
    """Make them all in a folder, under names relative to it; trained runs and what comes of them only with `networks`."""
    before = Path.cwd()
    folder.mkdir(parents=True)
    os.chdir(folder)
    try:
        _stores()
        _clips()
        _foreign()
        _unusable()
        if networks:
            _runs()
    finally:
        os.chdir(before)


def _stores() -> None:
    write_small_store(Path("f.h5"), n_dialogues=10)
    write_small_store(Path("two.h5"), n_dialogues=5, modalities=("audio", "text"), prefix="other_", speakers=False)
    write_small_store(Path("other.h5"), n_dialogues=5, prefix="else_", seed=1)
    write_small_store(Path("unlabelled.h5"), n_dialogues=5, unlabelled_splits=("train", "val", "test"))
    shutil.copy("f.h5", "ünï côdé.h5")
    made("mask", "f.h5", "-o", "mask.h5", "--missing-rate", "0.5")
    made("mask", "f.h5", "-o", "test_mask.h5", "--missing-rate", "0.3", "--split", "test")


def _clips() -> None:
    Path("clips").mkdir()
    rows = []
    for i in range(8):
        name = f"c{i}.wav" if i else "c0.mp4"
        codec = "pcm_s16le" if i else "aac"
        sound = voice(0.6, 110 + 40 * i)
        write_clip(Path("clips", name), seconds=0.6, picture=None if i else face, sound=sound, audio_codec=codec)
        row = {"utterance_id": f"u{i}", "media": f"clips/{name}", "text": "" if i == 3 else f"words, number {i}"}
        rows.append(row | {"speaker": f"s{i % 2}", "split": ("train", "val", "test", "train")[i % 4]})
        rows[-1] |= {"emotion": ("calm", "joy")[i % 2 ^ i // 4], "dialogue_id": f"d{i // 2}", "position": i % 2}
    write_manifest(Path("clips.csv"), rows)
    write_manifest(Path("broken.csv"), [*rows[1:3], {"utterance_id": "no sound", "media": "words.txt"}])
    Path("deep").mkdir()
    write_manifest(Path("deep/outside.csv"), [{**row, "media": f"../{row['media']}"} for row in rows[1:3]])
    write_manifest(Path("known.csv"), [{"file": Path(str(r["media"])).name, "emotion": r["emotion"]} for r in rows])
    shutil.copy("clips/c1.wav", "clips/called.wav")
    Path("clips/called.srt").write_text(CUES)
    both = np.stack([voice(0.6), voice(0.6, 240)])
    write_clip(Path("stereo.wav"), picture=None, sound=both, audio_codec="pcm_s16le")
    features = ("--text", "campaign/letters", "--visual", "none", "--workers", "1")
    made("extract", "clips.csv", "-o", "clips.h5", *features)
    for part in "12":
        made("extract", "clips.csv", "-o", f"s{part}.h5", "--shard", f"{part}/2", *features)


def _foreign() -> None:
    workbench.arrays(Path("arrays"))
    made("data", "export", "csv", "f.h5", "-o", "tables")
    made("data", "export", "gcnet", "f.h5", "-o", "gcnet")
    made("data", "export", "mmsa", "f.h5", "-o", "mmsa.pkl")
    write_csd(Path("labels.csd"), {"a": ([[1.5], [-2.0]], [[0, 2], [2, 4]]), "b": ([[0.0]], [[1, 3]])})
    write_csd(Path("covarep.csd"), {"a": (np.ones((8, 3)), np.column_stack([np.arange(8), np.arange(8) + 1]) / 2)})


def _unusable() -> None:
    """Files that are not what they are called, and things that are no files."""
    Path("empty").touch()
    Path("words.txt").write_text("These are words.\n")
    Path("list.json").write_text("[]\n")
    Path("bad.toml").write_text("[train\nseed = \n")
    Path("head.csv").write_text("utterance_id,text\n")
    Path("cut.h5").write_bytes(Path("f.h5").read_bytes()[:5000])
    Path("cut.npy").write_bytes(Path("arrays/audio.npy").read_bytes()[:40])
    Path("folder").mkdir()
    Path("folder/kept").write_text("kept\n")
    Path("nothing").mkdir()
    Path("closed").write_text("nobody may read this\n")
    Path("closed").chmod(0)
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("gone_too")
    os.mkfifo("pipe")


def _runs() -> None:
    for name, more in {
        "comp": ("--label", "emotion"), "reg": ("--label", "sentiment", "--model", "linear"),
        "folds": ("--label", "emotion", "--model", "mlp", "--folds", "session"),
        "members": ("--label", "sentiment", "--model", "transformer", "--members", "2"),
        "dpl": ("--label", "emotion", "--head", "dpl"), "majority": ("--label", "emotion", "--model", "majority"),
    }.items():  # fmt: skip
        made("train", "f.h5", "-o", f"runs/{name}", *TRAINED, *more)
    of_clips = ("--model", "mlp", "--label", "emotion", "--modalities", "audio")
    made("train", "clips.h5", "-o", "runs/clips", *TRAINED, *of_clips)
    for name in ("comp", "majority", "reg"):
        made("eval", f"runs/{name}", "--missing-rate", "0,0.5", "--mask-seeds", "2", "--device", "cpu")
    for name in ("comp", "clips"):
        made("export", f"runs/{name}", "-o", f"bundles/{name}")
    made("export", "runs/comp", "-o", "m.onnx", "--format", "onnx")
    few = ("--label", "emotion", "--seeds", "1", "--mask-seeds", "1", "--device", "cpu", "--jobs", "1")
    made("sweep", "f.h5", "-o", "sweep", "--models", "majority,linear", *few)
    shutil.copytree("runs/comp", "runs/damaged")
    Path("runs/damaged/checkpoint/model.safetensors").write_bytes(b"no weights")
