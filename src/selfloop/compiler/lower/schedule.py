"""Step -> Program: the values in loops, in order, and what is stored in the workspace between the loops."""

from collections.abc import Iterable

from selfloop.compiler.lower.operations import CHEAP, COMPARISONS, LEAVES, OPERATIONS, REDUCTIONS, SCANS
from selfloop.compiler.lower.program import Program, ReductionLoop, TileLoop
from selfloop.compiler.lower.step import SCALAR, Location, Step, Store, Value
from selfloop.compiler.lower.verify import verified


@verified
def schedule(step: Step) -> Program:
    """Put the values of a step into loops."""
    levels = _Levels(step)
    demand = _Demand(step, levels)
    for store in step.stores:
        demand.store(store.value)
    while demand.open:
        demand.next()

    stores = list(step.stores)
    location: dict[int, Location] = {s.value: s.location for s in step.stores if not s.accumulate}
    for k in sorted(demand.crossing):
        if k not in location:
            location[k] = Location("workspace", str(k))
            stores.append(Store(location[k], k))

    stages: list[tuple[TileLoop, ...] | ReductionLoop] = []
    first: dict[int, int] = {}
    depth = max((levels.home(s.value) for s in stores), default=-1) + 1
    for level in range(depth):
        own = [s for s in stores if levels.home(s.value) == level]
        vectors = [s for s in own if not levels.mixes(s.value)]
        sizes = sorted({step.values[s.value].size for s in vectors}, reverse=True)
        if sizes:
            stages.append(
                tuple(
                    TileLoop(
                        size,
                        tuple(k for k in demand.products if levels.tile[k] == level and step.values[k].size == size),
                        tuple(s for s in vectors if step.values[s.value].size == size),
                    )
                    for size in sizes
                )
            )
            first |= {s.value: len(stages) for s in vectors}
        mixed = tuple(s for s in own if levels.mixes(s.value))
        if mixed:
            stages.append(ReductionLoop(_sweeps(step, levels, demand.mixing, level), mixed))
            first |= {s.value: len(stages) for s in mixed}
    return Program(step.with_stores(stores), tuple(stages), {k: (first[k], at) for k, at in location.items()})


class _Levels:
    """The earliest stage of each value: which tile stage, and which reduction stage. Stages of the two kinds alternate.

    A scalar that depends on no reduction can be computed anywhere: its reduction stage is -1.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.tile: list[int] = []
        self.reduction: list[int] = []
        for value in step.values:
            tile, reduction = self._levels(value)
            self.tile.append(tile)
            self.reduction.append(reduction)

    def _levels(self, value: Value) -> tuple[int, int]:
        tiles, reductions = [self.tile[a] for a in value.args], [self.reduction[a] for a in value.args]
        if value.op in LEAVES:
            return 0, -1 if value.size == SCALAR else 0
        if value.op == "product":
            tile = max(0 if self.step.values[a].op in LEAVES else self.tile[a] + 1 for a in value.args)
            return tile, tile
        if value.op in REDUCTIONS:
            reduction = max(0, *reductions)
            return reduction + 1, reduction
        if value.op in SCANS:
            tile = max(0, *reductions) + 1
            return tile, tile
        if value.size == SCALAR:
            reduction = max(reductions)
            return reduction + 1, reduction
        tile = max(tiles)
        return tile, max(0, *reductions) if value.op in CHEAP else tile

    def mixes(self, k: int) -> bool:
        """Whether a value is computed in a reduction loop: scalars, and scans of vectors."""
        value = self.step.values[k]
        return value.size == SCALAR or value.op in SCANS

    def home(self, k: int) -> int:
        """The level at which a value is stored. A scan can be used from the level after it on."""
        if self.step.values[k].op in SCANS:
            return self.tile[k] - 1
        return max(0, self.reduction[k]) if self.mixes(k) else self.tile[k]


class _Demand:
    """Which values each stage needs: walks from the stores to what they are computed from."""

    def __init__(self, step: Step, levels: _Levels) -> None:
        self.step, self.levels = step, levels
        self.open: list[tuple[int, bool, int]] = []
        self.seen: set[tuple[int, bool, int]] = set()
        self.crossing: set[int] = set()
        self.products: dict[int, None] = {}
        self.mixing: dict[int, None] = {}

    def store(self, k: int) -> None:
        """A value is stored where it is computed."""
        self._visit(k, self.levels.mixes(k), self.levels.home(k))

    def next(self) -> None:
        """Find what one value needs."""
        k, in_reduction, level = self.open.pop()
        value, levels = self.step.values[k], self.levels
        if value.op in LEAVES:
            return
        if value.op == "product" and levels.tile[k] == level and not in_reduction:
            self.products[k] = None
            self._cross(a for a in value.args if self.step.values[a].op not in LEAVES)
            return
        if value.op in SCANS:
            here = in_reduction and levels.home(k) == level
        elif levels.mixes(k):
            here = levels.reduction[k] == -1 or (in_reduction and levels.reduction[k] == level)
        else:
            here = value.op in CHEAP or (not in_reduction and levels.tile[k] == level)
            here = here and value.op != "product"
        if here and (value.op in REDUCTIONS or value.op in SCANS):
            self.mixing[k] = None
        if here or value.op in COMPARISONS:  # a comparison is never stored: it is no number
            for a in value.args:
                self._visit(a, in_reduction, level)
        else:
            self._cross([k])

    def _cross(self, values: Iterable[int]) -> None:
        for k in values:
            self.crossing.add(k)
            self.store(k)

    def _visit(self, k: int, in_reduction: bool, level: int) -> None:
        if (k, in_reduction, level) not in self.seen:
            self.seen.add((k, in_reduction, level))
            self.open.append((k, in_reduction, level))


def _sweeps(step: Step, levels: _Levels, mixing: Iterable[int], level: int) -> tuple[tuple[int, ...], ...]:
    """The reductions and scans of one stage, by the sweeps that must come before them, their size and direction."""
    own = sorted(k for k in mixing if levels.home(k) == level)
    turn: dict[int, int] = {}

    def after(k: int) -> int:
        """How many sweeps of this stage must come before a value is known."""
        value = step.values[k]
        if value.op in LEAVES or value.op == "product" or levels.reduction[k] < level:
            return 0
        if k not in turn:
            inner = max((after(a) for a in value.args), default=0)
            turn[k] = inner + 1 if k in own else inner
        return turn[k]

    sweeps: dict[tuple[int, int, bool], list[int]] = {}
    for k in own:
        value = step.values[k]
        key = after(k), step.values[value.args[0]].size, OPERATIONS[value.op].is_reversed
        sweeps.setdefault(key, []).append(k)
    return tuple(tuple(sweeps[key]) for key in sorted(sweeps))
