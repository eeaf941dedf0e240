"""The model as a `torch.export` program (.pt2): one file that runs without imer's code."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch
from torch.export import ExportedProgram

from imer.export.deployable import Deployable
from imer.export.parity import Arrays, Parity, measure


def export_program(model: Deployable) -> ExportedProgram:
    """Trace the model with a free number of dialogues (`batch`) and utterances."""
    inputs = model.example_inputs()
    with warnings.catch_warnings(), torch.no_grad():
        # torch's own serialiser warns of a class that torch itself has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(model, inputs, dynamic_shapes=model.free_shapes())
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # it names files of this machine
    return program


def write_program(program: ExportedProgram, path: Path) -> None:
    """Write the program to a file as it stands; the caller publishes it."""
    content = io.BytesIO()  # torch complains of a file whose name does not end in .pt2, as a temporary one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.export.save(program, content)
    path.write_bytes(content.getvalue())


def program_parity(path: Path, model: Deployable, cases: list[Arrays], unit: float | None) -> Parity:
    """Read the file back and compare its answers with the model's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        loaded = torch.export.load(io.BytesIO(path.read_bytes())).module()

    def run(case: Arrays) -> list:
        with torch.inference_mode():
            return [output.numpy() for output in loaded(*map(torch.from_numpy, case))]

    return measure(model.run, run, cases, unit=unit)
