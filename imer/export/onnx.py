"""The model as an ONNX file, for ONNX Runtime and everything else that reads the format."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from imer.core.errors import ImerError
from imer.export.deployable import Deployable
from imer.export.parity import Arrays, Parity, measure

OPSET = 18
OUTPUTS = ("probabilities", "weights")
VALUE_OUTPUTS = ("value", "weights")  # of a regression model
MAX_BYTES = 2 << 30  # a larger model does not fit into one file of the format


def output_names(model: Deployable) -> tuple[str, str]:
    """Return the names of the file's outputs: the answer is called by what it is."""
    return OUTPUTS if model.classification else VALUE_OUTPUTS


def write_onnx(model: Deployable, path: Path, metadata: Mapping[str, str]) -> None:
    """Convert the model and write it to a file as it stands; the caller checks and publishes it.

    The numbers of dialogues (`batch`) and utterances are free. `metadata` goes into the file's own properties.

    Raises
    ------
    ImerError
        The model is too large for one file.
    """
    inputs = model.example_inputs()
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            model,
            inputs,
            input_names=model.input_names(),
            output_names=output_names(model),
            dynamic_shapes=model.free_shapes(),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
        )
    proto = program.model_proto
    if proto.ByteSize() >= MAX_BYTES:
        raise ImerError(f"The model has {proto.ByteSize()} bytes, and an ONNX file holds {MAX_BYTES} at most.")
    for node in proto.graph.node:
        node.ClearField("metadata_props")  # the exporter keeps stack traces there, which name files of this machine
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    path.write_bytes(proto.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress lines, log records and internal warnings off the user's streams."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def onnx_parity(path: Path, model: Deployable, cases: list[Arrays], unit: float | None) -> Parity:
    """Run the file by ONNX Runtime on the CPU and compare its answers with the model's."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = model.input_names()

    def run(case: Arrays) -> list:
        return session.run(list(output_names(model)), dict(zip(names, case, strict=True)))

    return measure(model.run, run, cases, unit=unit)
