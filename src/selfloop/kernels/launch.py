"""Calling a compiled function: its weights packed, its block of addresses filled in for each thread."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array
from torch import Tensor

from selfloop.compiler.build import Code
from selfloop.compiler.emit import pack
from selfloop.compiler.layout import Layout, Packing
from selfloop.compiler.pipeline import tools
from selfloop.kernels import memory, team

ALONE = 1 << 16
"""Elements below which one thread packs alone: waking the others takes as long."""


class Launch:
    """A function's block for each thread, while it is filled in. It keeps alive what it has the addresses of.

    Args:
        layout: of the function.
        code: where it is.
        function: its name.
        threads: how many.
        by_units: the threads share the units of each step and wait for each other, rather than share the rows.
    """

    def __init__(self, layout: Layout, code: Code, function: str, threads: int, by_units: bool = False) -> None:
        self.layout, self.code, self.function = layout, code, code.address(function)
        self.by_units = by_units and threads > 1
        self.blocks = _blocks(layout, threads, self.by_units).copy()
        self._barrier = np.zeros(1, dtype=np.int64)
        self._alive: list[object] = []
        self.header("barrier", self._barrier.ctypes.data)

    def array(self, kind: str, name: str, where: Int[Array, " R"] | Tensor, shift: int = 0) -> None:
        """A table of addresses, or a tensor; `shift` is that of its start, in bytes.

        What the function does not use is passed over.
        """
        place = self.layout.arguments.get((kind, name))
        if place is not None:
            self._alive.append(where)
            start = where.data_ptr() if isinstance(where, Tensor) else where.ctypes.data
            self.blocks[:, place] = start + shift

    def tables(self, tables: Mapping[tuple[str, str], Int[Array, " R"]]) -> None:
        """Tables of addresses."""
        for (kind, name), table in tables.items():
            self.array(kind, name, table)

    def space(self, kind: str, rows: int, like: Tensor) -> Tensor:
        """Room for the fields of an array that no one else needs, zeros at first."""
        tensor = like.new_zeros(rows, self.layout.fields[kind].stride)
        self.array(kind, "", tensor)
        return tensor

    def run(self, starts: Int[Array, " _"], counts: Int[Array, " _"], begin: int, end: int) -> None:
        """Run the steps from `begin` up to `end`; the threads share the rows."""
        self.header("starts", starts.ctypes.data)
        self.header("counts", counts.ctypes.data)
        self.header("begin", begin)
        self.header("end", end)
        self._barrier[0] = 0
        team.run(self.function, self.blocks, together=self.by_units)

    def run_rows(self, low: int, high: int, at_once: int) -> None:
        """For a function without steps: run the rows from `low` up to `high`, so many at once."""
        starts = np.append(np.arange(low, high, at_once), high)
        self.run(starts, np.diff(starts), 0, len(starts) - 1)

    def header(self, name: str, value: int) -> None:
        """A number at the start, the same for all threads."""
        self.blocks[:, self.layout.arguments["header", name]] = value


@lru_cache(maxsize=1024)
def _blocks(layout: Layout, threads: int, by_units: bool) -> Int[Array, "threads _"]:
    """The blocks as far as they are the same at each call."""
    blocks = np.zeros((threads, len(layout.arguments)), dtype=np.int64)
    own = np.arange(threads)
    shares: dict[str, Any] = {"first": own, "stride": threads, "part": 0, "parts": 1}
    if by_units:
        shares = {"first": 0, "stride": 1, "part": own, "parts": threads}
    for name, value in {**shares, "give_way": team.give_way()}.items():
        blocks[:, layout.arguments["header", name]] = value
    return blocks


def give_weights(launches: Sequence[Launch], params: Mapping[str, Tensor]) -> None:
    """Give functions their weights: matrices packed, vectors as they are."""
    for launch in launches:
        for kind, name in launch.layout.arguments:
            if kind == "param":
                launch.array(kind, name, params[name].contiguous())
    template = _template(tuple(launch.layout.packing for launch in launches))
    if not len(template.static):
        return
    some = next(iter(params.values()))
    item = some.element_size()
    packed = memory.empty(template.size, 1, some.dtype)
    starts = iter(template.starts)
    for launch in launches:
        for k in range(len(launch.layout.panels)):
            launch.array("panel", str(k), packed, next(starts) * item)
    matrices = np.array([(params[name].data_ptr(), *params[name].stride()) for name in template.names])
    start, down, along = matrices[template.which].T
    vectors = template.static.copy()
    vectors[:, _SOURCE] = start + (template.row * down + template.column * along) * item
    vectors[:, _LANE] = np.where(template.is_transposed, along, down)
    vectors[:, _K] = np.where(template.is_transposed, down, along)
    vectors[:, _GOAL] = packed.data_ptr() + template.static[:, _GOAL] * item
    layout = launches[0].layout
    move(tools(layout.bits, layout.target), vectors, template.size)


def move(code: Code, vectors: Int[Array, "V _"], elements: int) -> None:
    """Run `emit.pack` of the tools on vectors, so many elements in all."""
    threads = min(team.threads(), len(vectors)) if elements >= ALONE else 1
    share = len(vectors) * np.arange(threads + 1) // threads
    blocks = np.stack([vectors.ctypes.data + share[:-1] * vectors.strides[0], np.diff(share)], axis=1)
    team.run(code.address("pack"), blocks)


_SOURCE, _LANE, _K, _GOAL = (pack.VECTOR.index(name) for name in ("source", "lane_stride", "k_stride", "goal"))


class _Template(NamedTuple):
    """What of packing is the same at each call: arrays have an entry for each vector."""

    names: tuple[str, ...]
    which: Array
    row: Array
    column: Array
    is_transposed: Array
    static: Array
    starts: tuple[int, ...]
    size: int


@lru_cache(maxsize=1024)
def _template(packings: tuple[Packing, ...]) -> _Template:
    ends = np.cumsum([0, *(own.size for own in packings)])
    vectors = [(v, end) for own, end in zip(packings, ends, strict=False) for v in own.vectors]
    names = tuple(dict.fromkeys(v.weight.name for v, _ in vectors))
    which = np.array([names.index(v.weight.name) for v, _ in vectors], dtype=np.int64)
    static = np.zeros((len(vectors), len(pack.VECTOR)), dtype=np.int64)
    for name in ("units", "first", "step", "length", "goal", "goal_step", "goal_k"):
        static[:, pack.VECTOR.index(name)] = [getattr(v, name) for v, _ in vectors]
    static[:, _GOAL] += np.array([end for _, end in vectors], dtype=np.int64)
    row, column, is_transposed = (np.array([v.weight[k] for v, _ in vectors]) for k in (1, 2, 3))
    starts = tuple(int(end) + start for own, end in zip(packings, ends, strict=False) for start in own.starts)
    return _Template(names, which, row, column, is_transposed, static, starts, int(ends[-1]))
