"""``Stack``: recurrent layers as a file holds them, in the form in which selfloop's layers take them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfloop import cells
from selfloop.errors import DataError
from selfloop.language import Cell
from selfloop.layers import GRU, LSTM, RNN, Recurrent
from selfloop.untrusted import written

Numbers = NDArray[Any]
Weights = Mapping[str, Tensor]
"""Of one layer in one direction, by the names that selfloop's layer has for them, without suffix."""

Reference = Callable[[Numbers], Sequence[Numbers]]
"""The file's own mathematics: from an input (T, B, I) to the output (T, B, ·) and the final states, each
(layers × directions, B, ·)."""

Found = dict[str, Callable[[], "Stack"]]
"""What a file holds: recurrent layers by name, each read when it is asked for."""

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
"""How many matrices are stacked in a weight."""

DROP_INS: dict[str, type[Recurrent]] = {
    "lstm": LSTM,
    "projected_lstm": LSTM,
    "gru": GRU,
    "vanilla": RNN,
    "vanilla_relu": RNN,
}
"""The class of the layers of a cell, where it is not `Recurrent`."""


@dataclass(frozen=True)
class Stack:
    """Layers of one cell and size on one another.

    Attributes:
        names: of the layers in the file, from the first to the last.
        was: what each is there: "LSTM of ONNX".
        cell: which computes the same.
        input_size, hidden_size, proj_size: its sizes.
        weights: for each layer, for each direction.
        reference: the file's own mathematics.
        batch_first: whether the file's input is (B, T, I).
        reads: the name of the recurrent layer whose output, and nothing else, is its input, where nothing else reads
            it.
        notes: sentences on how a plain call differs from what the file does.
    """

    names: tuple[str, ...]
    was: str
    cell: Cell
    input_size: int
    hidden_size: int
    weights: tuple[tuple[Weights, ...], ...]
    reference: Reference
    proj_size: int = 0
    batch_first: bool = False
    reads: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The names of its layers, as one."""
        return "+".join(self.names)

    @property
    def _form(self) -> tuple[object, ...]:
        """What layers of one stack have in common."""
        return self.was, self.cell, self.hidden_size, self.proj_size, self.batch_first, len(self.weights[0]), self.notes

    def on(self, below: "Stack") -> "Stack | None":
        """Both as one stack, or None where one layer of selfloop cannot be both."""
        if self.reads != below.names[-1] or self._form != below._form or self.notes:
            return None

        def reference(x: Numbers) -> Sequence[Numbers]:
            y, *first = below.reference(x)
            y, *second = self.reference(y)
            return [y, *(np.concatenate(pair) for pair in zip(first, second, strict=True))]

        return replace(below, names=below.names + self.names, weights=below.weights + self.weights, reference=reference)

    def options(self) -> dict[str, Any]:
        """The arguments of its class beside the sizes, where they are not the defaults."""
        every = [weights for layer in self.weights for weights in layer]
        has_bias = any("bias_ih" in weights for weights in every)
        double = all(tensor.dtype == torch.float64 for weights in every for tensor in weights.values())
        found = {
            "num_layers": (len(self.weights), 1),
            "nonlinearity": ("relu" if self.cell is cells.vanilla_relu else "tanh", "tanh"),
            "bias": (has_bias or self.cell.name not in DROP_INS, True),
            "batch_first": (self.batch_first, False),
            "bidirectional": (len(self.weights[0]) == 2, False),
            "proj_size": (self.proj_size, 0),
            "dtype": (torch.float64 if double else None, None),
        }
        return {name: value for name, (value, default) in found.items() if value != default}

    def code(self) -> str:
        """The call that makes its layer, as Python."""
        made = DROP_INS.get(self.cell.name)
        first = f"{made.__name__}(" if made else f"Recurrent(cells.{self.cell.name}, "
        sizes = [str(self.input_size), str(self.hidden_size)]
        return first + ", ".join([*sizes, *(f"{name}={value!r}" for name, value in self.options().items())]) + ")"

    def layer(self) -> Recurrent:
        """A layer of selfloop with these weights, in evaluation."""
        with torch.random.fork_rng(devices=[]):  # the weights that it starts with are not used
            make: Callable[..., Recurrent] = DROP_INS.get(self.cell.name) or partial(Recurrent, self.cell)
            made = make(self.input_size, self.hidden_size, **self.options())
        state = {name: torch.zeros_like(weight) for name, weight in made.state_dict().items()}
        for layer, directions in enumerate(self.weights):
            for weights, end in zip(directions, ("", "_reverse"), strict=False):
                state |= {f"{name}_l{layer}{end}": tensor for name, tensor in weights.items()}
        made.load_state_dict(state)
        return made.eval()


def stacked(found: Sequence[Stack]) -> list[Stack]:
    """Those that stand on one another as one."""
    joined: list[Stack] = []
    for one in found:
        for k, below in enumerate(joined):
            if (both := one.on(below)) is not None:
                joined[k] = both
                break
        else:
            joined.append(one)
    return joined


def checked(where: str, name: str, weight: Tensor, shape: Sequence[int | None]) -> Tensor:
    """A weight in float32, or in float64 if it is so.

    Args:
        where: the file and the layer, for errors.
        name: of the weight there.
        weight: as it is there.
        shape: that it must have; None for any number.

    Raises:
        DataError: it has another shape, it holds no floating-point numbers, or some are not finite.
    """
    sizes = tuple(weight.shape)
    if len(sizes) != len(shape) or any(own != must for own, must in zip(sizes, shape, strict=True) if must is not None):
        must = ", ".join("any" if size is None else str(size) for size in shape)
        raise DataError(f"{where}: {written(name)} must have shape ({must}), beside the others. Got {sizes} instead.")
    if not weight.is_floating_point():
        kind = str(weight.dtype).removeprefix("torch.")
        raise DataError(f"{where}: {written(name)} must hold floating-point numbers. Got {kind} instead.")
    if 0 in sizes:
        raise DataError(f"{where}: {written(name)} is empty: its shape is {sizes}.")
    plain = weight.detach() if weight.dtype == torch.float64 else weight.detach().float()
    if not bool(plain.isfinite().all()):
        raise DataError(f"{where}: {written(name)} holds numbers that are not finite, so there is nothing to compare.")
    return plain


def reordered(weight: Tensor, order: Sequence[int], gates: int | None = None) -> Tensor:
    """The gates of a weight, stacked along its first axis, in another order.

    >>> reordered(torch.arange(6), (2, 0, 1))
    tensor([4, 5, 0, 1, 2, 3])
    """
    parts = weight.chunk(gates or len(order))
    return torch.cat([parts[k] for k in order])
