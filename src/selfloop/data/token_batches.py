"""Batches of pairs by the number of their tokens: few long pairs, or many short ones, so that updates cost alike."""

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from selfloop.data.batches import POOL


class TokenBatches:
    """A seeded order of pairs for each epoch, cut where the tokens of `batch_size` average pairs are full.

    Pairs of like length share a batch, target before source, so that little of a batch is padding. Every epoch has as
    many batches, and every batch a pair at least.

    Args:
        sources, targets: the lengths of both sides, in tokens.
        batch_size: how many pairs a batch has on average, at least 1.
        seed: of the order.

    >>> batches = TokenBatches([2, 2, 2, 2, 8], [2, 2, 2, 2, 8], batch_size=2, seed=1)
    >>> sorted(len(batches.rows(0, k)) for k in range(batches.per_epoch))
    [1, 2, 2]
    """

    def __init__(self, sources: Sequence[int], targets: Sequence[int], batch_size: int, seed: int) -> None:
        self._sources, self._targets = np.asarray(sources), np.asarray(targets)
        self._batch_size, self._seed = batch_size, seed
        self.per_epoch = -(-len(self._sources) // batch_size)
        self._order = functools.lru_cache(maxsize=1)(self._order_of)

    def rows(self, epoch: int, k: int) -> npt.NDArray[np.integer]:
        """The pairs of batch `k` of an epoch."""
        return self._order(epoch)[k]

    def _order_of(self, epoch: int) -> list[npt.NDArray[np.integer]]:
        draw = np.random.default_rng((self._seed, epoch))
        shuffled = draw.permutation(len(self._sources))
        pool = POOL * self._batch_size
        alike = []
        for number, part in enumerate(np.split(shuffled, range(pool, len(shuffled), pool))):
            rising = part[np.lexsort((self._sources[part], self._targets[part]))]
            alike.append(rising[::-1] if number % 2 else rising)  # in turn, so that no batch joins short and long
        order = np.concatenate(alike)
        batches = np.split(order, self._borders((self._sources + self._targets)[order].cumsum()))
        return [batches[k] for k in draw.permutation(self.per_epoch)]

    def _borders(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """Where batches begin but the first: at equal numbers of tokens, but none without a pair."""
        count, k = self.per_epoch, np.arange(1, self.per_epoch)
        borders = np.searchsorted(tokens, k * (tokens[-1] / count))
        borders = np.maximum.accumulate(np.maximum(borders, 1) - k) + k
        least: npt.NDArray[np.integer] = np.minimum(borders, len(tokens) - count + k)
        return least


def share_of(rows: npt.NDArray[np.integer], share: slice, batch_size: int) -> npt.NDArray[np.integer]:
    """The rows of one process: of a batch of any number of rows, what `share` is of `batch_size`; one at the least.

    Of fewer rows than processes, several have the same, and it belongs to one: see `is_own`.

    >>> share_of(np.arange(10), slice(2, 4), batch_size=4)
    array([5, 6, 7, 8, 9])
    """
    first, end = _borders(len(rows), share, batch_size)
    first = min(first, len(rows) - 1)
    return rows[first : max(end, first + 1)]


def is_own(rows: npt.NDArray[np.integer], share: slice, batch_size: int) -> bool:
    """Whether the rows that `share_of` gives a process are its own, and not one that belongs to another.

    >>> [is_own(np.arange(1), share, batch_size=4) for share in (slice(0, 2), slice(2, 4))]
    [False, True]
    """
    first, end = _borders(len(rows), share, batch_size)
    return first < end


def _borders(count: int, share: slice, batch_size: int) -> tuple[int, int]:
    start, stop, _ = share.indices(batch_size)
    return count * start // batch_size, count * stop // batch_size
