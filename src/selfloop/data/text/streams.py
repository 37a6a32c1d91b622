"""Contiguous streams for truncated back-propagation through time: ``(epoch, k) -> inputs, targets``.

    the text          t0 t1 t2 t3 t4 t5 t6 t7 t8 t9 t10 t11 t12         batch_size=3, window=2
    targets, by row   t0 t1 | t2 t3      window 0 | window 1            each row goes on where its last window ended,
                      t4 t5 | t6 t7                                     so the state is carried from window to window
                      t8 t9 | t10 t11    (t12 is left over)

The input at each target is the token before it in the text; before t0 stands the start token.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int64
from torch import Tensor

from selfloop.errors import ArgumentError, DataError


class Streams:
    """A text's tokens as ``batch_size`` streams of equal length, read a window at a time.

    Every token is a target once an epoch, but for fewer than ``batch_size`` at the end that the cut leaves over. With a
    batch of one, as for evaluation, none is. Windows are computed from their numbers: a run may start anywhere.

    Args:
        tokens: ``[N]`` integers; of a memory-mapped array only what a window needs is read.
        batch_size: streams, B, at least 1.
        window: steps of a window, T, at least 1; an epoch's last window may be shorter.
        start_id: the token that stands before the text's first.
        seed: 0 or more to roll the text at every epoch but the first, round its end and by an offset drawn from
            ``(seed, epoch)``, so that windows and streams begin elsewhere; None never does.

    Raises:
        DataError: there are fewer than ``batch_size * window`` tokens.
        ArgumentError: an argument is out of its range.

    >>> streams = Streams(np.arange(13), batch_size=3, window=2, start_id=99)
    >>> inputs, targets = streams.window(epoch=0, k=0)
    >>> targets.tolist()
    [[0, 4, 8], [1, 5, 9]]
    >>> inputs.tolist()
    [[99, 3, 7], [0, 4, 8]]
    """

    def __init__(
        self,
        tokens: npt.NDArray[Any],
        *,
        batch_size: int,
        window: int,
        start_id: int,
        seed: int | None = None,
    ) -> None:
        at_least = {"batch_size": (batch_size, 1), "window": (window, 1), "start_id": (start_id, 0), "seed": (seed, 0)}
        for name, (value, least) in at_least.items():
            if value is not None and value < least:
                raise ArgumentError(f"The '{name}' of Streams must be at least {least}. Got {value} instead.")
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            raise ArgumentError(
                f"The 'tokens' of Streams must be integers of one dimension. Got {tokens.dtype} {tokens.shape} instead."
            )
        if len(tokens) < batch_size * window:
            raise DataError(
                f"The text must have at least {batch_size * window:,} tokens for {batch_size} streams and windows of "
                f"{window}. It has {len(tokens):,}: make the batch or the window smaller, or give more text."
            )
        self._tokens = tokens
        self._start_id = start_id
        self._seed = seed
        self._window = window
        self.batch_size = batch_size
        self.steps_per_epoch = len(tokens) // batch_size
        self.windows_per_epoch = -(-self.steps_per_epoch // window)

    def window(
        self, epoch: int, k: int, rows: slice = slice(None)
    ) -> tuple[Int64[Tensor, "T B"], Int64[Tensor, "T B"]]:
        """The inputs and the targets of an epoch's window k, each ``[T, B]``.

        Args:
            epoch: 0 or more.
            k: from 0 to ``windows_per_epoch - 1``.
            rows: the streams wanted. Processes that take a share each see together what one sees without.

        Raises:
            ArgumentError: there is no such epoch or window.
        """
        if epoch < 0 or not 0 <= k < self.windows_per_epoch:
            raise ArgumentError(
                f"The 'epoch' and 'k' of a window must be at least 0, and 'k' below {self.windows_per_epoch}. "
                f"Got {epoch} and {k} instead."
            )
        steps = np.arange(k * self._window, min((k + 1) * self._window, self.steps_per_epoch))
        starts = np.arange(self.batch_size)[rows] * self.steps_per_epoch + self._offset(epoch)
        places = (steps[:, None] + starts) % len(self._tokens)  # T x B
        targets = self._tokens[places].astype(np.int64)
        inputs = np.where(places > 0, self._tokens[places - 1], self._start_id).astype(np.int64)
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    def _offset(self, epoch: int) -> int:
        """How far an epoch's text is rolled. SeedSequence's numbers are fixed for good; a Generator's are not."""
        if self._seed is None or epoch == 0:
            return 0
        return int(np.random.SeedSequence((self._seed, epoch)).generate_state(1, np.uint64)[0] % len(self._tokens))
