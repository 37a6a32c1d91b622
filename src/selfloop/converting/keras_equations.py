"""Keras' layers in NumPy, from its documentation and `keras/src/layers/rnn`: what a converted layer is compared with.

Each function takes an input (T, B, I) and the weights of a cell as Keras holds them, kernel (I, gates · H),
recurrent kernel (H, gates · H) and bias, and returns the outputs (T, B, H) and the final states.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Result = tuple[Numbers, tuple[Numbers, ...]]


def sigmoid(x: Numbers) -> Numbers:
    """The logistic function, which does not overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def simple_rnn(x: Numbers, kernel: Numbers, recurrent: Numbers, bias: Numbers, activation: str = "tanh") -> Result:
    """`SimpleRNN`: h = activation(x K + b + h R)."""
    acts: dict[str, Callable[[Numbers], Numbers]] = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}
    return _scan(lambda x, h: (acts[activation](x @ kernel + bias + h @ recurrent),), x, recurrent, 1)


def lstm(x: Numbers, kernel: Numbers, recurrent: Numbers, bias: Numbers) -> Result:
    """`LSTM`, in the order i, f, c, o."""

    def step(x: Numbers, h: Numbers, c: Numbers) -> tuple[Numbers, Numbers]:
        i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    return _scan(step, x, recurrent, 2)


def gru_reset_after(x: Numbers, kernel: Numbers, recurrent: Numbers, bias: Numbers) -> Result:
    """`GRU(reset_after=True)`, in the order z, r, h, with a bias of the input and one of the state, (2, 3H)."""

    def step(x: Numbers, h: Numbers) -> tuple[Numbers]:
        x_z, x_r, x_h = np.split(x @ kernel + bias[0], 3, axis=-1)
        h_z, h_r, h_h = np.split(h @ recurrent + bias[1], 3, axis=-1)
        z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
        return (z * h + (1 - z) * np.tanh(x_h + r * h_h),)

    return _scan(step, x, recurrent, 1)


def gru_reset_before(x: Numbers, kernel: Numbers, recurrent: Numbers, bias: Numbers) -> Result:
    """`GRU(reset_after=False)`, in the order z, r, h."""
    r_z, r_r, r_h = np.split(recurrent, 3, axis=1)

    def step(x: Numbers, h: Numbers) -> tuple[Numbers]:
        x_z, x_r, x_h = np.split(x @ kernel + bias, 3, axis=-1)
        z, r = sigmoid(x_z + h @ r_z), sigmoid(x_r + h @ r_r)
        return (z * h + (1 - z) * np.tanh(x_h + (r * h) @ r_h),)

    return _scan(step, x, recurrent, 1)


def _scan(step: Callable[..., Sequence[Numbers]], x: Numbers, recurrent: Numbers, number: int) -> Result:
    """A step over time, from states of zeros."""
    states: tuple[Numbers, ...] = (np.zeros((x.shape[1], len(recurrent))),) * number
    outputs = []
    for x_t in x:
        states = tuple(step(x_t, *states))
        outputs.append(states[0])
    return np.stack(outputs), states
