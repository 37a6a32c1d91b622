"""C99 source of one time step of a cell, printed from its Program."""

from collections.abc import Iterable, Mapping

from selfloop.compiler.c99.mathematics import LANES, definitions
from selfloop.compiler.c99.step import Panel, StepSource, step_source
from selfloop.compiler.lower import lower
from selfloop.language.graph import Graph

__all__ = ["LANES", "Panel", "StepSource", "c_functions", "c_step"]


def c_step(name: str, graph: Graph, sizes: Mapping[str, int]) -> StepSource:
    """The step of a cell in C, for inference, and where its weights lie.

    Args:
        name: of the function.
        graph: the cell, without anything random.
        sizes: the number of each of its named sizes.
    """
    lowered = lower(graph, sizes, hoist_above=None)
    step = graph.per_step
    shapes = {p: [size.value(sizes) for size in step.shape(p)] for p in step.params}
    vectors = {p: (shape or [1])[0] for p, shape in shapes.items() if len(shape) < 2}
    return step_source(name, lowered.infer, lowered.states, vectors)


def c_functions(sources: Iterable[StepSource]) -> str:
    """The definitions of the functions that steps call."""
    return definitions({name for source in sources for name in source.functions})
