"""Launches of compiled functions: their blocks filled in for each thread, their weights packed."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array

from selfloop.compiler.emit import pack
from selfloop.compiler.layout import Layout, Packing
from selfloop.kernels import team
from selfloop.kernels.sheet import Numbers, Sheet

ALL = 1 << 40
"""More rows than there are."""


class Launch:
    """A function's block for each thread, while it is filled in.

    Args:
        layout: of the function.
        function: its address.
        threads: how many.
        by_units: the threads share the units of each step and wait for each other, rather than share the rows.
    """

    def __init__(self, layout: Layout, function: int, threads: int, by_units: bool = False) -> None:
        self.layout, self.function = layout, function
        self.by_units = by_units and threads > 1
        self.blocks = np.zeros((threads, len(layout.arguments)), dtype=np.int64)
        own = np.arange(threads)
        shares: dict[str, Any] = {"first": own, "last": ALL, "stride": threads, "part": 0, "parts": 1}
        if self.by_units:
            shares = {"first": 0, "last": ALL, "stride": 1, "part": own, "parts": threads}
        for name, value in {**shares, "give_way": team.give_way()}.items():
            self.give("header", name, value)

    def share(self, rows: int) -> None:
        """Where there are as many rows at each step, those of a thread can be neighbours.

        What a processor fetches ahead is then no longer what another writes (an LSTM of 64 units trains in 3.1 ms
        instead of 4.2).
        """
        threads = len(self.blocks)
        if not self.by_units:
            bounds = rows * np.arange(threads + 1) // threads
            shares: dict[str, int | Numbers] = {"first": bounds[:-1], "last": bounds[1:], "stride": 1}
            for name, value in shares.items():
                self.give("header", name, value)

    def give(self, kind: str, name: str, value: int | Numbers) -> None:
        """A number or an address, for all threads or for each. What the function does not use is passed over."""
        place = self.layout.arguments.get((kind, name))
        if place is not None:
            self.blocks[:, place] = value

    def run(self, sheet: Sheet, starts: int, counts: int, begin: int, end: int) -> None:
        """Run the steps from `begin` up to `end`; the rows of all steps start, and are as many, as two lists say."""
        for name, value in (("starts", starts), ("counts", counts), ("begin", begin), ("end", end)):
            self.give("header", name, value)
        if self.by_units:
            self.give("header", "barrier", sheet.write(np.zeros(1, dtype=np.int64)))
        sheet.launch(self.function, self.blocks.copy())

    def run_rows(self, sheet: Sheet, low: int, high: int, at_once: int) -> None:
        """For a function without steps: run the rows from `low` up to `high`, so many at once."""
        self.share(min(at_once, high - low))
        starts = np.append(np.arange(low, high, at_once), high)
        self.run(sheet, sheet.write(starts), sheet.write(np.diff(starts)), 0, len(starts) - 1)


class Weight(NamedTuple):
    """Where a parameter lies: its address, and the strides of a matrix, in elements."""

    address: int
    strides: tuple[int, ...]


def give_weights(sheet: Sheet, launches: Sequence[Launch], weights: Mapping[str, Weight], goal: int = 0) -> None:
    """Give functions their weights: vectors as they are, matrices packed.

    Args:
        sheet: where the packing is launched.
        launches: of the functions.
        weights: the parameters by name; a vector's numbers lie side by side.
        goal: where the packed matrices go; a room of the sheet if 0.
    """
    for launch in launches:
        for kind, name in launch.layout.arguments:
            if kind == "param":
                launch.give(kind, name, weights[name].address)
    packing = _merge(tuple(launch.layout.packing for launch in launches))
    if not packing.names:
        return
    item = launches[0].layout.bits // 8
    goal = goal or sheet.room(packing.size * item)
    starts = iter(packing.starts)
    for launch in launches:
        for k in range(len(launch.layout.panels)):
            launch.give("panel", str(k), goal + next(starts) * item)
    start, down, along = np.array([(weights[name].address, *weights[name].strides) for name in packing.names])[
        packing.which
    ].T
    vectors = packing.static.copy()
    vectors[:, _SOURCE] = start + (packing.row * down + packing.column * along) * item
    vectors[:, _LANE] = np.where(packing.is_transposed, along, down)
    vectors[:, _K] = np.where(packing.is_transposed, down, along)
    vectors[:, _GOAL] = goal + vectors[:, _GOAL] * item
    share = len(vectors) * np.arange(sheet.threads + 1) // sheet.threads
    place = sheet.write(vectors.reshape(-1))
    blocks = np.stack([place + share[:-1] * vectors.strides[0], np.diff(share)], axis=1)
    sheet.launch(sheet.tools.address("pack"), blocks)


def packed_elements(launches: Sequence[Launch]) -> int:
    """How many elements the packed matrices take."""
    return _merge(tuple(launch.layout.packing for launch in launches)).size


_SOURCE, _LANE, _K, _GOAL = (pack.VECTOR.index(name) for name in ("source", "lane_stride", "k_stride", "goal"))


class _Packing(NamedTuple):
    """What is packed for several functions: an entry of each array for each vector."""

    names: tuple[str, ...]
    which: Int[Array, " V"]
    row: Int[Array, " V"]
    column: Int[Array, " V"]
    is_transposed: Int[Array, " V"]
    static: Int[Array, "V _"]
    starts: tuple[int, ...]
    size: int


@lru_cache(maxsize=256)
def _merge(packings: tuple[Packing, ...]) -> _Packing:
    ends = [0, *np.cumsum([own.size for own in packings]).tolist()]
    vectors = [(v, end) for own, end in zip(packings, ends, strict=False) for v in own.vectors]
    names = tuple(dict.fromkeys(v.weight.name for v, _ in vectors))
    which = np.array([names.index(v.weight.name) for v, _ in vectors], dtype=np.int64)
    static = np.zeros((len(vectors), len(pack.VECTOR)), dtype=np.int64)
    for name in ("units", "first", "step", "length", "goal", "goal_step", "goal_k"):
        static[:, pack.VECTOR.index(name)] = [getattr(v, name) for v, _ in vectors]
    static[:, _GOAL] += np.array([end for _, end in vectors], dtype=np.int64)
    row, column, is_transposed = (np.array([int(v.weight[k]) for v, _ in vectors]) for k in (1, 2, 3))
    starts = tuple(end + start for own, end in zip(packings, ends, strict=False) for start in own.starts)
    return _Packing(names, which, row, column, is_transposed, static, starts, ends[-1])
