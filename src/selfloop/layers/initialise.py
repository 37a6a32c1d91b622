"""How parameters start."""

import threading
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from selfloop.errors import ArgumentError
from selfloop.language import Cell
from selfloop.language.cell import Array, Chrono


@torch.no_grad()
def initialise(weight: Tensor, cell: Cell, name: str, hidden_size: int, sizes: Mapping[str, int]) -> None:
    """Fill one parameter of a cell as its declaration says.

    Without a declaration vectors start at 0, matrices that multiply a state orthogonal, and other matrices Glorot. Each
    of the matrices that a cell stacks, as an LSTM its four in ``4h × h``, is filled by itself, and so is each block of
    a block-diagonal matrix.
    """
    shape = cell.graph.shape(name)
    init = cell.inits[name]
    if init is None:
        matrix = "orthogonal" if name in cell.graph.recurrent_params else "glorot"
        init = matrix if len(shape) == 2 else 0.0
    heads = cell.heads.get(name, 1)
    number = sizes[heads] if isinstance(heads, str) else heads
    blocks = weight.chunk(number * shape[0].stacked) if len(shape) == 2 else (weight,)
    match init:
        case Array():
            _copy(weight, torch.as_tensor(init), cell, name)
        case "identity":
            for block in blocks:
                nn.init.eye_(block)
        case "orthogonal":
            for block in blocks:
                wide = block.dtype if block.dtype == torch.float64 else torch.float32  # QR knows no smaller one
                block.copy_(_orthogonal(torch.empty_like(block, dtype=wide)))
        case "glorot":
            for block in blocks:
                nn.init.xavier_uniform_(block)
        case "uniform":
            bound = hidden_size**-0.5
            nn.init.uniform_(weight, -bound, bound)
        case tuple() | Chrono():
            parts = init if isinstance(init, tuple) else (init,)
            uniform = torch.rand_like(weight.chunk(len(parts))[0])  # one draw: a unit's gates have one time scale
            for block, value in zip(weight.chunk(len(parts)), parts, strict=True):
                if isinstance(value, Chrono):
                    block.copy_(value.sign * torch.log(1 + uniform * (value.steps - 2)))  # of 1 to steps - 1
                else:
                    block.fill_(value)
        case float() | int():
            weight.fill_(float(init))
        case fill:
            assert callable(fill)
            fill(weight)


def _copy(weight: Tensor, given: Tensor, cell: Cell, name: str) -> None:
    if given.shape != weight.shape:
        raise ArgumentError(
            f"The init of '{name}' of '{cell.name}' must be of shape {tuple(weight.shape)} in this layer. "
            f"Got {tuple(given.shape)} instead."
        )
    weight.copy_(given)


_one_at_a_time = threading.Lock()


def _orthogonal(block: Tensor) -> Tensor:
    """Fill with an orthogonal matrix, by one thread: LAPACK's last bits depend on their number."""
    with _one_at_a_time:  # two that save and restore the number of threads would leave it at 1
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return nn.init.orthogonal_(block)
        finally:
            torch.set_num_threads(threads)
