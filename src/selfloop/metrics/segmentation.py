"""Action segmentation: are the segments right, whatever the frames at their borders?

Segmental edit score and F1@k as Lea et al., *Temporal Convolutional Networks for Action Segmentation and Detection*
(CVPR 2017, §4.1) define them and as Farha and Gall, *MS-TCN* (CVPR 2019, §4) and its successors report them: the edit
score as the mean over the sequences, F1@k from the hits and misses of all sequences together.
"""

from collections.abc import Collection, Hashable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from selfloop.errors import ArgumentError

Labels = Sequence[Hashable]


class Segment(NamedTuple):
    """A run of one label: positions ``start`` to ``end - 1``."""

    label: Hashable
    start: int
    end: int


def segments(labels: Labels) -> list[Segment]:
    """The runs of equal labels.

    Args:
        labels: T labels, one a position.

    Example:
        >>> [tuple(segment) for segment in segments(["walk", "walk", "run"])]
        [('walk', 0, 2), ('run', 2, 3)]
    """
    runs, start = [], 0
    for label, run in groupby(labels):
        end = start + len(list(run))
        runs.append(Segment(label, start, end))
        start = end
    return runs


def edit_score(true: Sequence[Labels], predicted: Sequence[Labels], *, background: Collection[Hashable] = ()) -> float:
    """How well the order of the segments is met, 0 to 100: it punishes splitting an action, not shifting its borders.

    For each sequence 100 · (1 - d / max(m, n)), with d the Levenshtein distance of the m true and n predicted
    segments' labels; then the mean over the sequences.

    Args:
        true: for each sequence its labels, one a position; a position where it is None is cut out of both sequences.
        predicted: for each sequence as many labels.
        background: labels whose segments do not count, such as GTEA's "background".

    Raises:
        ArgumentError: the sequences do not fit each other, or no position has a true label.

    Example:
        >>> edit_score(true=[list("aabbcc")], predicted=[list("abbbac")])  # a, b, c against a, b, a, c
        75.0
    """
    scores = []
    for t, p in _pairs("edit_score", true, predicted, background):
        m, n = [segment.label for segment in t], [segment.label for segment in p]
        scores.append(100 * (1 - _levenshtein(m, n) / max(len(m), len(n))) if m or n else 100.0)
    return sum(scores) / len(scores)


def f1_at(
    true: Sequence[Labels],
    predicted: Sequence[Labels],
    overlap: float = 0.5,
    *,
    background: Collection[Hashable] = (),
) -> float:
    """Segmental F1@k, 0 to 100: how many segments are found with an overlap of at least k.

    In the order of time, each predicted segment is a hit when the true segment of its label that it overlaps most, by
    intersection over union, reaches ``overlap`` and no earlier one has hit it; otherwise it is a false alarm. Hits and
    misses of all sequences are counted together.

    Args:
        true: for each sequence its labels, one a position; a position where it is None is cut out of both sequences.
        predicted: for each sequence as many labels.
        overlap: the intersection over union that makes a hit, above 0 and at most 1; papers report 0.1, 0.25 and 0.5.
        background: labels whose segments do not count, such as GTEA's "background".

    Raises:
        ArgumentError: the sequences do not fit each other, no position has a true label, or the overlap is no share.

    Example:
        >>> f1_at(true=[list("aaaabbbb")], predicted=[list("aabbbbbb")], overlap=0.5)  # overlaps of 2/4 and 4/6
        100.0
        >>> f1_at(true=[list("aaaabbbb")], predicted=[list("aabbbbbb")], overlap=0.6)
        50.0
    """
    if not 0 < overlap <= 1:
        raise ArgumentError(f"The 'overlap' of f1_at must be above 0 and at most 1. Got {overlap} instead.")
    hits = found = there = 0
    for t, p in _pairs("f1_at", true, predicted, background):
        hits += _hits(t, p, overlap)
        found += len(p)
        there += len(t)
    return 100 * 2 * hits / (found + there) if hits else 0.0  # 2 tp / (2 tp + fp + fn)


def _pairs(
    caller: str, true: Sequence[Labels], predicted: Sequence[Labels], background: Collection[Hashable]
) -> Iterator[tuple[list[Segment], list[Segment]]]:
    """For each sequence with a true label, its true and its predicted segments."""
    if len(true) != len(predicted):
        raise ArgumentError(
            f"{caller} needs a prediction for each sequence: 'true' has {len(true)} sequences, "
            f"'predicted' {len(predicted)}."
        )
    nothing = True
    for number, (t, p) in enumerate(zip(true, predicted, strict=True)):
        if any(isinstance(labels, str) or not hasattr(labels, "__len__") for labels in (t, p)):
            raise ArgumentError(f"{caller} takes sequences of labels; put a single sequence into a list: [labels].")
        if len(t) != len(p):
            raise ArgumentError(
                f"{caller} needs a prediction for each position: sequence {number} has {len(t)} true labels "
                f"and {len(p)} predicted ones."
            )
        judged = [position for position, label in enumerate(t) if label is not None]
        if judged:
            nothing = False
            parts = (t, p) if len(judged) == len(t) else ([t[i] for i in judged], [p[i] for i in judged])
            truth, prediction = map(segments, parts)
            yield [s for s in truth if s.label not in background], [s for s in prediction if s.label not in background]
    if nothing:
        raise ArgumentError(f"{caller} needs at least one position with a true label.")


def _levenshtein(m: list[Hashable], n: list[Hashable]) -> int:
    """The distance, over the part between what both begin with and what both end with: that is free."""
    start = _common(m, n)
    end = _common(m[start:][::-1], n[start:][::-1])
    m, n = m[start : len(m) - end], n[start : len(n) - end]
    before = list(range(len(n) + 1))
    for i, label in enumerate(m, 1):
        now = [i]
        for j, other in enumerate(n, 1):
            now.append(before[j - 1] if label == other else 1 + min(before[j - 1], before[j], now[-1]))
        before = now
    return before[-1]


def _common(m: list[Hashable], n: list[Hashable]) -> int:
    """How many labels both begin with."""
    return next((k for k, (a, b) in enumerate(zip(m, n, strict=False)) if a != b), min(len(m), len(n)))


def _hits(true: list[Segment], predicted: list[Segment], overlap: float) -> int:
    hit: set[int] = set()
    first = 0  # the true segment that ends after the predicted one begins
    for segment in predicted:
        while first < len(true) and true[first].end <= segment.start:
            first += 1
        best, most = None, 0.0
        for k in range(first, len(true)):
            if true[k].start >= segment.end:
                break
            if (shared := _overlap(segment, true[k])) > most:
                best, most = k, shared
        if best is not None and most >= overlap:
            hit.add(best)  # a second hit of the same segment adds nothing: it is a false alarm
    return len(hit)


def _overlap(a: Segment, b: Segment) -> float:
    """Intersection over union, or 0 where the labels differ."""
    common = min(a.end, b.end) - max(a.start, b.start)
    return common / (max(a.end, b.end) - min(a.start, b.start)) if a.label == b.label and common > 0 else 0.0
