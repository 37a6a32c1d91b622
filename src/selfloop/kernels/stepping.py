"""One step of a stack of layers from Python, in as few instructions as can be: all addresses are known beforehand."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from time import perf_counter

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray as Array
from torch import Tensor

from selfloop.compiler import (
    STACK_HEADER,
    STACK_LAYER,
    STACK_SHARED,
    KernelLayout,
    Kernels,
    Target,
    compile,
    host_target,
    stack_code,
    tools,
)
from selfloop.errors import ArgumentError
from selfloop.kernels import team
from selfloop.kernels.command_buffer import Recorder
from selfloop.kernels.compiled import BITS
from selfloop.kernels.launch import Launch, Parameter, packed_elements, set_parameters
from selfloop.kernels.problem import check_shape
from selfloop.kernels.short_weights import shortened, starts
from selfloop.language.graph import Graph

ONE_THREAD_BYTES = 3 << 19
"""Bytes of weights up to which a step of few sequences runs on one thread and holds Python's lock. It takes 10 µs:
splitting the units costs 4, and a thread that releases the lock may wait for milliseconds to get it back."""

PAUSE, WAKE = 0.5e-3, 2e-3
"""Seconds. OpenMP's threads fall asleep after about a millisecond, and waking them can take two. So after a pause steps
run on one thread, until steps without a pause have taken as long (an LSTM of 256 units: 12 µs a step on two threads and
21 on one, but after pauses of 10 ms 1900 and 50)."""

CHEAP_ROWS = 4
"""Sequences that take little longer than one, since one must read all weights too."""


class Steps:
    """A stack of one cell, ready to step: packed weights, two sets of states that take turns, input and output.

    Args:
        graph: the cell's equations.
        sizes: for each layer, the cell's named sizes.
        weights: for each layer, the weights by the cell's names. They are copied.
        states: the size of each state, the largest of all layers.
        output: the state that is the output.
        batch: the sequences.
        like: a tensor of their dtype.
        form: what matrices are kept as, one of `WEIGHT_FORMS`.

    Attributes:
        run: runs a step; it takes `block`.
        block: see `run`.
        shared: its first number is the address of the input of the next step; unless set, that of `x`.
        x: memory for the input.
        y: where the output is after a step.
        weights: those that were given last, copied.
        threads: how many share the units while steps follow one another without a pause.
    """

    def __init__(
        self,
        graph: Graph,
        sizes: Sequence[Mapping[str, int]],
        weights: Sequence[Mapping[str, Tensor]],
        states: Mapping[str, int],
        output: str,
        batch: int,
        like: Tensor,
        form: str = "f32",
    ) -> None:
        bits, target = BITS[like.dtype], host_target()
        self._kernels = [_kernels(graph.text, tuple(sorted(own.items())), bits, target, batch, form) for own in sizes]
        self._graph, self._sizes = graph, sizes
        self._input, self._output, self._batch = graph.input, output, batch
        self._states = {name: like.new_zeros(2, len(sizes), batch, size) for name, size in states.items()}
        self.x = like.new_zeros(batch, graph.shape(graph.input)[0].value(sizes[0]))
        self.y = like.new_zeros(batch, states[output])
        weight_bytes = sum(kernels.infer.weight_bytes for kernels in self._kernels)
        is_short = weight_bytes * max(1, batch / CHEAP_ROWS) <= ONE_THREAD_BYTES
        self.threads = 1 if is_short else team.threads()

        # A block for a thread alone, then one for each of those that share the units.
        members = 1 + self.threads
        self._part, self._parts = np.arange(-1, self.threads).clip(0), np.array([1] + [self.threads] * self.threads)
        self._tables = np.zeros((members, batch), dtype=np.int64)
        self._starts, self._counts = np.zeros(2, dtype=np.int64), np.full(2, batch, dtype=np.int64)
        self._barriers = np.zeros((2, len(sizes)), dtype=np.int64)
        self.shared = (ctypes.c_int64 * len(STACK_SHARED))(self.x.data_ptr(), 0)
        outputs = self._states[output]
        self._blocks = np.zeros((members, len(STACK_HEADER) + len(STACK_LAYER) * len(sizes)), dtype=np.int64)
        words: dict[str, int | Int[Array, " members"]] = {
            "part": self._part,
            "shared": ctypes.addressof(self.shared),
            "own_x": self.x.data_ptr(),
            "x_table": self._tables.ctypes.data + np.arange(members) * self._tables.strides[0],
            "rows": batch,
            "pitch": self.x.stride(0) * self.x.element_size(),
            "y": self.y.data_ptr(),
            "y_size": self.y.numel(),
            "new0": outputs[1, -1].data_ptr(),
            "new1": outputs[0, -1].data_ptr(),
            "barriers": self._barriers.ctypes.data,
            "layers": len(sizes),
        }
        for name, value in words.items():
            self._blocks[:, STACK_HEADER.index(name)] = value
        self._alive: list[object] = []
        self.set_weights(weights)

        self._code = stack_code(bits, target)
        self._function = self._code.address("stack")
        prototype = ctypes.PYFUNCTYPE if is_short else ctypes.CFUNCTYPE
        self._alone: Callable[[int], None] = prototype(None, ctypes.c_void_p)(self._function)
        self._together = self._blocks[1:]
        self._end = self._spent = 0.0
        self.block: int = self._blocks.ctypes.data
        self.run = self._alone if self.threads == 1 else self._run_at_pace

    def set_weights(self, weights: Sequence[Mapping[str, Tensor]]) -> None:
        """Take other weights; after an error those of before are whole.

        Raises:
            ArgumentError: one has another shape, dtype or device.
        """
        for sizes, own in zip(self._sizes, weights, strict=True):
            for name in self._graph.leaves.keys() & own.keys():
                self._check(name, own[name], sizes)
        copies = [{name: w.detach().clone() for name, w in own.items()} for own in weights]
        alive: list[object] = []
        new_blocks = self._blocks.copy()
        recorder = Recorder(tools(self._kernels[0].bits, self._kernels[0].target), 1)
        to_shorten: list[tuple[KernelLayout, Tensor, UInt8[Array, " _"]]] = []
        for layer, (kernels, own) in enumerate(zip(self._kernels, copies, strict=True)):
            launch = Launch(kernels.infer, kernels.address("infer"), 1)
            # Matrices are packed, which copies them; vectors are read where they lie.
            packed = self.x.new_zeros(packed_elements([launch]))
            addresses = {name: Parameter(w.data_ptr(), w.stride()) for name, w in own.items()}
            set_parameters(recorder, [launch], addresses, packed.data_ptr())
            if kernels.infer.weights != "f32":
                places = starts(kernels.infer)
                short = np.empty(places[-1], np.uint8)
                for k, place in enumerate(places[:-1]):
                    launch.set("panel", str(k), short.ctypes.data + place)
                to_shorten.append((kernels.infer, packed, short))
                alive.append(short)
            else:
                alive.append(packed)
            workspace = self.x.new_zeros(self._batch, kernels.infer.fields["workspace"].stride)
            launch.set("workspace", "", workspace.data_ptr())
            alive.append(workspace)
            new_blocks[:, len(STACK_HEADER) + len(STACK_LAYER) * layer] = launch.function
            for turn in (0, 1):
                blocks = np.repeat(launch.blocks, len(new_blocks), axis=0)
                alive += [blocks, self._lay(layer, turn, kernels.infer, blocks)]
                place = len(STACK_HEADER) + len(STACK_LAYER) * layer + STACK_LAYER.index(f"turn{turn}")
                new_blocks[:, place] = blocks.ctypes.data + np.arange(len(blocks)) * blocks.strides[0]
        recorder.finish().run([], self.x.dtype)
        for layout, packed, short in to_shorten:
            short[:] = shortened(layout, packed.numpy())
        self._alive = [copies, alive, self._alive]  # whichever the blocks point to, should an interrupt come here
        self._blocks[:] = new_blocks
        self.weights, self._alive = copies, alive

    def _check(self, name: str, weight: Tensor, sizes: Mapping[str, int]) -> None:
        """Raise ArgumentError where a weight is not of the shape, dtype and device of its layer."""
        check_shape(self._graph, name, tuple(weight.shape), sizes)
        if (weight.dtype, weight.device) != (self.x.dtype, self.x.device):
            raise ArgumentError(
                f"The '{name}' of {self._graph.name} must be {self.x.dtype} on {self.x.device}, as its other tensors "
                f"are. Got {weight.dtype} on {weight.device} instead."
            )

    def _lay(self, layer: int, turn: int, layout: KernelLayout, blocks: Int[Array, "members _"]) -> object:
        """Fill in the blocks of a layer in a turn, given those with its weights; the tables that they point to."""
        places = layout.arguments
        tables = {("header", "starts"): self._starts, ("header", "counts"): self._counts}
        for name in self._states:
            tables["h_prev", name] = self._rows(name, turn, layer)
            tables["h_next", name] = self._rows(name, 1 - turn, layer)
        if layer:
            tables["x", self._input] = self._rows(self._output, 1 - turn, layer - 1)
        addresses = {key: table.ctypes.data for key, table in tables.items()}
        values: dict[tuple[str, str], int | Int[Array, " members"]] = {
            **addresses,
            ("header", "barrier"): self._barriers[turn, layer:].ctypes.data,
            ("header", "sched_yield"): team.sched_yield(),
            ("header", "begin"): turn,
            ("header", "end"): turn + 1,
            ("header", "part"): self._part,
            ("header", "parts"): self._parts,
        }
        if not layer:
            values["x", self._input] = self._blocks[:, STACK_HEADER.index("x_table")]
        for key, value in values.items():
            if key in places:
                blocks[:, places[key]] = value
        return tables

    def _run_at_pace(self, block: int) -> None:
        start = perf_counter()
        if start - self._end > PAUSE:
            self._spent = 0.0
        if self._spent < WAKE:
            self._alone(block)
            self._end = perf_counter()
            self._spent += self._end - start
        else:
            team.run(self._function, self._together, together=True)
            self._end = perf_counter()

    @property
    def states(self) -> dict[str, Float[Tensor, "L B _"]]:
        """Each state as it is now, in place."""
        turn = self.shared[STACK_SHARED.index("turn")]
        return {name: both[turn] for name, both in self._states.items()}

    def _rows(self, name: str, turn: int, layer: int) -> Int[Array, " B"]:
        """The addresses of the rows of a state."""
        rows = self._states[name][turn, layer]
        return rows.data_ptr() + np.arange(self._batch) * (rows.stride(0) * rows.element_size())


@lru_cache(maxsize=256)
def _kernels(
    cell: str, sizes: tuple[tuple[str, int], ...], bits: int, target: Target, batch: int, form: str
) -> Kernels:
    return compile(Graph.read(cell), dict(sizes), bits, target, most_rows=batch, hoist_above=None, weights=form)
