"""A case becomes a row: the answers agree, then the clock runs."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from selfloop.bench.cases import MODES, Case
from selfloop.bench.peers import PEERS, Run
from selfloop.bench.timing import Spread, ratio, spread, take_turns
from selfloop.errors import SelfloopError


class DisagreementError(SelfloopError):
    """Two that should give the same answer do not, so neither is timed."""


@dataclass(frozen=True)
class Row:
    """What was measured, or why nothing was.

    Attributes:
        case: what was compared.
        backend: how ours ran.
        ours, peer: ms a call.
        ratio: how many times our time the peer takes.
        gflops: what ours reached in matrix products, in GFLOP/s.
        error: why there are no times.
    """

    case: Case
    backend: str = ""
    ours: Spread | None = None
    peer: Spread | None = None
    ratio: Spread | None = None
    gflops: float | None = None
    error: str | None = None

    def facts(self, peak: float) -> dict[str, Any]:
        """The row as plain values, with the share of the processor's peak in GFLOP/s."""
        spreads = {"ours_ms": self.ours, "peer_ms": self.peer, "ratio": self.ratio}
        return {
            **asdict(self.case),
            "backend": self.backend,
            **{name: known and known._asdict() for name, known in spreads.items()},
            "gflops": self.gflops,
            "share_of_peak": self.gflops and self.gflops / peak,
            "error": self.error,
        }


def measure(case: Case, rounds: int) -> Row:
    """Check, then time in turns. Where the check or one of ours fails, the row says so and holds no time."""
    try:
        contest = PEERS[case.peer].enter(case)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            for first, second in contest.checks:
                agree(first, second, contest.tolerance)
    except SelfloopError as error:
        return Row(case, error=str(error))
    ours, peer = take_turns([contest.ours, contest.peer], rounds)
    own = spread(ours)
    return Row(case, contest.backend, own, spread(peer), ratio(ours, peer), case.flops / own.median / 1e6)


def summary(rows: Sequence[Row]) -> list[str]:
    """The worst ratio of these rows and the geometric mean of all, as lines; none without ratios."""
    known = [(row.ratio.median, row.case) for row in rows if row.ratio]
    if not known:
        return []
    least, case = min(known, key=lambda one: one[0])
    where = f"{case.cell}, {MODES[case.mode]}, T {case.T}, B {case.B}, H {case.H}"
    mean = math.exp(sum(math.log(ratio) for ratio, _ in known) / len(known))
    return [f"worst ratio {least:.2f}: {where}", f"geometric mean of {len(known)} ratios {mean:.2f}"]


def agree(first: Run, second: Run, tolerance: float) -> None:
    """Compare the answers of two calls each: the second call may find what the first has left.

    Raises:
        DisagreementError: an answer is missing, of another shape, or too far from the other's.
    """
    for _ in range(2):
        got, expected = first(), second()
        if got.keys() != expected.keys():
            raise DisagreementError(f"The answers are {', '.join(got)} and {', '.join(expected)}.")
        for name in expected:
            _compare(name, np.asarray(got[name]), np.asarray(expected[name]), tolerance)


def _compare(name: str, got: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], tolerance: float) -> None:
    what = "y" if name == "y" else f"the gradient of {name}"
    if got.shape != expected.shape:
        raise DisagreementError(f"Not timed: {what} is of shape {got.shape}, the peer's of {expected.shape}.")
    error = float(np.linalg.norm(got - expected)) / max(float(np.linalg.norm(expected)), 1e-30)
    if not error < tolerance:
        raise DisagreementError(f"Not timed: {what} differs from the peer's by {error:.1e} of its norm.")
