"""What is measured, as a table."""

import random
from dataclasses import dataclass
from math import prod

from selfloop.cells import ZOO

MODES = {"train": "training", "infer": "inference", "step": "one step"}
"""What a case does: an output with every gradient, an output alone, or one step of a `Stepper`."""


@dataclass(frozen=True)
class Case:
    """One comparison. Further sizes of a cell, such as the projection's, are H / 2.

    Attributes:
        group: what the command line calls it.
        cell: a name of the zoo.
        peer: a key of `peers.PEERS`.
        T, B, I, H: steps, sequences, features of the input, units.
        mode: a key of `MODES`.
        ragged: lengths are spread evenly over 20 to 100 % of T.
    """

    group: str
    cell: str
    peer: str
    T: int
    B: int
    I: int  # noqa: E741
    H: int
    mode: str = "train"
    ragged: bool = False

    @property
    def title(self) -> str:
        """What it is compared with, and at what; cases of one title stand together."""
        return f"{self.group}: {MODES[self.mode]}, against {self.peer}"

    @property
    def lengths(self) -> list[int] | None:
        """The steps of each sequence in a ragged batch, in no order."""
        if not self.ragged:
            return None
        spread = [max(1, round(self.T * (0.2 + 0.8 * row / max(1, self.B - 1)))) for row in range(self.B)]
        return random.Random(0).sample(spread, self.B)

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers of the sizes that the cell names beside x and h."""
        return dict.fromkeys(ZOO[self.cell].sizes, self.H // 2)

    @property
    def flops(self) -> int:
        """Of the matrix products alone; the gradients of both factors cost as much again each."""
        cell = ZOO[self.cell]
        numbers = cell.bind(self.I, self.H, self.sizes)
        matrices = [node.args[0] for node in cell.graph.nodes if node.op == "matmul"]
        products = sum(prod(size.value(numbers) for size in cell.graph.nodes[m].shape) for m in matrices)
        steps = sum(self.lengths or [self.T] * self.B)
        return 2 * products * steps * (3 if self.mode == "train" else 1)


FOUR = ((96, 32, 64), (96, 32, 128), (128, 64, 256), (64, 64, 512))
"""The four usual sizes: T, B, and H, which is also I."""

SMALL = tuple(
    Case("small", cell, "torch.nn", T, B, H, H, mode)
    for mode in ("train", "infer")
    for cell in ("lstm", "gru", "vanilla")
    for T in (1, 5, 20, 50)
    for B in (1, 4, 8)
    for H in (16, 64)
)
"""Calls in which what Python does counts."""

SINGLE = tuple(
    Case("single", cell, "a Python loop", 1, B, H, H)
    for cell in ("lstm", "gru", "vanilla", "peephole_lstm")
    for B in (1, 8, 64, 256)
    for H in (16, 64, 256)
)
"""Training on a single step, in which kernels have the least to win."""

CASES = (
    *(Case("lstm", "lstm", "torch.nn", T, B, H, H) for T, B, H in FOUR),
    Case("lstm", "lstm", "torch.nn", 784, 64, 1, 128),
    Case("lstm", "lstm", "torch.nn", 256, 1, 256, 256),
    *(Case("gru", "gru", "torch.nn", T, B, H, H) for T, B, H in FOUR),
    *(Case("rnn", "vanilla", "torch.nn", T, B, H, H) for T, B, H in FOUR),
    *(Case("ragged", "lstm", "torch.nn, packed", 96, 32, H, H, ragged=True) for H in (64, 128)),
    *(Case("projection", "projected_lstm", "torch.nn", 96, 32, H, H) for H in (128, 256)),
    *(Case("bfloat16", cell, "our float32", T, B, H, H) for cell in ("lstm", "gru") for T, B, H in FOUR[1:]),
    *(Case("norms", cell, "our plain LSTM", 96, 32, 128, 128) for cell in ("layer_norm_lstm", "peephole_lstm")),
    *(Case("ort", "lstm", "ONNX Runtime", 128, B, H, H, "infer") for H in (64, 128, 256) for B in (1, 8, 32)),
    *(Case("jax", "lstm", "JAX", 128, 32, H, H, mode) for mode in ("train", "infer") for H in (64, 128, 256)),
    *(Case("stepper", "lstm", "ONNX Runtime", 1, 1, H, H, "step") for H in (64, 128, 256)),
    *(Case("stepper", "lstm", "ONNX Runtime on 1 thread", 1, 1, H, H, "step") for H in (64, 128, 256)),
    *(Case("zoo", name, "a Python loop", 64, 32, H, H) for name in ZOO for H in (64, 128)),
    *SMALL,
    *SINGLE,
)
"""Every case, in the order in which they run."""
