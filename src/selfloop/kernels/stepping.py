"""One step of a stack of layers from Python, in as few instructions as can be: all addresses are known beforehand."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from llvmlite import ir
from numpy import ndarray as Array
from torch import Tensor

from selfloop.compiler import targets
from selfloop.compiler.build import Code, build
from selfloop.compiler.emit.stack import WORDS, emit_stack
from selfloop.compiler.pipeline import Kernels, compile
from selfloop.kernels.launch import Launch, give_weights
from selfloop.kernels.native import BITS
from selfloop.language.graph import Graph

SHORT = 1 << 20
"""Bytes of weights up to which a step keeps Python's lock: some 10 µs, and whoever gives the lock away may wait for
milliseconds until another thread gives it back."""


class Steps:
    """A stack of one cell, ready to step: packed weights, two sets of states that take turns, input and output.

    Args:
        graph: the cell's equations.
        sizes: for each layer, the cell's named sizes.
        weights: for each layer, the weights by the cell's names.
        states: the size of each state.
        batch: the sequences.
        dtype: of everything.

    Attributes:
        words: the block of the function that runs a step.
        block: its address.
        run: the function; it takes the block's address.
        x: room for the input.
        y: where the output is after a step.
    """

    def __init__(
        self,
        graph: Graph,
        sizes: Sequence[Mapping[str, int]],
        weights: Sequence[Mapping[str, Tensor]],
        states: Mapping[str, int],
        batch: int,
        dtype: torch.dtype,
    ) -> None:
        bits, target = BITS[dtype], targets.host()
        self._graph, self._batch = graph, batch
        self._kernels = [_kernels(graph.text, tuple(sorted(own.items())), bits, target) for own in sizes]
        # Where states lie: in each turn, in each layer, a row for each sequence.
        self._states = {name: torch.zeros(2, len(sizes), batch, size, dtype=dtype) for name, size in states.items()}
        output = self._states[next(iter(states))]
        self.x = torch.zeros(batch, sizes[0]["x"], dtype=dtype)
        self.y = torch.zeros_like(output[0, -1])
        self._table = np.zeros(batch, dtype=np.int64)
        self._starts, self._counts = np.zeros(2, dtype=np.int64), np.full(2, batch)

        code = _stack_code(bits, target)
        layers = len(sizes)
        self.words = (ctypes.c_int64 * (len(WORDS) + 3 * layers))()
        self.block = ctypes.addressof(self.words)
        values = {
            "x": self.x.data_ptr(),
            "own": self.x.data_ptr(),
            "table": self._table.ctypes.data,
            "rows": batch,
            "pitch": self.x.stride(0) * self.x.element_size(),
            "y": self.y.data_ptr(),
            "size": self.y.numel(),
            "new0": output[1, -1].data_ptr(),
            "new1": output[0, -1].data_ptr(),
            "layers": layers,
        }
        for name, value in values.items():
            self.words[WORDS.index(name)] = value
        self.give(weights)
        total = sum(kernels.infer.weight_bytes for kernels in self._kernels)
        prototype = ctypes.PYFUNCTYPE if total <= SHORT else ctypes.CFUNCTYPE
        self._code = code
        self.run: Callable[[int], None] = prototype(None, ctypes.c_void_p)(code.address("stack"))

    def give(self, weights: Sequence[Mapping[str, Tensor]]) -> None:
        """Take weights; they are copied."""
        self._alive: list[object] = []
        for layer, (kernels, own) in enumerate(zip(self._kernels, weights, strict=True)):
            copies = {name: w.detach() if w.dim() == 2 else w.detach().clone() for name, w in own.items()}
            launch = Launch(kernels.infer, kernels.step_code, "infer", threads=1)
            give_weights([launch], copies)
            launch.space("scratch", self._batch, self.x)
            blocks = np.repeat(launch.blocks, 2, axis=0)
            tables: list[Int[Array, " B"]] = []
            for turn in (0, 1):
                named = {
                    ("header", "starts"): self._starts,
                    ("header", "counts"): self._counts,
                    ("input", self._graph.input): self._table if layer == 0 else self._rows(self._output, 1 - turn, layer - 1),
                }
                for name, _ in self._states.items():
                    named["old", name] = self._rows(name, turn, layer)
                    named["new", name] = self._rows(name, 1 - turn, layer)
                for key, table in named.items():
                    if key in kernels.infer.arguments:
                        blocks[turn, kernels.infer.arguments[key]] = table.ctypes.data
                tables += named.values()
                blocks[turn, kernels.infer.arguments["header", "begin"]] = turn
                blocks[turn, kernels.infer.arguments["header", "end"]] = turn + 1
            first = len(WORDS) + 3 * layer
            self.words[first : first + 3] = [launch.code.address("infer"), *(block.ctypes.data for block in blocks)]
            self._alive += [launch, blocks, tables, copies]

    @property
    def _output(self) -> str:
        return next(iter(self._states))

    def _rows(self, name: str, turn: int, layer: int) -> Int[Array, " B"]:
        """The addresses of the rows of a state."""
        rows = self._states[name][turn, layer]
        return rows.data_ptr() + np.arange(self._batch) * (rows.stride(0) * rows.element_size())

    @property
    def states(self) -> dict[str, Float[Tensor, "L B _"]]:
        """Each state as it is now, in place."""
        turn = self.words[WORDS.index("turn")]
        return {name: both[turn] for name, both in self._states.items()}


@lru_cache(maxsize=256)
def _kernels(cell: str, sizes: tuple[tuple[str, int], ...], bits: int, target: targets.Target) -> Kernels:
    return compile(Graph.read(cell), dict(sizes), bits, target, few=True)


@lru_cache(maxsize=2)
def _stack_code(bits: int, target: targets.Target) -> Code:
    def write(module: ir.Module) -> None:
        emit_stack(module, "stack", target, bits)

    return build(f"stack {bits}", target, write)
