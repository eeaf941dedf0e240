"""Face embeddings: InceptionResnetV1 with weights that the user names. A network without weights never passes for one.

The weights are not in facenet-pytorch's wheel. They come from `--face-weights PATH` (a state dict, `.safetensors` or
`.pt`) or, only when asked for, from the project's own release by `--download`. The network sees the face's box cut
from the full-size frame, as it did in training.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput, MissingDependency, UsageError, did_you_mean
from imer.core.files import published_file, sha256_file
from imer.core.types import FeatureSpec
from imer.extractors.alignment import FACE_SIZE, boxed_face
from imer.extractors.base import Extracted
from imer.extractors.compiling import cache_folder
from imer.extractors.face_detection import Face, FaceDetector
from imer.extractors.face_queue import Described, FaceQueue
from imer.extractors.facenet_import import facenet_pytorch, library_versions
from imer.extractors.following import PLACE, FollowedFaces, SeesFaces
from imer.extractors.moments import Moments
from imer.extractors.networks import NetworkFunction, as_function
from imer.extractors.search import DEFAULT_STRIDE
from imer.media.sampling import Picture

WIDTH = 512
# Through the network at once: on a CPU more only need more memory, but half precision is a fifth slower with 4.
FACES_ON_CPU, FACES_IN_HALF, FACES_ON_CUDA = 4, 16, 128
PRECISIONS = ("float32", "bfloat16")  # the second in two thirds of the time, where the processor has it
RELEASE_URL = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt"


class FaceNet(SeesFaces):
    """512 values a face, pooled to mean and spread; or one row a sampled frame, with time, box and confidence."""

    name = "facenet"

    def __init__(
        self,
        level: str = "utterance",
        frames_per_s: float = 5.0,
        face_policy: str = "largest",
        face_stride: int = DEFAULT_STRIDE,
        face_precision: str = "float32",
        face_weights: str | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(level, frames_per_s, face_policy, face_stride)
        if face_precision not in PRECISIONS:
            raise UsageError(
                f"There is no precision {face_precision!r} for faces; {did_you_mean(face_precision, PRECISIONS)}"
            )
        self.face_precision = face_precision
        if face_weights is None and not download:
            raise MissingDependency(
                "--visual facenet needs the weights of InceptionResnetV1, which no package carries: name a file with "
                "--face-weights PATH, or fetch them once with --download; --visual face/geometry-hog needs none."
            )
        self.weights = Path(face_weights) if face_weights is not None else downloaded_weights()
        self._digest = ""
        self._network: NetworkFunction | None = None
        self._queue: FaceQueue | None = None
        self._at_once = FACES_ON_CPU
        self._always_full = False  # batches, so that a face's last bits do not depend on how many others there are
        self.waits_for_others = True

    @property
    def spec(self) -> FeatureSpec:
        frame = self.level == "frame"
        pools = ("",) if frame else ("_mean", "_sd")
        names = [f"embedding_{i}{pool}" for pool in pools for i in range(WIDTH)] + [*PLACE] * frame
        return FeatureSpec(
            modality="visual",
            extractor=self.name,
            version=f"3, {library_versions()}",
            level=self.level,
            dim=len(names),
            hop_s=1.0 / self.frames_per_s if frame else None,
            config={
                **self.seeing,
                "face_precision": self.face_precision,
                "weights_sha256": self._weights_digest(),
            },
            dim_names=tuple(names),
            licence="MIT; weights: terms of their training data",
        )

    def _weights_digest(self) -> str:
        if not self._digest:
            if not self.weights.is_file():
                raise InvalidInput(f"--face-weights {self.weights} does not exist or is not a file.")
            self._digest = sha256_file(self.weights)
        return self._digest

    def load(self, device: str) -> None:
        self._network = as_function(
            self._network_with_weights,
            f"InceptionResnetV1 {self._weights_digest()}, {library_versions()}",
            (1, 3, FACE_SIZE, FACE_SIZE),
            ("embedding",),
            device,
            precision=self.face_precision,
        )
        self._detector = FaceDetector(device)
        on_cpu = FACES_ON_CPU if self.face_precision == "float32" else FACES_IN_HALF
        self._at_once = on_cpu if device == "cpu" else FACES_ON_CUDA
        self._always_full = device != "cpu"
        # Half precision on a CPU is the exception: there the last bits depend on the size of a batch.
        self.waits_for_others = device != "cpu" or self.face_precision == "float32"
        self._queue = FaceQueue(self._batch, self._at_once)

    @property
    def queue(self) -> FaceQueue:
        if self._queue is None:
            raise RuntimeError("load() comes before begin()")
        return self._queue

    def _network_with_weights(self) -> Any:
        import torch

        with torch.device("meta"):  # 23 million random numbers need not be drawn
            network = facenet_pytorch().InceptionResnetV1(pretrained=None, classify=False)
        state = checked_state(read_state(self.weights), network.state_dict(), self.weights, self._weights_digest())
        network.load_state_dict(state, assign=True)
        return network.eval()

    def embed(self, faces: list[np.ndarray]) -> np.ndarray:
        """Return the embeddings [n, 512] of uint8 RGB faces [160, 160, 3]."""
        return self.queue.add(faces).rows()

    def _batch(self, faces: list[np.ndarray]) -> np.ndarray:
        if self._network is None:
            raise RuntimeError("load() comes before embed()")
        none = np.zeros((FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
        filled = [*faces, *[none] * (self._at_once - len(faces))] if self._always_full else faces
        batch_N3HW = np.stack(filled).transpose(0, 3, 1, 2).astype(np.float32)
        return self._network((batch_N3HW - np.float32(127.5)) / np.float32(128.0))[0][: len(faces)]

    def begin(self) -> FaceNetSession:
        return FaceNetSession(self)


class FaceNetSession(FollowedFaces):
    """One utterance's embeddings; faces of others may share their batches."""

    extractor = FaceNet.name

    def __init__(self, extractor: FaceNet) -> None:
        super().__init__(extractor)
        self._queue, self._waits = extractor.queue, extractor.waits_for_others
        self._coming: deque[tuple[Described, np.ndarray | None]] = deque()

    def take(self, seen: list[tuple[Picture, Face]]) -> None:
        faces = self._queue.add([boxed_face(picture.rgb, face) for picture, face in seen])
        self._coming.append((faces, self.places(seen)))
        while self._coming and (self._coming[0][0].ready or not self._waits):
            self._keep_next()

    def finish(self) -> Extracted:
        self.settle()
        while self._coming:
            self._keep_next()
        return super().finish()

    def _keep_next(self) -> None:
        faces, places_T6 = self._coming.popleft()
        self.keep(faces.rows(), places_T6)

    def pooled(self, moments: Moments) -> np.ndarray:
        return np.concatenate([moments.mean, moments.sd])


