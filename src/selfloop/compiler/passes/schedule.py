"""Step -> Program: which values are made together, in what order, and what is kept in memory between.

A step is a sequence of stages. Lanes never mix within `Tiles`: tile by tile of rows and units, products are summed in
registers and all that is made of them follows at once. They mix in `Reductions`, row by row. What crosses from one
stage to a later one lies in memory, unless it is cheaper made again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from selfloop.compiler.step import CHEAP, COMPARISONS, LEAVES, REDUCTIONS, SCALAR, Place, Step, Store, Value


@dataclass(frozen=True)
class Tiles:
    """Values of one size.

    Attributes:
        size: the units.
        products: the products that are summed here.
        stores: what goes to memory.
    """

    size: int
    products: tuple[int, ...]
    stores: tuple[Store, ...]


@dataclass(frozen=True)
class Reductions:
    """Sums and maxima over vectors, and the scalars made of them.

    Attributes:
        passes: reductions of one size that can be made in one walk over the vectors, in order.
        stores: the scalars that go to memory.
    """

    passes: tuple[tuple[int, ...], ...]
    stores: tuple[Store, ...]


@dataclass(frozen=True)
class Program:
    """A step in order.

    Attributes:
        step: the values, and all that is stored, what crosses stages included.
        stages: each is Tiles for several sizes, or Reductions.
        kept: where a value can be loaded from, and the stage after which.
    """

    step: Step
    stages: tuple[tuple[Tiles, ...] | Reductions, ...]
    kept: dict[int, tuple[int, Place]]


def schedule(step: Step) -> Program:
    """Put the values of a step in order."""
    levels = _Levels(step)
    demand = _Demand(step, levels)
    for store in step.stores:
        demand.store(store.value)
    while demand.open:
        demand.next()

    stores = list(step.stores)
    kept: dict[int, Place] = {s.value: s.place for s in step.stores if not s.add}
    for k in sorted(demand.crossing):
        if k not in kept:
            kept[k] = Place("scratch", str(k))
            stores.append(Store(kept[k], k))

    stages: list[tuple[Tiles, ...] | Reductions] = []
    made: dict[int, int] = {}
    depth = max((levels.home(s.value) for s in stores), default=-1) + 1
    for level in range(depth):
        own = [s for s in stores if levels.home(s.value) == level]
        tiles = [s for s in own if not levels.is_scalar(s.value)]
        sizes = sorted({step.values[s.value].size for s in tiles}, reverse=True)
        if sizes:
            stages.append(
                tuple(
                    Tiles(
                        size,
                        tuple(k for k in demand.products if levels.tile[k] == level and step.values[k].size == size),
                        tuple(s for s in tiles if step.values[s.value].size == size),
                    )
                    for size in sizes
                )
            )
            made |= {s.value: len(stages) for s in tiles}
        scalars = tuple(s for s in own if levels.is_scalar(s.value))
        if scalars:
            stages.append(Reductions(_passes(step, levels, demand.reductions, level), scalars))
            made |= {s.value: len(stages) for s in scalars}
    return Program(Step(step.values, tuple(stores)), tuple(stages), {k: (made[k], place) for k, place in kept.items()})


class _Levels:
    """When each value can be made: in which round of tiles, and in which round of reductions, which follows it.

    A scalar that depends on no reduction can be made anywhere: its round of reductions is -1.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.tile: list[int] = []
        self.row: list[int] = []
        for value in step.values:
            tile, row = self._levels(value)
            self.tile.append(tile)
            self.row.append(row)

    def _levels(self, value: Value) -> tuple[int, int]:
        tiles, rows = [self.tile[a] for a in value.args], [self.row[a] for a in value.args]
        if value.op in LEAVES:
            return 0, -1 if value.size == SCALAR else 0
        if value.op == "product":
            tile = max(0 if self.step.values[a].op in LEAVES else self.tile[a] + 1 for a in value.args)
            return tile, tile
        if value.op in REDUCTIONS:
            row = max(0, *rows)
            return row + 1, row
        if value.size == SCALAR:
            row = max(rows)
            return row + 1, row
        tile = max(tiles)
        return tile, max(0, *rows) if value.op in CHEAP else tile

    def is_scalar(self, k: int) -> bool:
        """Whether a value is made row by row."""
        return self.step.values[k].size == SCALAR

    def home(self, k: int) -> int:
        """The round in which a value is stored."""
        return max(0, self.row[k]) if self.is_scalar(k) else self.tile[k]


