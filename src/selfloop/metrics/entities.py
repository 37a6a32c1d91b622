"""Entities in tags: are the spans right, from their first word to their last, and of the right kind?

As the shared tasks of CoNLL count them, by `seqeval`, which agrees with their script conlleval.
"""

import re
import warnings
from collections.abc import Iterable, Sequence

_TAG = re.compile(r"O|[BIES]-.+")


def are_spans(tags: Iterable[str]) -> bool:
    """Whether tags mark spans: O outside, B-KIND at a span's first word, I-KIND in it, perhaps E-KIND and S-KIND.

    >>> are_spans({"O", "B-person", "I-person"}), are_spans({"NOUN", "VERB"})
    (True, False)
    """
    tags = set(tags)
    return all(map(_TAG.fullmatch, tags)) and tags > {"O"}


def span_scores(true: Sequence[Sequence[str | None]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 of the spans of all sentences together, from 0 to 1.

    Args:
        true: of each sentence its tags; a word where it is None is cut out of both.
        predicted: of each sentence as many tags.

    >>> span_scores([["B-city", "I-city", "O", "B-day"]], [["B-city", "I-city", "O", "O"]])
    {'span_precision': 1.0, 'span_recall': 0.5, 'span_f1': 0.6666666666666666}
    """
    from seqeval.metrics import f1_score, precision_score, recall_score  # noqa: PLC0415  (it loads scikit-learn)

    judged = [
        [(t, p) for t, p in zip(*pair, strict=True) if t is not None] for pair in zip(true, predicted, strict=True)
    ]
    sides = [[[pair[side] for pair in sentence] for sentence in judged] for side in (0, 1)]
    measures = {"span_precision": precision_score, "span_recall": recall_score, "span_f1": f1_score}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no spans
        return {name: float(measure(*sides, zero_division=0)) for name, measure in measures.items()}