def read_state(path: Path) -> dict[str, Any]:
    """Read a state dict of tensors.

    Raises
    ------
    InvalidInput
        The file holds anything else.
    UsageError
        It is a pickled file and this torch is older than 2.10, whose loader can be attacked.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 10):
            raise UsageError(f"{path}: a .pt file is read with torch 2.10 or newer only; convert it to .safetensors.")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, AttributeError) as error:
        raise InvalidInput(f"{path} is not a readable weights file ({_first_line(error)}).") from error
    except Exception as error:
        # torch and safetensors each have their own error class for a file that they refuse.
        if type(error).__name__ in ("UnpicklingError", "SafetensorError"):
            raise InvalidInput(f"{path} is not a plain state dict of tensors ({_first_line(error)}).") from error
        raise
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InvalidInput(f"{path} is not a state dict: expected names and tensors.")
    return state


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def checked_state(state: dict[str, Any], expected: dict[str, Any], path: Path, digest: str) -> dict[str, Any]:
    """Return the entries that the network has, all of them with their shapes; a classifier's last layer is dropped.

    Raises
    ------
    InvalidInput
        An entry is missing or has another shape.
    """
    for name, tensor in expected.items():
        if name not in state:
            raise InvalidInput(f"{path} (sha256 {digest[:12]}…) is not InceptionResnetV1: it has no {name}.")
        if state[name].shape != tensor.shape:
            raise InvalidInput(
                f"{path}: {name} has shape {tuple(state[name].shape)}, InceptionResnetV1 has {tuple(tensor.shape)}."
            )
    return {name: state[name] for name in expected}


def downloaded_weights() -> Path:
    """Fetch the VGGFace2 weights from facenet-pytorch's release into the cache, once; return the file.

    Raises
    ------
    MissingDependency
        They cannot be fetched: no network, or it is not there any more.
    """
    import requests

    path = cache_folder() / RELEASE_URL.rsplit("/", 1)[-1]
    if path.is_file():
        return path
    advice = "fetch it on a machine with a network and name it with --face-weights PATH"
    try:
        with requests.get(RELEASE_URL, stream=True, timeout=30) as answer, published_file(path) as part:
            answer.raise_for_status()
            with open(part, "wb") as file:
                for block in answer.iter_content(1 << 20):
                    file.write(block)
    except requests.RequestException as error:
        reason = type(error).__name__
        raise MissingDependency(
            f"The face weights cannot be downloaded from {RELEASE_URL} ({reason}); {advice}."
        ) from error
    return path
