"""Recall, precision and F1 of each class are scikit-learn's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from imer.metrics.confusion import class_scores, confusion_matrices


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_class_scores_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    target, predicted = np.array(pairs, np.int64).reshape(-1, 2).T
    found = class_scores(confusion_matrices(target, predicted, 4, np.zeros(len(pairs), np.int64), 1)[0])
    precision, recall, f1, _ = (
        precision_recall_fscore_support(target, predicted, labels=range(4), zero_division=0)
        if pairs
        else np.zeros((4, 4))
    )
    for key, expected in (("precision", precision), ("recall", recall), ("f1", f1)):
        np.testing.assert_allclose(found[key], expected, atol=1e-12)


def test_a_class_that_is_never_answered() -> None:
    found = class_scores(np.array([[3, 1], [2, 0]]))
    assert found["recall"].tolist() == [0.75, 0.0]
    assert found["precision"].tolist() == [0.6, 0.0]
    assert found["f1"].tolist() == [2 * 3 / 9, 0.0]
