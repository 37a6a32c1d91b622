"""Launches of kernels: the argument block of each thread, and the packing of weights."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array

from selfloop.compiler import PACK_VECTOR, KernelLayout, Packing
from selfloop.kernels import team
from selfloop.kernels.command_buffer import Numbers, Recorder

UNBOUNDED = 1 << 40
"""More rows than there are."""


class Launch:
    """The argument blocks of a kernel, while they are filled in.

    Args:
        layout: of the kernel.
        function: its address.
        threads: their number.
        by_units: whether the threads split the hidden units, and synchronise at a barrier after each stage, rather than
            split the sequences.
    """

    def __init__(self, layout: KernelLayout, function: int, threads: int, by_units: bool = False) -> None:
        self.layout, self.function = layout, function
        self.by_units = by_units and threads > 1
        self.blocks = np.zeros((threads, len(layout.arguments)), dtype=np.int64)
        own = np.arange(threads)
        shares: dict[str, Any] = {"first": own, "last": UNBOUNDED, "stride": threads, "part": 0, "parts": 1}
        if self.by_units:
            shares = {"first": 0, "last": UNBOUNDED, "stride": 1, "part": own, "parts": threads}
        for name, value in {**shares, "sched_yield": team.sched_yield()}.items():
            self.set("header", name, value)

    def split_evenly(self, rows: int) -> None:
        """Where every step has as many rows, give each thread adjacent ones.

        What a processor prefetches is then not what another writes (an LSTM of 64 units trains in 3.1 ms instead of
        4.2).
        """
        threads = len(self.blocks)
        if not self.by_units:
            bounds = rows * np.arange(threads + 1) // threads
            shares: dict[str, int | Numbers] = {"first": bounds[:-1], "last": bounds[1:], "stride": 1}
            for name, value in shares.items():
                self.set("header", name, value)

    def set(self, buffer: str, name: str, value: int | Numbers) -> None:
        """Set an argument, for all threads or for each. One that the kernel does not have is passed over."""
        place = self.layout.arguments.get((buffer, name))
        if place is not None:
            self.blocks[:, place] = value

    def record(self, recorder: Recorder, starts: int, counts: int, begin: int, end: int) -> None:
        """Record a launch for the time steps from `begin` up to `end`.

        Args:
            recorder: where the launch is recorded.
            starts: the address of a table: ``starts[t]`` is the first row of step t in the tables of rows.
            counts: the address of a table: ``counts[t]`` is the number of rows of step t.
            begin: the first step.
            end: the step after the last.
        """
        for name, value in (("starts", starts), ("counts", counts), ("begin", begin), ("end", end)):
            self.set("header", name, value)
        if self.by_units:
            self.set("header", "barrier", recorder.write(np.zeros(1, dtype=np.int64)))
        recorder.launch(self.function, self.blocks.copy())

    def record_rows(self, recorder: Recorder, low: int, high: int, at_once: int) -> None:
        """Record a launch of a kernel without steps, for the rows from `low` up to `high`, `at_once` at a time."""
        self.split_evenly(min(at_once, high - low))
        starts = np.append(np.arange(low, high, at_once), high)
        self.record(recorder, recorder.write(starts), recorder.write(np.diff(starts)), 0, len(starts) - 1)


class Parameter(NamedTuple):
    """Where a parameter lies: its address, and the strides of a matrix, in elements."""

    address: int
    strides: tuple[int, ...]


def set_parameters(
    recorder: Recorder, launches: Sequence[Launch], parameters: Mapping[str, Parameter], packed: int = 0
) -> None:
    """Give kernels their parameters: vectors as they are, matrices packed into panels.

    Args:
        recorder: where the packing is recorded.
        launches: of the kernels.
        parameters: by name. The elements of a vector are adjacent.
        packed: the address where the panels go; workspace of the call if 0.
    """
    for launch in launches:
        for buffer, name in launch.layout.arguments:
            if buffer == "param":
                launch.set(buffer, name, parameters[name].address)
    packing = _merge(tuple(launch.layout.packing for launch in launches))
    if not packing.names:
        return
    item = launches[0].layout.bits // 8
    packed = packed or recorder.workspace(packing.size * item)
    starts = iter(packing.starts)
    for launch in launches:
        for k in range(len(launch.layout.panels)):
            launch.set("panel", str(k), packed + next(starts) * item)
    matrices = np.array([(parameters[name].address, *parameters[name].strides) for name in packing.names])
    start, down, along = matrices[packing.which].T
    vectors = packing.static.copy()
    vectors[:, _SOURCE] = start + (packing.row * down + packing.column * along) * item
    vectors[:, _LANE] = np.where(packing.is_transposed, along, down)
    vectors[:, _K] = np.where(packing.is_transposed, down, along)
    vectors[:, _PACKED] = packed + vectors[:, _PACKED] * item
    share = len(vectors) * np.arange(recorder.threads + 1) // recorder.threads
    place = recorder.write(vectors.reshape(-1))
    blocks = np.stack([place + share[:-1] * vectors.strides[0], np.diff(share)], axis=1)
    recorder.launch(recorder.tools.address("pack"), blocks)


def packed_elements(launches: Sequence[Launch]) -> int:
    """The number of elements of the packed panels."""
    return _merge(tuple(launch.layout.packing for launch in launches)).size


_SOURCE, _LANE, _K, _PACKED = (PACK_VECTOR.index(name) for name in ("source", "lane_stride", "k_stride", "packed"))


class _Packing(NamedTuple):
    """What is packed for several kernels: an entry of each array for each vector."""

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
    names = tuple(dict.fromkeys(v.matrix.name for v, _ in vectors))
    which = np.array([names.index(v.matrix.name) for v, _ in vectors], dtype=np.int64)
    static = np.zeros((len(vectors), len(PACK_VECTOR)), dtype=np.int64)
    for name in ("units", "first", "step", "length", "packed", "packed_step", "packed_k"):
        static[:, PACK_VECTOR.index(name)] = [getattr(v, name) for v, _ in vectors]
    static[:, _PACKED] += np.array([end for _, end in vectors], dtype=np.int64)
    row, column, is_transposed = (np.array([int(v.matrix[k]) for v, _ in vectors]) for k in (1, 2, 3))
    starts = tuple(end + start for own, end in zip(packings, ends, strict=False) for start in own.starts)
    return _Packing(names, which, row, column, is_transposed, static, starts, ends[-1])
