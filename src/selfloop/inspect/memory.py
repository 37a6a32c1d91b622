"""How much of the past a model uses: its loss where it sees the last steps alone."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from selfloop.errors import ArgumentError
from selfloop.layers import State
from selfloop.tasks.watched import Watched

TARGETS, TOGETHER = 512, 128
"""Losses that a point of the curve is the mean of, at the most; and sequences that run side by side."""

ENOUGH = 0.01
"""Nats: what sees this much of the past is as good as what sees all of it. It is 1 % of the perplexity."""


@dataclass(frozen=True, eq=False)
class Memory:
    """The loss of a model by how many of the last steps it sees (Khandelwal et al. 2018, "Sharp nearby, fuzzy far
    away").

    Attributes:
        spans: the numbers of steps, of which the target's own is one; the last is the longest.
        losses: for each the mean loss.
        errors: the standard error of each mean's difference from the last.
        unit: what a step is, in the singular.
        is_whole: whether the longest span is a whole sequence, so that there is no more to see.
        loss_unit: what the losses are counted in.
        is_both_ways: whether the model sees as many steps after the target.
    """

    spans: NDArray[np.int64]
    losses: NDArray[np.float64]
    errors: NDArray[np.float64]
    unit: str
    is_whole: bool = False
    loss_unit: str = "nats"
    is_both_ways: bool = False

    @property
    def uses(self) -> int:
        """The fewest steps with which the loss, and with all longer spans, is within 0.01 nats of that with the most.

        Of a loss that is not in nats it is 1 % of the loss with one step.

        >>> Memory(np.array([1, 2, 4, 8]), np.array([3, 2, 1.005, 1]), np.zeros(4), "word").uses
        4
        """
        enough = ENOUGH if self.loss_unit == "nats" else ENOUGH * self.losses[0]
        worse = np.flatnonzero(self.losses > self.losses[-1] + enough)
        return int(self.spans[worse[-1] + 1]) if len(worse) else int(self.spans[0])

    @property
    def is_open(self) -> bool:
        """Whether the loss still falls where the longest span ends, though there is more to see."""
        return self.uses == int(self.spans[-1]) and not self.is_whole


@torch.no_grad()
def memory(watched: Watched, steps: int) -> Memory:
    """Measure what a model loses where it sees the last 1, 2, 3, 4, 6, 8, … steps alone.

    Each target is judged anew with a state that starts just so many steps before it, and reads up to it. A stack of two
    directions sees as many steps after it.

    Args:
        watched: what a task shows of its stack.
        steps: the longest span; at least 2.

    Raises:
        ArgumentError: `steps` is below 2, or the outputs of the stack alone make no loss.
    """
    if steps < 2:
        raise ArgumentError(f"The 'steps' of memory must be at least 2. Got {steps} instead.")
    if watched.losses is None:
        raise ArgumentError(
            "The memory of a decoder with input feeding cannot be cut, since what is fed carries the past as well."
        )
    rows = torch.linspace(0, len(watched.targets) - 1, min(TARGETS, len(watched.targets))).long().unique()
    longest = min(steps, int(watched.lengths.max()))
    spans = sorted({*(round(2 ** (k / 2)) for k in range(2 * longest.bit_length())), longest})
    spans = [span for span in spans if 1 <= span <= longest]
    found = torch.stack([_losses(watched, rows, span) for span in spans]).double().cpu().numpy()
    worse = found - found[-1]
    return Memory(
        spans=np.array(spans),
        losses=found.mean(1),
        errors=worse.std(1) / np.sqrt(found.shape[1]),
        unit=watched.unit,
        is_whole=longest == int(watched.lengths.max()),
        loss_unit=watched.loss_unit,
        is_both_ways=watched.rnn.bidirectional,
    )


def _losses(watched: Watched, rows: Tensor, span: int) -> Float[Tensor, " N"]:
    """The loss of each target where the stack sees `span` steps."""
    return torch.cat([_together(watched, some, span) for some in rows.split(TOGETHER)])


def _together(watched: Watched, rows: Tensor, span: int) -> Tensor:
    rnn, x = watched.rnn, watched.x
    sequence, step = watched.targets[rows].unbind(1)
    start = (step - span + 1).clamp(min=0)
    end = torch.minimum(step + span, watched.lengths[sequence]) if rnn.bidirectional else step + 1
    lengths = end - start
    place = (start + torch.arange(int(lengths.max()))[:, None]).clamp(max=len(x) - 1)
    seen = x[place.to(x.device), sequence.to(x.device)]
    first: State | None = None if watched.start is None else watched.start.select(sequence)
    y, _ = rnn(seen, first, lengths=lengths)
    assert watched.losses is not None
    return watched.losses(y, lengths.to(y.device), (step - start).to(y.device), rows)
