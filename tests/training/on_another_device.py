"""Train, evaluate, export and read back every kind of model on a device that is not the CPU; print what went wrong.

    python -m tests.training.on_another_device FOLDER

Run by `test_another_device.py`, in a process of its own.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import numpy as np
import torch

from imer.evaluation.evaluate import evaluate
from imer.export import answers
from imer.export.publish import export
from imer.extractors.networks import as_function
from imer.training import train as training
from imer.training import trained_fold
from tests.stand_in import DEVICE, stand_in
from tests.stores import write_small_store

COMMON = (
    "train.max_epochs_branches=1", "train.max_epochs_joint=2", "train.batch_utterances=32", "train.threads=1",
    "train.validation_masks=1", "train.members=1",
)  # fmt: skip
SMALL = ("model.hidden=16", "model.heads=2")
COMP = (*SMALL, "model.prompt_width=4", "model.n_prototypes=4")
SENTIMENT = "data.label=sentiment"
CASES = {
    "comp": COMP,
    "comp, values": (*COMP, SENTIMENT),
    "comp, as published": (
        *COMP, "model.attention=published", "model.prototypes=batch", "model.longest_dialogue=32", "model.keys=valid",
        "model.regulator=paper", "model.positions=sinusoidal", "model.prompt_head=paper",
    ),
    "comp, other parts": (
        *COMP, "model.positions=rotary", "model.prototypes=dialogue", "model.missing_prompts=case",
        "model.speaker_embedding=true", "model.coordinator=concat", "train.protocol=instance", "train.missing_rate=0.3",
        "data.within_speaker=audio",
    ),
    "comp, causal": (
        *COMP, "model.causal=true", "model.missing_prompts=modality", "model.bank_start=kmeans", "train.optimiser=adam",
        "train.carry_optimiser=true", "train.average_epochs=0",
    ),
    "comp, several": (*COMP, "train.members=2", "train.precision=bfloat16"),
    "prototypes": (*COMP, "run.head=dpl"),
    "prototypes, values": (*COMP, "run.head=dpl", SENTIMENT, "head.sharing=additive"),
    "prototypes, axis": (*COMP, "run.head=dpl", SENTIMENT, "head.attach=concatenated", "head.decoder=axis"),
    "prototypes, all": (*COMP, "run.head=dpl", "head.sharing=full", "head.absent=trainable", "head.normalise=joint"),
    "official": ("run.preset=comp-official",),
    "transformer": (*SMALL, "run.model=transformer", "run.head=dpl"),
    "mlp": ("run.model=mlp", "model.modality_dropout=0.2"),
    "momke": (*SMALL, "run.model=momke"),
    "late-fusion": (*SMALL, "run.model=late-fusion"),
    "unimodal": (*SMALL, "run.model=unimodal", "model.modality=audio"),
    "linear": ("run.model=linear",),
    "ridge": ("run.model=linear", SENTIMENT, "data.within_speaker=all"),
    "majority": ("run.model=majority",),
}  # fmt: skip
EXPORTED = ("comp", "prototypes")  # two suffice: whatever is exported is exported on the CPU


def what_goes_wrong(name: str, store: Path, folder: Path) -> str:
    """Return the error of a case, with the lines of `imer` that led to it; "" for none."""
    preset = next((text.split("=")[1] for text in CASES[name] if text.startswith("run.preset=")), None)
    settings = [text for text in CASES[name] if not text.startswith("run.preset=")]
    try:
        with stand_in():
            training.train(store, folder / name, preset=preset, assignments=[*COMMON, *settings])
            evaluate(folder / name, missing_rate="0,0.5", mask_seeds=1, replicates=50, plots=False)
            where = folder / name
            if name in EXPORTED:
                export(where, where := folder / f"{name}-bundle")
            model, _ = answers.open_model(where)
            answered = answers.answer_store(model, store)
        assert model.device == DEVICE
        assert np.isfinite([list(record["weights"].values()) for record in answered.records]).all()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the test is about
        lines = [f for f in traceback.extract_tb(error.__traceback__) if "/imer/" in f.filename]
        where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in lines[:-6:-1])
        return f"{type(error).__name__}: {str(error)[:300]} at {where}"
    return ""


def main(folder: Path) -> int:
    for module in (training, trained_fold):
        module.chosen_device = lambda name: str(DEVICE)
    refused = 0
    with stand_in():
        far = torch.ones(3, device=DEVICE)
        for mixed in (lambda: far + torch.ones(3), lambda: torch.ones(3)[far.long()], far.numpy):
            try:
                mixed()
            except (RuntimeError, TypeError):
                refused += 1
        network = torch.nn.Conv2d(3, 2, 3)
        pictures = np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32)
        (found,) = as_function(lambda: network, "a network", pictures.shape, ("found",), str(DEVICE))(pictures)
    assert refused == 3, "the stand-in lets devices be mixed"
    assert np.allclose(found, network.cpu()(torch.from_numpy(pictures)).detach().numpy(), atol=1e-6)
    store = write_small_store(folder / "f.h5", n_dialogues=10, length=4)
    wrong = {name: error for name in CASES if (error := what_goes_wrong(name, store, folder))}
    for name, error in wrong.items():
        print(f"{name}: {error}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
