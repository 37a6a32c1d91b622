"""What a classifier got right and what it took for what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfloop.errors import ArgumentError


class ClassScores(NamedTuple):
    """One class: how often its prediction is right, how often it is found, and how often it occurs."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often each class was taken for each: ``counts[true, predicted]``.

    Confusions of the same classes add up, so that a large set is counted batch by batch.

    Args:
        classes: the K classes' names, in the order of their indices.
        counts: (K, K) integers, 0 or more; rows are the truth, columns the predictions.

    Raises:
        ArgumentError: the counts do not fit the classes, or are no counts.

    Example:
        >>> confusion = Confusion.of(["cat", "dog"], true=[0, 0, 1, -1], predicted=[0, 1, 1, 0])
        >>> confusion.counts.tolist()
        [[1, 1], [0, 1]]
        >>> round(confusion.accuracy, 3), round(confusion.macro_f1, 3)
        (0.667, 0.667)
    """

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        classes, given = tuple(self.classes), np.asarray(self.counts)
        if given.shape != (len(classes), len(classes)):
            expected = f"({len(classes)}, {len(classes)}), true by predicted class"
            raise ArgumentError(f"The 'counts' of Confusion must have shape {expected}. Got {given.shape} instead.")
        if given.size and (given.dtype.kind not in "iu" or given.min() < 0):
            raise ArgumentError("The 'counts' of Confusion must be integers from 0.")
        counts = given.astype(np.int64)  # a copy, which nobody else can write to
        counts.flags.writeable = False
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "counts", counts)

    @classmethod
    def of(cls, classes: Sequence[str], true: ArrayLike, predicted: ArrayLike) -> "Confusion":
        """Count predictions.

        Args:
            classes: the K classes' names.
            true: indices of the true classes, of any shape, below K; where one is negative, nothing is counted.
            predicted: indices of the predicted classes, 0 to K - 1, of the same shape.

        Raises:
            ArgumentError: the two differ in shape, are not integers, or name a class that does not exist.
        """
        t, p = _indices("true", true), _indices("predicted", predicted)
        if t.shape != p.shape:
            raise ArgumentError(
                f"Confusion.of needs a prediction for each true class: 'true' has shape {t.shape}, "
                f"'predicted' {p.shape}."
            )
        t, p = t[t >= 0], p[t >= 0]
        K = len(classes)
        for name, indices in (("true", t), ("predicted", p)):
            strange = indices[(indices < 0) | (indices >= K)]
            if strange.size:
                raise ArgumentError(f"The '{name}' of Confusion.of must be indices of {K} classes. Got {strange[0]}.")
        return cls(tuple(classes), np.bincount(t * K + p, minlength=K * K).reshape(K, K))

    def __add__(self, other: "Confusion") -> "Confusion":
        if not isinstance(other, Confusion):
            return NotImplemented
        if self.classes != other.classes:
            raise ArgumentError("Only confusions of the same classes, in the same order, can be added.")
        return Confusion(self.classes, self.counts + other.counts)

    @property
    def accuracy(self) -> float:
        """The share of the predictions that are right, 0 to 1; NaN where nothing was counted."""
        total = int(self.counts.sum())
        return int(self.counts.trace()) / total if total else float("nan")

    @property
    def macro_f1(self) -> float:
        """The mean F1, 0 to 1, of the classes that occur in the truth or the predictions; NaN where nothing does.

        scikit-learn's ``f1_score(true, predicted, average="macro", zero_division=0)``.
        """
        occurs = (self.counts.sum(0) + self.counts.sum(1)) > 0
        scores = [row.f1 for row, there in zip(self.per_class(), occurs, strict=True) if there]
        return sum(scores) / len(scores) if scores else float("nan")

    def per_class(self) -> list[ClassScores]:
        """Each class's precision, recall and F1, 0 to 1, and how often it is the truth; 0 where one is undefined."""
        rows = []
        for name, hits, said, true in zip(
            self.classes, self.counts.diagonal(), self.counts.sum(0), self.counts.sum(1), strict=True
        ):
            precision, recall = _share(hits, said), _share(hits, true)
            rows.append(ClassScores(name, precision, recall, _share(2 * hits, said + true), int(true)))
        return rows


def _indices(name: str, values: ArrayLike) -> NDArray[np.int64]:
    indices = np.asarray(values)
    if indices.size and indices.dtype.kind not in "iu":
        raise ArgumentError(
            f"The '{name}' of Confusion.of must be integers, the classes' indices. Got {indices.dtype} instead."
        )
    return indices.astype(np.int64)


def _share(part: np.int64, whole: np.int64) -> float:
    return int(part) / int(whole) if whole else 0.0
