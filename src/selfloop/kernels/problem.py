"""What every kernel is asked: one cell over one sequence, in one direction."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfloop.language import Graph


@dataclass(frozen=True)
class Problem:
    """One cell, its weights, and a batch of sequences.

    Attributes:
        graph: the step.
        params: the weights by the cell's names.
        x: the input; what lies beyond a sequence's length has been set to zero.
        state: the state before the first step that is taken, in the order of `graph.states`.
        lengths: how many steps each sequence has; None means all of them.
        resets: where true, the state is zeroed before the step, so that a sequence can hold several; nowhere true
            beyond a sequence's length. In reverse the same segments are walked from their ends.
        reverse: walk from the last step to the first.
        checkpoint: keep nothing but the states for the gradient, and make the rest again in so many steps at a time; 0
            to keep what is needed. Only compiled kernels heed it.
        bfloat16: make products of rounded numbers, and their sums in float32. Only compiled kernels heed it.
        seed: of what the graph draws; None where it draws nothing.
    """

    graph: Graph
    params: Mapping[str, Tensor]
    x: Float[Tensor, "T B I"]
    state: tuple[Float[Tensor, "B _"], ...]
    lengths: Int[Tensor, " B"] | None = None
    resets: Bool[Tensor, "T B"] | None = None
    reverse: bool = False
    checkpoint: int = 0
    seed: Int[Tensor, ""] | None = None
    bfloat16: bool = False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Input, state and weights."""
        return (self.x, *self.state, *self.params.values())

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of the tensors, without time and batch."""
        first = 1 + len(self.state)
        return tuple([tuple(t.shape[-1:] if k < first else t.shape) for k, t in enumerate(self.tensors)])

    @property
    def sizes(self) -> dict[str, int]:
        """The number of each named size."""
        names = (self.graph.input, *self.graph.states, *self.params)
        return self.graph.solve(dict(zip(names, self.shapes, strict=True)))

    @property
    def active(self) -> Bool[Tensor, "T B"] | None:
        """Which steps lie within their sequences, or None where all do."""
        if self.lengths is None:
            return None
        steps = torch.arange(self.x.shape[0], device=self.x.device)
        return steps[:, None] < self.lengths[None, :]


Answer = tuple[Float[Tensor, "T B _"], tuple[Float[Tensor, "B _"], ...]]
"""The output at each step, zero beyond a sequence's length, and the state after the last step."""


def is_transformed() -> bool:
    """Whether a transform of torch.func is under way, as vmap and jacrev are."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None
