"""Confusions and what is read from them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfloop.errors import ArgumentError
from selfloop.metrics import Confusion

CLASSES = ("cat", "dog", "owl")
PAIRS = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3)), max_size=40)


def test_rows_are_the_truth_and_columns_the_predictions():
    confusion = Confusion.of(CLASSES, true=[0, 0, 0, 1], predicted=[0, 2, 2, 0])
    assert confusion.counts.tolist() == [[1, 0, 2], [1, 0, 0], [0, 0, 0]]


def test_scores_worked_by_hand():
    confusion = Confusion(CLASSES, np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]))
    cat, dog, owl = confusion.per_class()
    assert confusion.accuracy == 7 / 10
    assert cat == pytest.approx(("cat", 3 / 5, 3 / 4, 6 / 9, 4))
    assert dog == pytest.approx(("dog", 4 / 5, 4 / 6, 8 / 11, 6))
    assert owl == ("owl", 0.0, 0.0, 0.0, 0)
    assert confusion.macro_f1 == pytest.approx((6 / 9 + 8 / 11) / 2)  # the owl never occurs


def test_a_class_that_is_only_predicted_lowers_the_macro_f1():
    assert Confusion.of(CLASSES, true=[0, 0, 0], predicted=[0, 0, 2]).macro_f1 == pytest.approx((4 / 5 + 0) / 2)


def test_negative_truth_is_not_counted_whatever_was_predicted():
    confusion = Confusion.of(CLASSES, true=[[0, -1], [1, -100]], predicted=[[0, -1], [1, 99]])
    assert confusion.counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


@given(PAIRS)
def test_scores_are_those_of_scikit_learn(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    judged = [pair for pair in pairs if pair[0] >= 0]
    if not judged:
        return
    confusion = Confusion.of("abcd", [t for t, _ in pairs], [p for _, p in pairs])
    true, predicted = zip(*judged, strict=True)
    labels = list(range(4))
    assert confusion.counts.tolist() == metrics.confusion_matrix(true, predicted, labels=labels).tolist()
    assert confusion.accuracy == pytest.approx(metrics.accuracy_score(true, predicted))
    assert confusion.macro_f1 == pytest.approx(metrics.f1_score(true, predicted, average="macro", zero_division=0))
    rows = metrics.precision_recall_fscore_support(true, predicted, labels=labels, zero_division=0)
    ours = np.array([row[1:] for row in confusion.per_class()]).T
    assert ours == pytest.approx(np.array(rows))


@given(PAIRS, PAIRS)
def test_confusions_add_up_as_their_items_do(first, second):
    def of(pairs):
        return Confusion.of("abcd", [t for t, _ in pairs], [p for _, p in pairs])

    together = of(first) + of(second)
    assert together.counts.tolist() == of(first + second).counts.tolist()
    assert together.counts.sum() == sum(t >= 0 for t, _ in first + second)


def test_nothing_counted_has_no_score():
    empty = Confusion.of(CLASSES, [], [])
    assert math.isnan(empty.accuracy)
    assert math.isnan(empty.macro_f1)


def test_counts_are_a_copy_that_stays():
    counts = np.eye(3, dtype=np.int64)
    confusion = Confusion(CLASSES, counts)
    counts[0, 0] = 5
    assert confusion.counts[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        confusion.counts[0, 0] = 5


@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ([0, 1], [0], r"'true' has shape \(2,\), 'predicted' \(1,\)"),
        ([0, 3], [0, 0], "The 'true' of Confusion.of must be indices of 3 classes. Got 3."),
        ([0, 1], [0, -1], "The 'predicted' of Confusion.of must be indices of 3 classes. Got -1."),
        ([0, 1], [0, 3], "The 'predicted' of Confusion.of must be indices of 3 classes. Got 3."),
        ([0, 1], [0.2, 0.8], "The 'predicted' of Confusion.of must be integers"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(true, predicted, message):
    with pytest.raises(ArgumentError, match=message):
        Confusion.of(CLASSES, true, predicted)


def test_counts_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match=r"shape \(3, 3\).*Got \(2, 2\) instead"):
        Confusion(CLASSES, np.eye(2, dtype=int))
    with pytest.raises(ArgumentError, match="integers from 0"):
        Confusion(CLASSES, -np.eye(3, dtype=int))
    with pytest.raises(ArgumentError, match="integers from 0"):
        Confusion(CLASSES, np.eye(3))


def test_confusions_of_other_classes_do_not_add():
    with pytest.raises(ArgumentError, match="same classes"):
        Confusion.of("ab", [0], [0]) + Confusion.of("ba", [0], [0])
    with pytest.raises(TypeError):
        Confusion.of("ab", [0], [0]) + 1