class _Demand:
    """What is needed where: walks from what is stored to what it is made of."""

    def __init__(self, step: Step, levels: _Levels) -> None:
        self.step, self.levels = step, levels
        self.open: list[tuple[int, bool, int]] = []
        self.seen: set[tuple[int, bool, int]] = set()
        self.crossing: set[int] = set()
        self.products: dict[int, None] = {}
        self.reductions: dict[int, None] = {}

    def store(self, k: int) -> None:
        """A value is stored in its own round."""
        self._visit(k, self.levels.is_scalar(k), self.levels.home(k))

    def next(self) -> None:
        """Find what one value needs."""
        k, by_row, level = self.open.pop()
        value, levels = self.step.values[k], self.levels
        if value.op in LEAVES:
            return
        if value.op == "product" and levels.tile[k] == level and not by_row:
            self.products[k] = None
            self._cross(a for a in value.args if self.step.values[a].op not in LEAVES)
            return
        if levels.is_scalar(k):
            here = levels.row[k] == -1 or (by_row and levels.row[k] == level)
            if here and value.op in REDUCTIONS:
                self.reductions[k] = None
        else:
            here = value.op in CHEAP or (not by_row and levels.tile[k] == level)
            here = here and value.op != "product"
        if here or value.op in COMPARISONS:  # a comparison is never kept: it is no number
            for a in value.args:
                self._visit(a, by_row, level)
        else:
            self._cross([k])

    def _cross(self, values: Iterable[int]) -> None:
        for k in values:
            self.crossing.add(k)
            self.store(k)

    def _visit(self, k: int, by_row: bool, level: int) -> None:
        if (k, by_row, level) not in self.seen:
            self.seen.add((k, by_row, level))
            self.open.append((k, by_row, level))


def _passes(step: Step, levels: _Levels, reductions: Iterable[int], level: int) -> tuple[tuple[int, ...], ...]:
    """The reductions of one round, those first that no other of the round needs, and by size."""
    own = sorted(k for k in reductions if levels.row[k] == level)
    turn: dict[int, int] = {}

    def after(k: int) -> int:
        """The first walk in which a value of this round is known."""
        value = step.values[k]
        if value.op in LEAVES or value.op == "product" or levels.row[k] < level:
            return 0
        if k not in turn:
            inner = max((after(a) for a in value.args), default=0)
            turn[k] = inner + 1 if value.op in REDUCTIONS else inner
        return turn[k]

    walks: dict[tuple[int, int], list[int]] = {}
    for k in own:
        walks.setdefault((after(k), step.values[step.values[k].args[0]].size), []).append(k)
    return tuple(tuple(walks[key]) for key in sorted(walks))


def shared(program: Program) -> dict[str, str]:
    """Fields of the record that can lie where another lay: what is written last where it was read before."""
    values = program.step.values
    readers: dict[str, set[tuple[int, int]]] = {}
    for stage, tiles in enumerate(program.stages):
        parts = [(t.size, [s.value for s in t.stores]) for t in tiles] if isinstance(tiles, tuple) else []
        if isinstance(tiles, Reductions):
            parts = [(SCALAR, [s.value for s in tiles.stores])]
        for size, roots in parts:
            for k in _read(program, roots, stage):
                place = values[k].place
                if place and place.kind == "record":
                    readers.setdefault(place.name, set()).add((stage, size))
    read_by_products = {a for v in values if v.op == "product" for a in v.args}
    free = {
        v.place.name: (next(iter(readers[v.place.name])), v.size)
        for k, v in enumerate(values)
        if v.place
        and v.place.kind == "record"
        and len(readers.get(v.place.name, ())) == 1
        and k not in read_by_products
    }
    same: dict[str, str] = {}
    for stage, tiles in enumerate(program.stages):
        for own in tiles if isinstance(tiles, tuple) else ():
            for s in own.stores:
                if s.place.kind == "record":
                    here = ((stage, own.size), values[s.value].size)
                    name = next((name for name, at in free.items() if at == here), None)
                    if name is not None:
                        same[s.place.name] = name
                        del free[name]
    return same


def _read(program: Program, roots: Iterable[int], stage: int) -> set[int]:
    """The values that a stage visits to make its roots."""
    found: set[int] = set()
    open_ = list(roots)
    while open_:
        k = open_.pop()
        if k in found:
            continue
        found.add(k)
        if k in program.kept and program.kept[k][0] <= stage:
            continue
        open_ += program.step.values[k].args
    return found
