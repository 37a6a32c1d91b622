"""One step of a stack of layers from Python, in as few instructions as can be: all addresses are known beforehand."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from selfloop.compiler import targets
from selfloop.compiler.emit.stack import LAYER, SHARED, WORDS
from selfloop.compiler.pipeline import Kernels, compile, stack_code
from selfloop.kernels import team
from selfloop.kernels.launch import Launch, give_weights
from selfloop.kernels.native import BITS
from selfloop.language.graph import Graph

SHORT = 3 << 19
"""Bytes of weights up to which a step of few sequences runs on one thread and keeps Python's lock. It takes 10 µs then:
waking the others takes 3, and who gives the lock away may wait for milliseconds until another thread gives it back."""

FEW = 4
"""Sequences that cost little more than one, which must read the weights too."""


class Steps:
    """A stack of one cell, ready to step: packed weights, two sets of states that take turns, input and output.

    Args:
        graph: the cell's equations.
        sizes: for each layer, the cell's named sizes.
        weights: for each layer, the weights by the cell's names. They are copied.
        states: the size of each state.
        batch: the sequences.
        like: a tensor of their dtype.

    Attributes:
        run: runs a step; it takes `block`.
        block: see `run`.
        shared: its first number is the address of the input of the next step; unless set, that of `x`.
        x: room for the input.
        y: where the output is after a step.
        threads: how many run.
    """

    def __init__(
        self,
        graph: Graph,
        sizes: Sequence[Mapping[str, int]],
        weights: Sequence[Mapping[str, Tensor]],
        states: Mapping[str, int],
        batch: int,
        like: Tensor,
    ) -> None:
        bits, target = BITS[like.dtype], targets.host()
        self._kernels = [_kernels(graph.text, tuple(sorted(own.items())), bits, target) for own in sizes]
        self._input, self._output, self._batch = graph.input, graph.states[0], batch
        self._states = {name: like.new_zeros(2, len(sizes), batch, size) for name, size in states.items()}
        self.x = like.new_zeros(batch, sizes[0]["x"])
        self.y = like.new_zeros(batch, states[self._output])
        weight_bytes = sum(kernels.infer.weight_bytes for kernels in self._kernels)
        is_short = weight_bytes * max(1, batch / FEW) <= SHORT
        self.threads = 1 if is_short else team.threads()

        self._tables = np.zeros((self.threads, batch), dtype=np.int64)
        self._starts, self._counts = np.zeros(2, dtype=np.int64), np.full(2, batch, dtype=np.int64)
        self._barriers = np.zeros((2, len(sizes)), dtype=np.int64)
        self.shared = (ctypes.c_int64 * len(SHARED))(self.x.data_ptr(), 0)
        output = self._states[self._output]
        self._blocks = np.zeros((self.threads, len(WORDS) + len(LAYER) * len(sizes)), dtype=np.int64)
        words: dict[str, int | Int[Array, " threads"]] = {
            "part": np.arange(self.threads),
            "shared": ctypes.addressof(self.shared),
            "own": self.x.data_ptr(),
            "table": self._tables.ctypes.data + np.arange(self.threads) * self._tables.strides[0],
            "rows": batch,
            "pitch": self.x.stride(0) * self.x.element_size(),
            "y": self.y.data_ptr(),
            "size": self.y.numel(),
            "new0": output[1, -1].data_ptr(),
            "new1": output[0, -1].data_ptr(),
            "barriers": self._barriers.ctypes.data,
            "layers": len(sizes),
        }
        for name, value in words.items():
            self._blocks[:, WORDS.index(name)] = value
        self.give(weights)

        self._code = stack_code(bits, target)
        function = self._code.address("stack")
        self.run: Callable[[object], None]
        self.block: object
        if self.threads == 1:
            prototype = ctypes.PYFUNCTYPE if is_short else ctypes.CFUNCTYPE
            self.run = prototype(None, ctypes.c_void_p)(function)
            self.block = self._blocks.ctypes.data
        else:
            self.run = lambda blocks: team.run(function, blocks, together=True)  # type: ignore[arg-type]
            self.block = self._blocks

    def give(self, weights: Sequence[Mapping[str, Tensor]]) -> None:
        """Take other weights."""
        self._alive: list[object] = []
        for layer, (kernels, own) in enumerate(zip(self._kernels, weights, strict=True)):
            places = kernels.infer.arguments
            launch = Launch(kernels.infer, kernels.step_code, "infer", self.threads, by_units=True)
            # What is packed is a copy already; vectors are read where they lie.
            give_weights([launch], {name: w.detach() if w.dim() == 2 else w.detach().clone() for name, w in own.items()})
            launch.space("scratch", self._batch, self.x)
            first = len(WORDS) + len(LAYER) * layer
            self._blocks[:, first] = launch.code.address("infer")
            for turn in (0, 1):
                blocks = launch.blocks.copy()
                tables = {("header", "starts"): self._starts, ("header", "counts"): self._counts}
                for name in self._states:
                    tables["old", name] = self._rows(name, turn, layer)
                    tables["new", name] = self._rows(name, 1 - turn, layer)
                if layer:
                    tables["input", self._input] = self._rows(self._output, 1 - turn, layer - 1)
                elif ("input", self._input) in places:
                    blocks[:, places["input", self._input]] = self._blocks[:, WORDS.index("table")]
                for key, table in tables.items():
                    if key in places:
                        blocks[:, places[key]] = table.ctypes.data
                blocks[:, places["header", "barrier"]] = self._barriers[turn, layer :].ctypes.data
                blocks[:, places["header", "begin"]], blocks[:, places["header", "end"]] = turn, turn + 1
                own_blocks = blocks.ctypes.data + np.arange(self.threads) * blocks.strides[0]
                self._blocks[:, first + LAYER.index(f"turn{turn}")] = own_blocks
                self._alive += [blocks, tables]
            self._alive.append(launch)

    @property
    def states(self) -> dict[str, Float[Tensor, "L B _"]]:
        """Each state as it is now, in place."""
        turn = self.shared[SHARED.index("turn")]
        return {name: both[turn] for name, both in self._states.items()}

    def _rows(self, name: str, turn: int, layer: int) -> Int[Array, " B"]:
        """The addresses of the rows of a state."""
        rows = self._states[name][turn, layer]
        return rows.data_ptr() + np.arange(self._batch) * (rows.stride(0) * rows.element_size())


@lru_cache(maxsize=256)
def _kernels(cell: str, sizes: tuple[tuple[str, int], ...], bits: int, target: targets.Target) -> Kernels:
    return compile(Graph.read(cell), dict(sizes), bits, target, few=True)
