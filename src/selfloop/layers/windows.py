"""``Windows``: truncated back-propagation through time over streams that are too long for one call."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from selfloop.errors import ArgumentError
from selfloop.layers.state import State

Carried = State | Tensor | tuple[Tensor, ...]
"""A state, as a layer or model returns it."""


class Windows:
    """Runs a layer or model over long streams a window at a time, with the state carried from each to the next.

    The state is detached between windows, so that the gradient of a loss reaches back to the start of its window and no
    further, and a stream of any length takes the memory of one window. Each pass starts anew.

    Args:
        rnn: what is called as ``rnn(x, state)`` and returns an output and a state: a `Recurrent`, an `LSTM`, a model.
        x: the input, (T, B, …), or (B, T, …) of a layer with `batch_first`.
        others: further tensors with a time axis, such as targets, which are cut likewise.
        steps: the time steps of a window; the last may have fewer.
        streams: cut one long stream, (N, …), into so many of N // streams steps, side by side. Fewer than `streams`
            steps at its end are left out.
        state: where each pass starts; where the layer starts if None.

    Attributes:
        state: of the last window that was run, detached.

    Raises:
        ArgumentError: an argument does not fit.

    >>> import torch
    >>> from selfloop import GRU
    >>> x, targets = torch.randn(100, 2, 3), torch.randn(100, 2, 5)
    >>> windows = Windows(GRU(3, 5), x, targets, steps=40)
    >>> for y, target in windows:
    ...     (y - target).square().mean().backward()
    >>> len(windows), y.shape, windows.state.shape
    (3, torch.Size([20, 2, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self,
        rnn: nn.Module,
        x: Tensor,
        *others: Tensor,
        steps: int,
        streams: int | None = None,
        state: Carried | None = None,
    ) -> None:
        for name, value in (("steps", steps), ("streams", 1 if streams is None else streams)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ArgumentError(f"The '{name}' of Windows must be a whole number ≥ 1. Got {value!r} instead.")
        self._time = 1 if getattr(rnn, "batch_first", False) else 0
        time, least = (self._time, 1) if streams is None else (0, streams)
        for v in (x, *others):
            if not isinstance(v, Tensor) or v.dim() <= time:
                got = f"shape {tuple(v.shape)}" if isinstance(v, Tensor) else type(v).__name__
                raise ArgumentError(f"Windows cuts tensors along time, dimension {time}. Got {got} instead.")
        lengths = [v.shape[time] for v in (x, *others)]
        if min(lengths) < max(lengths) or min(lengths) < least:
            raise ArgumentError(
                f"The tensors of Windows must have as many steps each, and {least} or more. Got {lengths} instead."
            )
        self._rnn, self._first, self._steps = rnn, state, steps
        self._tensors: tuple[Tensor, ...] = (x, *others)
        if streams is not None:
            rows = tuple(_side_by_side(v, streams) for v in self._tensors)
            self._tensors = rows if self._time else tuple(v.transpose(0, 1) for v in rows)
        self.state = state

    def __len__(self) -> int:
        """The number of windows."""
        return (self._tensors[0].shape[self._time] + self._steps - 1) // self._steps

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """The output of each window, and its part of the other tensors."""
        state = self._first
        for parts in zip(*(v.split(self._steps, dim=self._time) for v in self._tensors), strict=True):
            y, state = self._rnn(parts[0], state)
            self.state = state = _detached(state)
            yield y, *parts[1:]


def _detached(state: Any) -> Any:
    return tuple(map(_detached, state)) if isinstance(state, tuple) else state.detach()


def _side_by_side(stream: Tensor, streams: int) -> Tensor:
    """(N, …) as (streams, N // streams, …)."""
    length = len(stream) // streams
    return stream[: length * streams].reshape(streams, length, *stream.shape[1:])
