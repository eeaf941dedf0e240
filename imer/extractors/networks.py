"""A torch network as a function of arrays: by ONNX Runtime on a CPU, by torch itself on CUDA.

On a CPU, ONNX Runtime takes a fifth less time for InceptionResnetV1 than torch does, and a third of it for the small
networks of MTCNN. What it gives for one picture does not depend, to the last bit, on which others share the batch.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from imer.extractors.conversions import converted

NetworkFunction = Callable[[np.ndarray], tuple[np.ndarray, ...]]  # float32 [N, C, H, W] → its outputs


def as_function(
    build: Callable[[], Any],
    made_from: str,
    example_NCHW: tuple[int, ...],
    outputs: tuple[str, ...],
    device: str,
    *,
    any_size: bool = False,
    precision: str = "float32",
) -> NetworkFunction:
    """Return a function that runs the network that `build` makes on float32 arrays [N, C, H, W].

    `made_from` names the network, its weights and its library: what was converted from them before is not made again.
    N may vary from call to call, and with `any_size` H and W too. `outputs` names the network's outputs in order.
    """
    if device != "cpu" or precision != "float32":
        return _torch_function(build(), device, precision)
    axes = {0: "N", 2: "H", 3: "W"} if any_size else {0: "N"}
    made_from = f"{made_from}, {example_NCHW} {axes} → {outputs}, by {_own_code()}"
    return onnx_function(converted(made_from, lambda: onnx_bytes(build(), example_NCHW, outputs, {"pictures": axes})))


@cache
def _own_code() -> str:
    """Return the digest of our own code that makes networks, so that changing it is enough."""
    folder = Path(__file__).parent
    code = b"".join((folder / name).read_bytes() for name in ("networks.py", "slopes.py"))
    return hashlib.sha256(code).hexdigest()


def onnx_bytes(
    network: Any, example_NCHW: tuple[int, ...], outputs: tuple[str, ...], axes: Mapping[str, Mapping[int, str]]
) -> bytes:
    """Return the network as a serialised ONNX model with one input, `pictures`."""
    import torch

    file = io.BytesIO()
    with warnings.catch_warnings():
        # The tracing exporter is marked as old, but takes a second where the new one takes ten and needs a compiler.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(example_NCHW),),
            file,
            input_names=["pictures"],
            output_names=list(outputs),
            dynamic_axes={**axes, **{name: {0: "N"} for name in outputs}},
            opset_version=17,
            dynamo=False,
        )
    return file.getvalue()


def onnx_function(model: bytes) -> NetworkFunction:
    """Return a function that runs a serialised ONNX model on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (name,) = (given.name for given in session.get_inputs())
    return lambda pictures: tuple(session.run(None, {name: pictures}))


def _torch_function(network: Any, device: str, precision: str) -> NetworkFunction:
    import torch

    torch.backends.cudnn.allow_tf32 = False  # in a worker process: ten bits of a product move boxes and embeddings
    kind = getattr(torch, precision)
    network = network.eval().to(device=torch.device(device), dtype=kind, memory_format=torch.channels_last)

    def run(pictures: np.ndarray) -> tuple[np.ndarray, ...]:
        batch = torch.from_numpy(pictures).to(device, kind, memory_format=torch.channels_last)
        with torch.inference_mode():
            found = network(batch)
        given = found if isinstance(found, tuple) else (found,)
        return tuple(output.float().cpu().numpy() for output in given)

    return run
