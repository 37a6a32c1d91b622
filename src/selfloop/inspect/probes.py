"""Linear probes: which units follow something that is known of each step."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 20
"""Steps of each kind that a probe of something that is or is not needs, to learn from and to be judged on."""

RIDGE = 1e-2
"""The penalty of a probe of all units, as a share of the steps: units are alike, and steps may be few."""

SKILLED = 0.25
"""The least skill that a unit must show to be named."""


@dataclass(frozen=True)
class Followed:
    """A unit that follows something.

    Attributes:
        what: it follows.
        layer: the layer and direction of the unit, as the suffix of the weights: ``"_l0"``.
        state: the state that it is a unit of.
        unit: its number.
        score: how well this unit alone tells it, on sequences that it was not chosen by: of something that is or is
            not the area under the ROC curve, where 0.5 is chance; of a number the share of its variance (R²).
        by_all: the same of a linear probe of all units of this state.
        is_number: whether it is a number.
        sign: 1 where the unit rises with it, -1 where it falls.
    """

    what: str
    layer: str
    state: str
    unit: int
    score: float
    by_all: float
    is_number: bool
    sign: int

    @property
    def skill(self) -> float:
        """The score from 0, which is chance, to 1."""
        return max(0.0, self.score if self.is_number else 2 * self.score - 1)

    @property
    def measure(self) -> str:
        """What the scores are: ``"R²"`` of a number, ``"AUC"`` of something that is or is not."""
        return "R²" if self.is_number else "AUC"

    def __str__(self) -> str:
        return f"{self.what}: unit {self.unit} of {self.state}{self.layer}, {self.measure} {self.score:.2f}"


def followed(
    states: Mapping[tuple[str, str], NDArray[np.floating]], facts: Mapping[str, NDArray[np.float64]]
) -> list[Followed]:
    """For everything that is known of the steps the unit that follows it best, the most skilled first.

    A unit is chosen on the even sequences, and scored on the odd ones; a single sequence is cut in the middle. It is
    named where its skill is 0.25 or more, and beyond chance: of something that is or is not, three standard errors
    (Hanley & McNeil 1982) from an AUC of 0.5, where a stretch of steps in which it stays so counts as one.

    Args:
        states: by layer and name, (T, B, n); NaN beyond a sequence's end.
        facts: by name, (T, B); NaN where nothing is known.
    """
    found = (_best(what, values, states) for what, values in facts.items())
    named = [one for one in found if one is not None and one.skill >= SKILLED]
    return sorted(named, key=lambda one: -one.skill)


def _best(
    what: str, values: NDArray[np.float64], states: Mapping[tuple[str, str], NDArray[np.floating]]
) -> Followed | None:
    """The unit that follows it best where it is learnt; None where too little is known, or it may be chance."""
    learn, judge = _halves(values)
    is_number = bool(len(np.setdiff1d(values[np.isfinite(values)], (0, 1))))
    for half in (learn, judge):
        counts = np.unique(values[half], return_counts=True)[1]
        if len(counts) < 2 or (not is_number and counts.min() < FEWEST) or half.sum() < 2 * FEWEST:
            return None
    truth, others_truth = values[learn], values[judge]
    centred = truth - truth.mean()
    correlations = {}
    for where, units in states.items():
        known = units[learn].astype(np.float64)
        spread = known.std(0)
        live = spread > 1e-8
        covariance = known.T @ centred / len(truth)
        correlations[where] = np.where(live, covariance / (np.where(live, spread, 1) * truth.std()), 0)
    layer, state = where = max(correlations, key=lambda where: float(np.abs(correlations[where]).max()))
    unit = int(np.abs(correlations[where]).argmax())
    known, others = states[where][learn].astype(np.float64), states[where][judge].astype(np.float64)
    mean, spread = known.mean(0), known.std(0)
    scale = np.where(spread > 1e-8, spread, 1)
    known, others = (known - mean) / scale, (others - mean) / scale
    alone = _predict(known[:, [unit]], centred, others[:, [unit]])
    score = _score(alone, others_truth - truth.mean(), is_number)
    if not is_number and score - 0.5 < 3 * _chance(values, judge):
        return None
    return Followed(
        what=what,
        layer=layer,
        state=state,
        unit=unit,
        score=score,
        by_all=_score(_predict(known, centred, others), others_truth - truth.mean(), is_number),
        is_number=is_number,
        sign=1 if correlations[where][unit] >= 0 else -1,
    )


def _chance(values: NDArray[np.float64], judged: NDArray[np.bool_]) -> float:
    """The standard error of the AUC of something that knows nothing, where a stretch of equal values counts as one."""
    seen = np.where(judged, values, np.nan)
    before = np.concatenate([np.full_like(seen[:1], np.nan), seen[:-1]])
    begins = judged & (seen != before)
    positive, negative = int((begins & (seen > 0)).sum()), int((begins & (seen == 0)).sum())
    return float(np.sqrt((positive + negative + 1) / (12 * positive * negative)))


def _halves(values: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The steps to learn from, and those to judge on, of those where something is known."""
    known = np.isfinite(values)
    first = np.zeros_like(known)
    if values.shape[1] > 1:
        first[:, ::2] = True
    else:
        first[: len(values) // 2] = True
    return known & first, known & ~first


def _predict(
    known: NDArray[np.float64], truth: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ridge regression: of other steps, what a linear probe of these says."""
    penalty = RIDGE * len(known) * np.eye(known.shape[1])
    predicted: NDArray[np.float64] = others @ np.linalg.solve(known.T @ known + penalty, known.T @ truth)
    return predicted


def _score(predicted: NDArray[np.float64], truth: NDArray[np.float64], is_number: bool) -> float:
    """R² of a number; of what is or is not the area under the ROC curve."""
    if is_number:
        return float(1 - np.square(predicted - truth).sum() / np.square(truth - truth.mean()).sum())
    is_so = truth > truth.min()
    _, place, counts = np.unique(predicted, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # equal values share a rank
    positive, negative = int(is_so.sum()), int((~is_so).sum())
    return float((ranks[is_so].sum() - positive * (positive + 1) / 2) / (positive * negative))
