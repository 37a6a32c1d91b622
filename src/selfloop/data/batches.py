"""Batches of whole sequences: which rows an update takes, and how they are laid side by side."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from selfloop.errors import ArgumentError

Report = Callable[[float], None]
"""Is told which share of a long computation is done, from 0 to 1."""

POOL = 32
"""Batches that are sorted by length together: sequences of like length share a batch, and epochs still differ."""


def suited_size(examples: int) -> int:
    """How many examples suit an update: 32, and of fewer than 128 about a quarter, so that there are several in a pass.

    >>> suited_size(7_000), suited_size(36), suited_size(3)
    (32, 8, 1)
    """
    return min(32, 1 << max(1, examples // 4).bit_length() - 1)


class Batches:
    """A seeded order of the examples for each epoch, cut into batches of one size.

    Sequences of like length share a batch, so that little of it is padding. The last batch of an epoch is filled up
    from the epoch's beginning, so that every process has rows at every step. A batch depends on its number alone.

    Args:
        lengths: of the examples, in steps.
        batch_size: examples in a batch, at least 1.
        seed: of the order, 0 or more.

    Attributes:
        per_epoch: the number of batches in an epoch.

    Raises:
        ArgumentError: an argument does not fit.

    >>> from torch.nn.utils.rnn import pad_sequence
    >>> examples = [torch.randn(n, 3) for n in (5, 1, 4, 2)]
    >>> batches = Batches([len(v) for v in examples], batch_size=2, seed=1)
    >>> for rows in batches.epoch(0):
    ...     x, lengths = pad_sequence([examples[row] for row in rows]), [len(examples[row]) for row in rows]
    ...     print(sorted(rows.tolist()), x.shape)
    [1, 3] torch.Size([2, 2, 3])
    [0, 2] torch.Size([5, 2, 3])
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int = 0) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
                raise ArgumentError(f"The '{name}' of Batches must be a whole number ≥ {least}. Got {value!r} instead.")
        if len(lengths) == 0:
            raise ArgumentError("The 'lengths' of Batches must have one entry an example. Got none.")
        self._lengths = np.asarray(lengths)
        self._batch_size, self._seed = batch_size, seed
        self.per_epoch = -(-len(self._lengths) // batch_size)
        self._order = functools.lru_cache(maxsize=1)(self._order_of)

    def epoch(self, number: int) -> Iterator[npt.NDArray[np.integer]]:
        """The examples of each batch of an epoch, in order."""
        return (self.rows(number, k) for k in range(self.per_epoch))

    def rows(self, epoch: int, k: int) -> npt.NDArray[np.integer]:
        """The examples of batch `k` of an epoch."""
        order: npt.NDArray[np.integer] = self._order(epoch)[k]
        return order

    def _order_of(self, epoch: int) -> npt.NDArray[np.integer]:
        draw = np.random.default_rng((self._seed, epoch))
        order = np.resize(draw.permutation(len(self._lengths)), self.per_epoch * self._batch_size)
        pool = POOL * self._batch_size
        alike = [
            part[np.argsort(self._lengths[part], kind="stable")]
            for part in np.split(order, range(pool, len(order), pool))
        ]
        return draw.permutation(np.concatenate(alike).reshape(self.per_epoch, self._batch_size))


def in_order(
    lengths: Sequence[int], batch_size: int, report: Report | None = None
) -> Iterator[npt.NDArray[np.integer]]:
    """Every example once, like lengths together: for scores and predictions.

    Args:
        lengths: of the examples, in steps.
        batch_size: examples in a batch, the last of which may have fewer.
        report: is told the share of all steps, when a batch has been worked on.

    >>> shares = []
    >>> [rows.tolist() for rows in in_order([20, 10, 10], 2, shares.append)], shares
    ([[1, 2], [0]], [0.5, 1.0])
    """
    steps = np.asarray(lengths)
    order, whole, done = np.argsort(steps, kind="stable"), max(1, int(steps.sum())), 0
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield rows
        done += int(steps[rows].sum())
        if report is not None:
            report(done / whole)


def pad(arrays: Sequence[npt.NDArray[Any]]) -> tuple[Shaped[Tensor, "T B ..."], Int[Tensor, " B"] | None]:
    """Sequences side by side, time first; zeros stand beyond a sequence's end.

    Returns:
        The batch, and the lengths, or None where all are equal.

    >>> batch, lengths = pad([np.array([1, 2, 3]), np.array([4])])
    >>> batch.T.tolist(), lengths.tolist()
    ([[1, 2, 3], [4, 0, 0]], [3, 1])
    """
    lengths = [len(array) for array in arrays]
    batch = np.zeros((max(lengths), len(arrays), *arrays[0].shape[1:]), arrays[0].dtype)
    for column, array in enumerate(arrays):
        batch[: len(array), column] = array
    ragged = min(lengths) < max(lengths)
    return torch.from_numpy(batch), torch.tensor(lengths) if ragged else None
