"""The calls that a run's files are tried with: on its own validation data, and on random numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from selfloop.exporting.onnx.tasks.parts import Part
from selfloop.exporting.validation_data import Array, Arrays, Data

RANDOM = ({"time": 11, "batch": 3}, {"time": 1, "batch": 1})
"""The sizes of random calls."""


@dataclass(frozen=True)
class Call:
    """One call of a part.

    Attributes:
        part: its number.
        inputs: what it is called with.
        real: whether these are of the run's data.
    """

    part: int
    inputs: Arrays
    real: bool


def random_calls(parts: Sequence[Part], seed: int = 0) -> Iterator[Call]:
    """Calls of each part with random numbers."""
    draw = np.random.default_rng(seed)
    for number, part in enumerate(parts):
        for sizes in RANDOM:
            yield Call(number, {name: port.random(draw, sizes) for name, port in part.inputs.items()}, real=False)


@torch.no_grad()
def real_calls(parts: Sequence[Part], data: Data) -> Iterator[Call]:
    """Calls with a run's data: of the first part, and of the steps from the states that follow."""
    carried: dict[str, Array] = {}
    whole, steps = data
    for number, part in enumerate(parts):
        for given in [whole] if number == 0 else steps:
            inputs = {name: {**_zeros(part, given), **carried, **given}[name] for name in part.inputs}
            yield Call(number, inputs, real=True)
            found = part.compute({name: torch.from_numpy(array) for name, array in inputs.items()})
            carried |= {name.removeprefix("new_"): v.numpy() for name, v in found.items() if name != "logits"}


def _zeros(part: Part, given: Arrays) -> dict[str, Array]:
    """What a part starts from that is given no state."""
    name = next(iter(given))
    batch = given[name].shape[part.inputs[name].shape.index("batch")]
    states = {name: port.shape for name, port in part.inputs.items() if name not in given}
    return {name: np.zeros((batch, *shape[1:]), np.float32) for name, shape in states.items() if "time" not in shape}
