"""`Call`: what a layer asks for, one cell over one sequence in one direction, with tensors as the layer has them."""

from collections.abc import Sequence
from itertools import accumulate, repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor

from selfloop.errors import ArgumentError
from selfloop.kernels.problem import Problem, kind_of
from selfloop.language.graph import Graph


class Form(NamedTuple):
    """How the tensors of calls are given: input, first states and parameters.

    Attributes:
        is_stacked: whether states have a dimension of one in front, as in a State of one layer.
        starts_at_zero: whether first states are zero, and not given.
        sizes: the shape of each state, without the batch.
        summed: for each parameter, the number of tensors whose sum it is, one or two vectors; empty for one each.
    """

    is_stacked: bool
    starts_at_zero: bool
    sizes: tuple[tuple[int, ...], ...]
    summed: tuple[int, ...] = ()

    def read(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Input, first states where they are given, and each parameter."""
        if not self.summed:
            return tensors
        k = 1 if self.starts_at_zero else 1 + len(self.sizes)
        return [*tensors[:k], *self.parameters(tensors[k:])]

    def parameters(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        """Each parameter."""
        if not self.summed:
            return weights
        found, k = [], 0
        for terms in self.summed:
            if terms == 2 and weights[k].shape != weights[k + 1].shape:
                first, second = (tuple(w.shape) for w in weights[k : k + 2])
                raise ArgumentError(f"Both biases of a layer must be of one shape. Got {first} and {second} instead.")
            found.append(weights[k] if terms == 1 else torch.add(weights[k], weights[k + 1]))
            k += terms
        return found

    def first_terms(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        """For each parameter the tensor it is, or the first of two."""
        return [weights[k] for k in accumulate(self.summed[:-1], initial=0)] if self.summed else weights

    def names(self, graph: Graph) -> list[str]:
        """What the tensors of a call are called in the cell, that of two terms twice."""
        names = [graph.input, *(() if self.starts_at_zero else graph.states)]
        for name, terms in zip(graph.params, self.summed or repeat(1), strict=False):
            names += [name] * terms
        return names

    def given(self, gradients: Sequence[Any]) -> Sequence[Any]:
        """The gradients of what was given, from those of what is read."""
        if not self.summed:
            return gradients
        head = len(gradients) - len(self.summed)
        found = list(gradients[:head])
        for terms, gradient in zip(self.summed, gradients[head:], strict=True):
            found += [gradient] * terms
        return found


class Call(NamedTuple):
    """One cell over one sequence in one direction.

    Attributes:
        graph: the step.
        form: how tensors are given.
        x: the input, (T, B, I); beyond the lengths it may hold anything.
        state: the states before the first step, in the order of `graph.states`; empty where they are zero.
        weights: the tensors of which `form` makes the parameters, in the order of `graph.params`.
        like: of the device and dtype of states that are zero.
        lengths, resets, seed, reverse, recompute, bfloat16: as in a Problem.
        kind: likewise; that of the input, if empty.
    """

    graph: Graph
    form: Form
    x: Tensor
    state: Sequence[Tensor]
    weights: Sequence[Tensor]
    like: Tensor
    lengths: Tensor | None = None
    resets: Tensor | None = None
    seed: Tensor | None = None
    reverse: bool = False
    recompute: int = 0
    bfloat16: bool = False
    kind: str = ""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Input, first states where they are given, and weights."""
        return (self.x, *self.state, *self.weights)

    def problem(self) -> Problem:
        """The same, with zeros and sums made, and states without a dimension in front; the input is as it was."""
        form, batch = self.form, self.x.shape[1]
        state = [self.like.new_zeros(batch, *size) for size in form.sizes] if form.starts_at_zero else self.state
        if form.is_stacked and not form.starts_at_zero:
            state = [s[0] for s in state]
        return Problem(
            graph=self.graph,
            params=dict(zip(self.graph.params, form.parameters(self.weights), strict=True)),
            x=self.x,
            state=tuple(state),
            lengths=self.lengths,
            resets=self.resets,
            reverse=self.reverse,
            recompute=self.recompute,
            seed=self.seed,
            bfloat16=self.bfloat16,
            kind=self.kind or kind_of(self.x),
        )


def call_of(problem: Problem) -> Call:
    """A call that gives all tensors as a Problem has them."""
    return Call(
        problem.graph,
        Form(is_stacked=False, starts_at_zero=False, sizes=tuple([tuple(s.shape[1:]) for s in problem.state])),
        problem.x,
        problem.state,
        tuple(problem.params.values()),
        problem.x,
        problem.lengths,
        problem.resets,
        problem.seed,
        problem.reverse,
        problem.recompute,
        problem.bfloat16,
        problem.kind,
    )
