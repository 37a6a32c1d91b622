"""Times of several things in turns, and what they say about each other."""

import time
from collections.abc import Callable, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
import torch

SETTLE, SETTLE_TOGETHER = 0.06, 0.2
"""The seconds at the start of a turn that are not timed, of one thread and of several. ONNX Runtime's threads spin for
40 ms after a call, and what shares the processors with them takes three times as long; Linux then needs up to 0.14 s to
give each of our threads a processor of its own again."""

LEAST = 0.02
"""The seconds that are timed at least: what is shorter is called several times."""

MOST_CALLS = 10_000


class Spread(NamedTuple):
    """A median between its quartiles."""

    median: float
    low: float
    high: float


def take_turns(
    runs: Sequence[Callable[[], object]],
    rounds: int,
    warm_ups: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Time each in every round, in turns, so that what else the machine does befalls all of them.

    A turn begins with calls that are not timed: they bring back the caches, and outlast the other's threads.

    Returns:
        For each, the ms of one call in each round.
    """
    calls = [_calls(run, warm_ups, clock) for run in runs]
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, count, known in zip(runs, calls, times, strict=True):
            _settle(run, clock)
            known.append(1e3 * _seconds(run, count, clock) / count)
    return times


def spread(values: Sequence[float]) -> Spread:
    """The median and the quartiles."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Spread(median, low, high)


def ratio(ours: Sequence[float], peer: Sequence[float]) -> Spread:
    """How many times our time the peer takes, round by round: above 1 we are faster."""
    return spread([theirs / own for own, theirs in zip(ours, peer, strict=True)])


def _calls(run: Callable[[], object], warm_ups: int, clock: Callable[[], float]) -> int:
    """How many calls a turn needs, as the warm-ups show."""
    quickest = min(_seconds(run, 1, clock) for _ in range(max(1, warm_ups)))
    return ceil(LEAST / max(quickest, LEAST / MOST_CALLS))


def _settle(run: Callable[[], object], clock: Callable[[], float]) -> None:
    seconds = SETTLE if torch.get_num_threads() == 1 else SETTLE_TOGETHER
    start = clock()
    run()
    while clock() - start < seconds:
        run()


def _seconds(run: Callable[[], object], count: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(count):
        run()
    return clock() - start
