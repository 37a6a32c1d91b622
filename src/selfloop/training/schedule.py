"""The budget of a run, and the learning rate along it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from selfloop.errors import ConfigError
from selfloop.options.training import DEFAULT_MINUTES, UNKNOWN_EPOCH, TrainingOptions

START = 0.1
"""The share of the learning rate that warm-up begins with: at 0 the first update would change nothing."""


@dataclass(frozen=True)
class Budget:
    """How far a run has come, in [0, 1], by the clock or by the step.

    >>> Budget(minutes=None, steps=200).spent(step=50, elapsed=0.0)
    0.25
    """

    minutes: float | None
    steps: int | None

    @classmethod
    def of(cls, options: TrainingOptions, steps_per_epoch: int | None) -> "Budget":
        """The budget that was asked for; if none was, a minute and a half.

        Raises:
            ConfigError: it is of epochs, and nobody knows how long one is.
        """
        if options.epochs is not None:
            if steps_per_epoch is None:
                raise ConfigError(f"{UNKNOWN_EPOCH}. Got epochs={options.epochs:g} instead.")
            return cls(None, max(1, round(options.epochs * steps_per_epoch)))
        if options.steps is not None:
            return cls(None, options.steps)
        return cls(options.minutes or DEFAULT_MINUTES, None)

    def spent(self, step: int, elapsed: float) -> float:
        """The share that is spent after `step` updates and `elapsed` seconds."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.minutes is not None
        return min(1.0, elapsed / (60 * self.minutes))


def passed(spent: float, marks: int) -> int:
    """How many of `marks` marks, evenly over the budget, lie behind.

    >>> passed(29 / 100, marks=100)  # though 29 / 100 * 100 is 28.999999999999996
    29
    """
    return int(spent * marks + 1e-9)


_SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": lambda spent: 0.5 * (1 + math.cos(math.pi * spent)),
    "constant": lambda spent: 1.0,
    "plateau": lambda spent: 1.0,  # the loop quarters it
}


def learning_rate(options: TrainingOptions, spent: float, scale: float) -> float:
    """The learning rate where `spent` of the budget is spent; `scale` is what plateaus have left of it."""
    if spent < options.warmup:
        return options.learning_rate * scale * max(START, spent / options.warmup)
    after = (spent - options.warmup) / (1 - options.warmup) if options.warmup < 1 else 1.0
    return options.learning_rate * scale * _SHAPES[options.schedule](after)
