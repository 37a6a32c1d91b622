"""The compiled kernels of a problem."""

from functools import lru_cache
from typing import Any

import torch

from selfloop.compiler import Kernels, PairProducts, Target, compile, host_target
from selfloop.kernels.bfloat16 import pair_products
from selfloop.kernels.problem import FEW, KINDS, Problem, check_shape
from selfloop.language.graph import Graph

BITS = {torch.float32: 32, torch.float64: 64}
"""Of an element, for the types that kernels compute in."""


@lru_cache(maxsize=1024)
def sizes_of(cell: str, shapes: tuple[tuple[int, ...], ...]) -> dict[str, int]:
    """The number of each named size, of the shapes of input, states and weights.

    Raises:
        ArgumentError: a weight has another shape than the cell and its other tensors give it.
    """
    graph = Graph.read(cell)
    given = dict(zip((graph.input, *graph.states, *graph.params), shapes, strict=True))
    known = {name: shape for name, shape in given.items() if len(shape) == len(graph.shape(name))}
    sizes = graph.solve(known)
    for name, shape in given.items():
        check_shape(graph, name, shape, sizes)
    return sizes


def kernels_of(problem: Problem) -> Kernels:
    """The kernels for a problem, compiled at the first call."""
    rounds = pair_products() if problem.bfloat16 else None
    bits = BITS[problem.x.dtype]
    return _kernels(problem.graph.text, problem.shapes, bits, host_target(), problem.kind, rounds)


@lru_cache(maxsize=256)
def _kernels(
    cell: str,
    shapes: tuple[tuple[int, ...], ...],
    bits: int,
    target: Target,
    kind: str,
    bfloat16: PairProducts | None,
) -> Kernels:
    graph, sizes = Graph.read(cell), sizes_of(cell, shapes)
    match kind:
        case "step":
            options: dict[str, Any] = {"bfloat16": bfloat16, "in_place": bfloat16 is None}
            return compile(graph, sizes, bits, target, most_rows=FEW, hoist_above=None, **options)
        case "sequence":  # the products of the input have as many rows as steps, those of the state one
            return compile(graph, sizes, bits, target, most_rows=1, hoist_above=0, bfloat16=bfloat16)
        case "batch":
            return compile(graph, sizes, bits, target, bfloat16=bfloat16)
    raise ValueError(f"the kind of kernels must be one of {', '.join(KINDS)}, and is {kind!r}")
