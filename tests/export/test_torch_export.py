"""A .pt2 program, loaded by torch alone, answers as the trained model does."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from imer.core.files import read_json, sha256_file
from imer.export.publish import Exported
from tests.export.conftest import Shipped
from tests.shipped import padded, read_corpus

# torch's own deserialiser uses a class that torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")


@pytest.fixture(scope="module")
def exported(classifier: Shipped) -> Exported:
    return classifier.export("torch-export")


def test_a_store_is_answered_as_the_trained_model_does(classifier: Shipped, exported: Exported) -> None:
    path, sidecar = exported.outputs
    assert read_json(sidecar)["sha256"] == sha256_file(path)
    program = torch.export.load(path).module()
    corpus = read_corpus(classifier.fold, classifier.store)
    observed_NM = corpus.present_NM & (np.random.default_rng(2).random(corpus.present_NM.shape) < 0.7)
    inputs, row_BU = padded(corpus, observed_NM)
    answers_BUC, weights_BUM = (t.detach().numpy() for t in program(*map(torch.from_numpy, inputs)))
    expected = classifier.fold.predict(corpus, np.arange(corpus.n), observed_NM)
    real = row_BU >= 0
    assert np.abs(answers_BUC[real] - expected.probabilities_NC[row_BU[real]]).max() <= 1e-5
    assert np.abs(weights_BUM[real] - expected.weights_NM[row_BU[real]]).max() <= 1e-5
    assert not answers_BUC[~real].any()


def test_a_single_utterance_and_parity(exported: Exported) -> None:
    program = torch.export.load(exported.outputs[0]).module()
    inputs = [torch.zeros(1, 1, w) for w in (6, 5, 4)]
    answers, weights = program(*inputs, torch.ones(1, 1, 3, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool))
    assert answers.shape == (1, 1, 3)
    assert weights.sum().item() == pytest.approx(3.0, abs=1e-5)
    assert exported.parity.max_abs_difference <= 1e-5


def test_nothing_of_this_machine_is_in_the_file(exported: Exported) -> None:
    with zipfile.ZipFile(exported.outputs[0]) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert b"site-packages" not in content
            assert str(Path(__file__).parents[2]).encode() not in content
