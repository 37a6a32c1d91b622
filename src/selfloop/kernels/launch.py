"""Calling a compiled function: its weights packed, its block of addresses filled in for each thread."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray as Array
from torch import Tensor
from torch.nn import functional as F

from selfloop.compiler.layout import Layout, Panel
from selfloop.kernels import team


class Launch:
    """A function's block for each thread, while it is filled in. It keeps alive what it has the addresses of.

    Args:
        layout: of the function.
        function: its address.
        threads: how many.
        by_units: the threads share the units of each step and wait for each other, rather than share the rows.
    """

    def __init__(self, layout: Layout, function: int, threads: int, by_units: bool = False) -> None:
        self.layout, self.function, self.by_units = layout, function, by_units and threads > 1
        self.blocks = np.zeros((threads, len(layout.arguments)), dtype=np.int64)
        self._barrier = np.zeros(1, dtype=np.int64)
        self._alive: list[object] = []
        own, all_ = np.arange(threads), threads
        self._header("first", 0 if self.by_units else own)
        self._header("stride", 1 if self.by_units else all_)
        self._header("part", own if self.by_units else 0)
        self._header("parts", all_ if self.by_units else 1)
        self._header("barrier", self._barrier.ctypes.data)
        self._header("give_way", team.give_way())

    def array(self, kind: str, name: str, where: Int[Array, " R"] | Tensor, shift: int = 0) -> None:
        """A table of addresses, or a tensor; `shift` is that of its start, in bytes.

        What the function does not use is passed over.
        """
        place = self.layout.arguments.get((kind, name))
        if place is not None:
            self._alive.append(where)
            start = where.data_ptr() if isinstance(where, Tensor) else where.ctypes.data
            self.blocks[:, place] = start + shift

    def space(self, kind: str, rows: int, like: Tensor) -> Tensor:
        """Room for the fields of an array that no one else needs, zeros at first."""
        tensor = like.new_zeros(rows, self.layout.fields[kind].stride)
        self.array(kind, "", tensor)
        return tensor

    def weights(self, params: Mapping[str, Tensor]) -> None:
        """Matrices packed, vectors with room beyond their end."""
        lanes = self.layout.target.lanes(self.layout.bits // 8)
        for k, panel in enumerate(self.layout.panels):
            self.array("panel", str(k), pack(panel, params, lanes))
        for kind, name in self.layout.arguments:
            if kind == "param":
                self.array(kind, name, F.pad(params[name].reshape(-1), (0, lanes)))

    def run(self, starts: Int[Array, " _"], counts: Int[Array, " _"], begin: int, end: int) -> None:
        """Run the steps from `begin` up to `end`; the threads share the rows."""
        self._header("starts", starts.ctypes.data)
        self._header("counts", counts.ctypes.data)
        self._header("begin", begin)
        self._header("end", end)
        self._barrier[0] = 0
        team.run(self.function, self.blocks, together=self.by_units)

    def run_rows(self, low: int, high: int, at_once: int) -> None:
        """For a function without steps: run the rows from `low` up to `high`, so many at once."""
        starts = np.append(np.arange(low, high, at_once), high)
        self.run(starts, np.diff(starts), 0, len(starts) - 1)

    def _header(self, name: str, value: int | Int[Array, " threads"]) -> None:
        self.blocks[:, self.layout.arguments["header", name]] = value


def pack(panel: Panel, params: Mapping[str, Tensor], lanes: int) -> Tensor:
    """The weights of a panel as its docstring has them."""
    unit = panel.unroll * lanes
    blocks = -(-panel.size // unit)
    parts = []
    for weights, length in zip(panel.terms, panel.lengths, strict=True):
        columns = []
        for w in weights:
            rows, width = (length, panel.size) if w.transposed else (panel.size, length)
            block = params[w.name][w.row : w.row + rows, w.column : w.column + width]
            columns.append(block.T if w.transposed else block)
        stacked = columns[0][None] if len(columns) == 1 else torch.stack(columns)
        if blocks * unit > panel.size:
            stacked = F.pad(stacked, (0, 0, 0, blocks * unit - panel.size))
        stacked = stacked.unflatten(1, (blocks, panel.unroll, lanes))
        parts.append(stacked.permute(1, 4, 0, 2, 3).reshape(blocks, length, -1, lanes))
    whole = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    if len(panel.widths) == 1:
        return whole.contiguous()
    return torch.cat([own.reshape(blocks, -1) for own in whole.split(panel.widths, dim=2)], dim=1)
