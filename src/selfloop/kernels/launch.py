"""Calling a compiled function: its weights packed, its block of addresses filled in for each thread."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array
from torch import Tensor

from selfloop.compiler.build import Code
from selfloop.compiler.emit import pack
from selfloop.compiler.layout import Layout, Packing
from selfloop.kernels import team


class Launch:
    """A function's block for each thread, while it is filled in. It keeps alive what it has the addresses of.

    Args:
        layout: of the function.
        code: where it is, and the function that packs.
        function: its name.
        threads: how many.
        by_units: the threads share the units of each step and wait for each other, rather than share the rows.
    """

    def __init__(self, layout: Layout, code: Code, function: str, threads: int, by_units: bool = False) -> None:
        self.layout, self.code, self.function = layout, code, code.address(function)
        self.by_units = by_units and threads > 1
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
        """Matrices packed, vectors as they are."""
        for kind, name in self.layout.arguments:
            if kind == "param":
                self.array(kind, name, params[name].contiguous())
        packing = self.layout.packing
        if not packing.vectors:
            return
        some = next(iter(params.values()))
        item = some.element_size()
        packed = some.new_empty(packing.size)
        for k, start in enumerate(packing.starts):
            self.array("panel", str(k), packed, start * item)
        names, which, row, column, is_transposed, static = _template(packing)
        start, down, along = (np.array(v)[which] for v in zip(*(_place(params[name]) for name in names), strict=True))
        blocks = static.copy()
        blocks[:, _SOURCE] = start + (row * down + column * along) * item
        blocks[:, _LANE] = np.where(is_transposed, along, down)
        blocks[:, _K] = np.where(is_transposed, down, along)
        blocks[:, _GOAL] = packed.data_ptr() + static[:, _GOAL] * item
        team.run(self.code.address("pack"), blocks)

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


_SOURCE, _LANE, _K, _GOAL = (pack.BLOCK.index(name) for name in ("source", "lane_stride", "k_stride", "goal"))


@lru_cache(maxsize=1024)
def _template(packing: Packing) -> tuple[tuple[str, ...], *tuple[Array, ...]]:
    """What of the blocks of `emit.pack` is the same at each call: names, and arrays with an entry for each vector."""
    names = tuple(dict.fromkeys(v.weight.name for v in packing.vectors))
    which = np.array([names.index(v.weight.name) for v in packing.vectors])
    weights = [v.weight for v in packing.vectors]
    row, column, is_transposed = (np.array([w[k] for w in weights]) for k in (1, 2, 3))
    static = np.zeros((len(packing.vectors), len(pack.BLOCK)), dtype=np.int64)
    for name in ("units", "first", "step", "length", "goal", "goal_step", "goal_k"):
        static[:, pack.BLOCK.index(name)] = [getattr(v, name) for v in packing.vectors]
    return names, which, row, column, is_transposed, static


def _place(matrix: Tensor) -> tuple[int, int, int]:
    """Where a matrix starts, and how far its rows and columns are apart."""
    return matrix.data_ptr(), *matrix.stride()  # type: ignore[return-value]
