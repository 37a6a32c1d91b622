"""Spans of tags: against counts by hand, and the rules of CoNLL's script."""

import pytest

from selfloop.metrics import are_spans, span_scores


def f1(true, predicted):
    return span_scores(true, predicted)["span_f1"]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["O", "B-a", "I-a"], True),
        (["O", "S-a", "B-b", "I-b", "E-b"], True),
        (["O"], False),
        (["O", "I-a"], True),
        (["O", "B-a", "NOUN"], False),
        (["O", "B-"], False),
    ],
)
def test_tags_that_mark_spans_are_known(tags, expected):
    assert are_spans(tags) is expected


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [
        (["B-a", "I-a", "O"], ["B-a", "I-a", "O"], 1.0),
        (["B-a", "I-a", "O"], ["B-a", "O", "O"], 0.0),  # a part of a span is none
        (["B-a", "I-a", "O"], ["B-b", "I-b", "O"], 0.0),  # nor one of another kind
        (["B-a", "B-a", "O"], ["B-a", "I-a", "O"], 0.0),  # two spans are not one
        (["B-a", "I-a", "O"], ["I-a", "I-a", "O"], 1.0),  # conlleval begins a span at an I after an O
        (["B-a", "O", "B-b"], ["B-a", "O", "O"], 2 / 3),
    ],
)
def test_spans_are_counted_as_conlleval_does(true, predicted, expected):
    assert f1([true], [predicted]) == pytest.approx(expected)


def test_sentences_are_counted_together_and_words_without_truth_are_cut_out():
    true = [["B-a", "O"], ["B-a", None, "B-a"]]
    predicted = [["B-a", "O"], ["O", "B-a", "B-a"]]
    assert span_scores(true, predicted) == pytest.approx({"span_precision": 1.0, "span_recall": 2 / 3, "span_f1": 0.8})


def test_no_span_at_all_scores_zero_without_a_warning():
    assert span_scores([["O", "O"]], [["O", "O"]]) == {"span_precision": 0.0, "span_recall": 0.0, "span_f1": 0.0}
