"""Launches of kernels: the argument block of each thread, and the packing of weights.

An address is an int64 relocation (see `command_buffer`): bytes may be added to it, nothing else; 0 is none.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array

from selfloop.compiler import PACK_VECTOR, KernelLayout, Packing
from selfloop.kernels import team
from selfloop.kernels.command_buffer import Made, Recorder
from selfloop.kernels.ragged import Chunk, Rows
from selfloop.kernels.relocations import Numbers

UNBOUNDED = 1 << 40
"""More rows than there are."""


class Launch:
    """The argument blocks of a kernel, while they are filled in.

    It may be recorded several times, with arguments changed in between: `record` copies the blocks. Launches run in the
    order in which they are recorded, so `set_parameters`, which records the packing, comes before the first `record`.

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
        thread = np.arange(threads)
        header: dict[str, Any] = {"first_row": thread, "end_row": UNBOUNDED, "row_stride": threads}  # see layout.HEADER
        header |= {"part": 0, "parts": 1, "sched_yield": team.sched_yield()}
        if self.by_units:
            header |= {"first_row": 0, "row_stride": 1, "part": thread, "parts": threads}
        for name, value in header.items():
            self.set("header", name, value)

    def split_evenly(self, rows: int) -> None:
        """Where every step has as many rows, give each thread adjacent ones.

        What a processor prefetches is then not what another writes (an LSTM of 64 units trains in 3.1 ms instead of
        4.2).
        """
        if not self.by_units:
            bounds = self._bounds(rows)
            for name, value in (("first_row", bounds[:-1]), ("end_row", bounds[1:]), ("row_stride", 1)):
                self.set("header", name, value)

    def _bounds(self, rows: int) -> Numbers:
        """Where the rows of each thread start, and where the last's end."""
        return rows * np.arange(len(self.blocks) + 1) // len(self.blocks)

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
            self.set("header", "barrier", recorder.write(np.zeros(1, dtype=np.int64)))  # of this launch
        recorder.launch(self.function, self.blocks.copy())

    def record_rows(self, recorder: Recorder, chunk: Chunk, at_once: int) -> None:
        """Record a launch of a kernel without steps, for the rows of a chunk, `at_once` at a time."""
        turns = recorder.fixed(lambda rows: -(-chunk.size(rows) // at_once))

        def starts_and_counts(rows: Rows) -> Numbers:
            bounds = [chunk.low + min(at_once * k, chunk.size(rows)) for k in range(turns + 1)]
            return np.array(bounds + [high - low for low, high in pairwise(bounds)])

        starts = recorder.write_of_rows(starts_and_counts)
        header = {"starts": starts, "counts": starts + (turns + 1) * 8, "begin": 0, "end": turns}
        for name, value in header.items():
            self.set("header", name, value)

        self.set("header", "row_stride", 1)
        columns: dict[str, Made] = {
            "first_row": lambda rows: self._bounds(min(at_once, chunk.size(rows)))[:-1],
            "end_row": lambda rows: self._bounds(min(at_once, chunk.size(rows)))[1:],
        }
        made = {self.layout.arguments["header", name]: column for name, column in columns.items()}
        recorder.launch(self.function, self.blocks.copy(), made)


class Parameter(NamedTuple):
    """Where a parameter lies: the relocation of its address, and the strides of a matrix, in elements."""

    address: int
    strides: tuple[int, ...]


def set_parameters(
    recorder: Recorder, launches: Sequence[Launch], parameters: Mapping[str, Parameter], packed: int = 0
) -> None:
    """Give kernels their parameters: vectors as they are, matrices packed into panels, or as they are.

    Args:
        recorder: where the packing is recorded.
        launches: of the kernels.
        parameters: by name. The elements of a vector are adjacent.
        packed: the address where the panels go; workspace of the call if 0.
    """
    for launch in launches:
        for buffer, name in launch.layout.arguments:
            if buffer in ("param", "matrix"):
                launch.set(buffer, name, parameters[name].address)
    packing = _merged(tuple(launch.layout.packing for launch in launches))
    if not packing.names:
        return
    item = launches[0].layout.bits // 8
    packed = packed or recorder.workspace(packing.size * item)
    starts = iter(packing.starts)
    for launch in launches:
        for k in range(len(launch.layout.packing.starts)):
            launch.set("panel", str(k), packed + next(starts) * item)
    matrices = np.array([(parameters[name].address, *parameters[name].strides) for name in packing.names])
    source, row_stride, column_stride = matrices[packing.matrix].T
    vectors = packing.entries.copy()
    vectors[:, _SOURCE] = source + (packing.row * row_stride + packing.column * column_stride) * item
    # A lane is a unit, a row of the submatrix; of a transposed one a column.
    vectors[:, _LANE_STRIDE] = np.where(packing.is_transposed, column_stride, row_stride)
    vectors[:, _K_STRIDE] = np.where(packing.is_transposed, row_stride, column_stride)
    vectors[:, _PACKED] = packed + vectors[:, _PACKED] * item
    share = team.shares(len(vectors), recorder.threads)
    place = recorder.write(vectors.reshape(-1))
    blocks = np.stack([place + share[:-1] * vectors.strides[0], np.diff(share)], axis=1)
    recorder.launch(recorder.tools.address("pack"), blocks)


def packed_elements(launches: Sequence[Launch]) -> int:
    """The number of elements of the packed panels."""
    return _merged(tuple(launch.layout.packing for launch in launches)).size


_SOURCE, _LANE_STRIDE, _K_STRIDE, _PACKED = (
    PACK_VECTOR.index(name) for name in ("source", "lane_stride", "k_stride", "packed")
)


class _Packing(NamedTuple):
    """What is packed for several kernels: an entry of each array for each vector.

    Attributes:
        names: of the matrices.
        matrix: the index of a vector's matrix in `names`.
        row, column: where its submatrix starts.
        is_transposed: whether its submatrix is multiplied transposed.
        entries: `PACK_VECTOR`s, their addresses and strides still to be set; `packed` is in elements.
        starts: where each panel starts, in elements.
        size: the elements of all panels.
    """

    names: tuple[str, ...]
    matrix: Int[Array, " V"]
    row: Int[Array, " V"]
    column: Int[Array, " V"]
    is_transposed: Int[Array, " V"]
    entries: Int[Array, "V _"]
    starts: tuple[int, ...]
    size: int


@lru_cache(maxsize=256)
def _merged(packings: tuple[Packing, ...]) -> _Packing:
    ends = [0, *np.cumsum([packing.size for packing in packings]).tolist()]
    vectors = [(v, end) for packing, end in zip(packings, ends, strict=False) for v in packing.vectors]
    names = tuple(dict.fromkeys(v.matrix.name for v, _ in vectors))
    entries = np.zeros((len(vectors), len(PACK_VECTOR)), dtype=np.int64)
    for name in ("units", "first_unit", "unit_step", "length", "packed", "packed_step", "packed_k"):
        entries[:, PACK_VECTOR.index(name)] = [getattr(v, name) for v, _ in vectors]
    entries[:, _PACKED] += np.array([end for _, end in vectors], dtype=np.int64)
    submatrices = [(names.index(m.name), m.row, m.column, m.transposed) for m in (v.matrix for v, _ in vectors)]
    matrix, row, column, is_transposed = np.array(submatrices, dtype=np.int64).reshape(-1, 4).T
    starts = tuple(end + start for packing, end in zip(packings, ends, strict=False) for start in packing.starts)
    return _Packing(names, matrix, row, column, is_transposed, entries, starts, ends[-1])
