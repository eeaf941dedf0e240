"""Face embeddings: with weights that are named, the library's values, whoever else is in the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imer.core.errors import InvalidInput, MissingDependency, UsageError
from imer.extractors.alignment import boxed_face
from imer.extractors.facenet import FACES_ON_CPU, FaceNet
from imer.media.sampling import Picture
from tests.clips import face, portrait
from tests.extractors.faces import a_face, random_weights, told


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weights(tmp_path_factory.mktemp("weights") / "resnet.pt")


def test_facenet_embeds_with_weights_that_are_named(weights: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from imer.extractors.facenet_import import facenet_pytorch

    net = FaceNet(face_weights=str(weights))
    net.load("cpu")
    result = told(net, [face(i) for i in range(3)])
    assert result.values_TD.shape == (1, net.spec.dim) == (1, 1024)
    assert len(net.spec.config["weights_sha256"]) == 64
    crop = boxed_face(portrait(), a_face(80, 50, 90))
    rows = net.embed([crop])
    library = facenet_pytorch().InceptionResnetV1(pretrained=None).eval()
    library.load_state_dict(torch.load(weights, weights_only=True), strict=False)
    with torch.inference_mode():
        theirs = library(torch.from_numpy(crop.transpose(2, 0, 1)[None].copy()).float().sub(127.5).div(128.0)).numpy()
    assert np.abs(rows - theirs).max() < 1e-6
    assert np.array_equal(
        net.embed([boxed_face(portrait(), a_face(60, 50, 90)), crop])[1], rows[0]
    )  # whoever is beside it
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-4)
    state = {k: v.contiguous() for k, v in torch.load(weights, weights_only=True).items()}
    save_file(state, tmp_path / "resnet.safetensors")
    other = FaceNet(face_weights=str(tmp_path / "resnet.safetensors"))
    other.load("cpu")
    assert np.array_equal(rows, other.embed([crop]))


def test_a_face_is_described_alike_in_a_batch_that_is_filled_up(weights: Path) -> None:
    """As on a GPU, where the last bits may depend on the size of a batch."""
    net = FaceNet(face_weights=str(weights))
    net.load("cpu")
    crops = [boxed_face(portrait(), a_face(60 + 10 * i, 50, 90)) for i in range(5)]
    alone = net.embed(crops)
    sizes: list[int] = []
    network = net._network
    assert network is not None

    def counted(pictures: np.ndarray) -> tuple[np.ndarray, ...]:
        sizes.append(len(pictures))
        return network(pictures)

    net._network, net._always_full = counted, True
    assert np.array_equal(net.embed(crops), alone)
    assert sizes == [FACES_ON_CPU] * 2


@pytest.mark.parametrize("level", ["utterance", "frame"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_utterances_whose_faces_share_batches_are_told_what_they_are_told_alone(
    weights: Path, level: str, precision: str
) -> None:
    net = FaceNet(face_weights=str(weights), level=level, face_precision=precision)
    net.load("cpu")
    clips = [[face(10 * clip + i) for i in range(n)] for clip, n in enumerate((3, 1, 6))]
    alone = [told(net, frames) for frames in clips]
    together = [net.begin() for _ in clips]
    for session, frames in zip(together, clips, strict=True):
        for index, picture in enumerate(frames):
            session.add(Picture(index / 5, picture))
        session.settle()
    for session, one in zip(together, alone, strict=True):
        found = session.finish()
        assert one.values_TD is not None
        assert found.values_TD is not None
        assert np.array_equal(found.values_TD, one.values_TD)


def test_half_precision_is_near_and_says_what_it_is(weights: Path) -> None:
    crops = [boxed_face(portrait(), a_face(80, 50, 90))]
    exact, half = (FaceNet(face_weights=str(weights), face_precision=name) for name in ("float32", "bfloat16"))
    rows = []
    for net in (exact, half):
        net.load("cpu")
        rows.append(net.embed(crops)[0])
    assert float(rows[0] @ rows[1]) > 0.99
    assert exact.spec.fingerprint != half.spec.fingerprint
    with pytest.raises(UsageError, match="did you mean 'bfloat16'"):
        FaceNet(face_weights=str(weights), face_precision="bfloat")


def test_facenet_is_never_a_random_network(weights: Path, tmp_path: Path) -> None:
    import torch

    with pytest.raises(MissingDependency, match="--face-weights"):
        FaceNet()
    with pytest.raises(InvalidInput, match="does not exist"):
        FaceNet(face_weights=str(tmp_path / "none.pt")).spec  # noqa: B018
    state = torch.load(weights, weights_only=True)
    missing = {k: v for k, v in state.items() if k != "last_bn.weight"}
    wrong = {**state, "last_bn.weight": torch.zeros(7)}
    for broken, message in ((missing, r"no last_bn\.weight"), (wrong, "has shape")):
        torch.save(broken, tmp_path / "x.pt")
        with pytest.raises(InvalidInput, match=message):
            FaceNet(face_weights=str(tmp_path / "x.pt")).load("cpu")
    (tmp_path / "x.pt").write_bytes(b"not weights")
    with pytest.raises(InvalidInput, match="not a"):
        FaceNet(face_weights=str(tmp_path / "x.pt")).load("cpu")
    torch.save(["a list"], tmp_path / "x.pt")
    with pytest.raises(InvalidInput, match="state dict"):
        FaceNet(face_weights=str(tmp_path / "x.pt")).load("cpu")


def test_downloading_without_a_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    def refuse(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(MissingDependency, match="--face-weights PATH"):
        FaceNet(download=True)
