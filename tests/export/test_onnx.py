"""An exported ONNX file, run by ONNX Runtime alone, answers as the trained model does."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from imer.batches.speakers import numbers_by_appearance, speaker_numbers
from imer.core.files import read_json, sha256_file
from imer.export import parity
from imer.export.publish import Exported
from tests.export.conftest import Shipped
from tests.shipped import padded, read_corpus


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answer(path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    loaded = session(path)
    return loaded.run(None, dict(zip([i.name for i in loaded.get_inputs()], inputs, strict=True)))


@pytest.fixture(params=["classifier", "regressor"])
def case(request: pytest.FixtureRequest) -> tuple[Shipped, Exported]:
    return request.getfixturevalue(request.param), request.getfixturevalue(f"{request.param}_onnx")


def test_names_shapes_and_opset_are_as_documented(classifier: Shipped, classifier_onnx: Exported) -> None:
    path, sidecar = classifier_onnx.outputs
    graph = onnx.load(path)
    onnx.checker.check_model(graph)
    assert max(o.version for o in graph.opset_import if o.domain == "") >= 18
    loaded = session(path)
    assert {i.name: i.shape for i in loaded.get_inputs()} == {
        "audio": ["batch", "utterances", 6],
        "text": ["batch", "utterances", 5],
        "visual": ["batch", "utterances", 4],
        "observed": ["batch", "utterances", 3],
        "valid": ["batch", "utterances"],
    }
    assert {o.name: o.shape for o in loaded.get_outputs()} == {
        "probabilities": ["batch", "utterances", 3],
        "weights": ["batch", "utterances", 3],
    }
    told = read_json(sidecar)
    assert told["sha256"] == sha256_file(path)
    assert {name: i["shape"] for name, i in told["inputs"].items()} == {i.name: i.shape for i in loaded.get_inputs()}
    assert {name: o["shape"] for name, o in told["outputs"].items()} == {o.name: o.shape for o in loaded.get_outputs()}
    assert [m["name"] for m in told["modalities"]] == list(classifier.fold.modalities)
    assert told["class_names"] == list(classifier.fold.class_names)
    assert told["parity"]["cases"] >= 200
    assert told["parity"]["max_abs_difference"] <= parity.TOLERANCE


def test_a_regressor_of_two_modalities_and_speakers(regressor_onnx: Exported) -> None:
    loaded = session(regressor_onnx.outputs[0])
    assert [i.name for i in loaded.get_inputs()] == ["audio", "text", "observed", "valid", "speaker"]
    assert [o.name for o in loaded.get_outputs()] == ["value", "weights"]
    assert regressor_onnx.n_folds == 3


def test_nothing_of_this_machine_is_in_the_file(classifier_onnx: Exported) -> None:
    for path in classifier_onnx.outputs:
        content = path.read_bytes()
        assert b"site-packages" not in content
        assert str(Path(__file__).parents[2]).encode() not in content


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_a_store_is_answered_as_the_trained_model_does(case: tuple[Shipped, Exported], rate: float) -> None:
    """Raw features in, batched by the test's own hand, against the model as evaluation uses it."""
    shipped, exported = case
    corpus = read_corpus(shipped.fold, shipped.store)
    observed_NM = corpus.present_NM & (np.random.default_rng(1).random(corpus.present_NM.shape) >= rate)
    inputs, row_BU = padded(corpus, observed_NM)
    if "speaker" in [i.name for i in session(exported.outputs[0]).get_inputs()]:
        persons = speaker_numbers(corpus)[np.maximum(row_BU, 0)]
        inputs.append(np.where(row_BU >= 0, numbers_by_appearance(persons), 0))
    answers_BUC, weights_BUM = answer(exported.outputs[0], inputs)
    expected = shipped.fold.predict(corpus, np.arange(corpus.n), observed_NM)
    real = row_BU >= 0
    difference = np.abs(answers_BUC[real] - expected.probabilities_NC[row_BU[real]]).max()
    assert difference <= 1e-5
    assert np.abs(weights_BUM[real] - expected.weights_NM[row_BU[real]]).max() <= 1e-5
    if answers_BUC.shape[-1] > 1:
        same = answers_BUC[real].argmax(-1) == expected.probabilities_NC[row_BU[real]].argmax(-1)
        assert same.all()
    assert not answers_BUC[~real].any()
    assert not weights_BUM[~real].any()


def test_every_pair_of_patterns_and_every_padding(classifier: Shipped, classifier_onnx: Exported) -> None:
    """Two utterances under all 8 × 8 patterns, with 0 to 2 slots of padding behind: padding changes nothing."""
    corpus = read_corpus(classifier.fold, classifier.store)
    rows = np.flatnonzero(corpus.present_NM.all(axis=1))[:2]
    patterns = np.array(list(product(parity.observed_patterns(3), repeat=2)))  # [64, 2, 3]
    features = [np.tile(x[rows][None], (len(patterns), 1, 1)) for x in corpus.features.values()]
    valid = np.ones((len(patterns), 2), bool)
    path = classifier_onnx.outputs[0]
    plain = answer(path, [*features, patterns, valid])
    for extra in (1, 2):
        wide = [np.pad(x, ((0, 0), (0, extra), (0, 0)), constant_values=np.nan) for x in features]
        more = [
            np.pad(patterns, ((0, 0), (0, extra), (0, 0)), constant_values=True),
            np.pad(valid, ((0, 0), (0, extra))),
        ]
        for found, expected in zip(answer(path, [*wide, *more]), plain, strict=True):
            assert np.abs(found[:, :2] - expected).max() <= 1e-5
            assert not found[:, 2:].any()
    # The coordinator gives nothing to a modality that the dialogue does not have in any utterance.
    speaks = np.broadcast_to(patterns.any(axis=1, keepdims=True), patterns.shape)
    assert not plain[1][~speaks].any()
    np.testing.assert_allclose(plain[1].sum(-1), speaks.sum(-1), atol=1e-5)
    alone = [answer(path, [x[i : i + 1] for x in (*features, patterns, valid)])[0][0] for i in range(0, 64, 7)]
    assert np.abs(np.stack(alone) - plain[0][::7]).max() <= 1e-5  # batch-mates change nothing


def test_a_single_utterance_alone(classifier: Shipped, classifier_onnx: Exported) -> None:
    corpus = read_corpus(classifier.fold, classifier.store)
    for pattern in parity.observed_patterns(3):
        observed_NM = np.zeros((corpus.n, 3), bool)
        observed_NM[0] = np.array(pattern) & corpus.present_NM[0]
        inputs = [x[:1][None] for x in corpus.features.values()]
        found = answer(classifier_onnx.outputs[0], [*inputs, observed_NM[:1][None], np.ones((1, 1), bool)])
        expected = classifier.fold.predict(corpus, np.array([0]), observed_NM)
        assert np.abs(found[0][0] - expected.probabilities_NC).max() <= 1e-5
