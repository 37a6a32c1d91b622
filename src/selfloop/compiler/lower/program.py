"""`Program`: a Step whose values are in loops, in order.

A step is a sequence of stages. In a `TileLoop` the elements of a vector never mix: for each tile of sequences × units,
products are accumulated in registers, and all that is computed from them follows at once, without going to memory. In a
`ReductionLoop` they mix: sums and maxima over whole vectors, sequence by sequence. A `WholeLoop` multiplies by matrices
that differ from step to step. What one stage computes and a later one needs is stored, unless it is cheaper to
recompute.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from selfloop.compiler.lower.step import Location, Step, Store, ancestors


@dataclass(frozen=True)
class TileLoop:
    """Values of one size, computed tile by tile; matrices row by row.

    Attributes:
        size: the number of units; of matrices that of all elements.
        products: the products that are accumulated here.
        stores: what goes to memory.
        rows: of matrices; 1 where the values are vectors.
    """

    size: int
    products: tuple[int, ...]
    stores: tuple[Store, ...]
    rows: int = 1

    def __str__(self) -> str:
        units = f"{self.rows} × {self.size // self.rows}" if self.rows > 1 else str(self.size)
        return "\n".join([f"tile loop over {units} units", *_listed(self.products), *_listed(self.stores)])


@dataclass(frozen=True)
class ReductionLoop:
    """Reductions of vectors, and the scalars that are computed from them, sequence by sequence.

    Attributes:
        sweeps: in order, the reductions of one size that are computed in one sweep over the vectors.
        stores: the scalars that go to memory.
    """

    sweeps: tuple[tuple[int, ...], ...]
    stores: tuple[Store, ...]

    def __str__(self) -> str:
        sweeps = [line for sweep in self.sweeps for line in ("  sweep", *("  " + text for text in _listed(sweep)))]
        return "\n".join(["reduction loop", *sweeps, *_listed(self.stores)])


@dataclass(frozen=True)
class WholeLoop:
    """Operations on whole vectors and matrices, which lie in memory: their results go there, one after the other.

    Attributes:
        stores: the results.
    """

    stores: tuple[Store, ...]

    def __str__(self) -> str:
        return "\n".join(["whole loop", *_listed(self.stores)])


Loop = TileLoop | ReductionLoop | WholeLoop
Stage = tuple[TileLoop, ...] | ReductionLoop | WholeLoop


def loops(stage: Stage) -> Sequence[Loop]:
    """The loops of a stage."""
    return stage if isinstance(stage, tuple) else (stage,)


def _listed(things: Iterable[int | Store]) -> list[str]:
    return [f"  compute %{thing}" if isinstance(thing, int) else f"  {thing}" for thing in things]


@dataclass(frozen=True)
class Program:
    """A step in loops.

    Attributes:
        step: the values, and all stores, those to the workspace included.
        stages: each is TileLoops, one for each size of vector, or another loop.
        stored: for each value that is stored, from which stage on it can be loaded, and from where.
    """

    step: Step
    stages: tuple[Stage, ...]
    stored: Mapping[int, tuple[int, Location]]

    def __str__(self) -> str:
        lines = [f"%{k} = {value}" for k, value in enumerate(self.step.values)]
        for number, stage in enumerate(self.stages):
            lines += ["", f"stage {number}", *("  " + line for loop in loops(stage) for line in str(loop).splitlines())]
        return "\n".join(lines)

    def inputs(self, roots: Iterable[int], stage: int) -> set[int]:
        """The roots and all values that a stage visits to compute them; what it can load is not followed."""
        loaded = [k for k, (first, _) in self.stored.items() if first <= stage]
        return ancestors(self.step, roots, stop=loaded)
