"""Step -> Program: the values in loops, in order, and what is stored in the workspace between the loops.

A Program is a sequence of phases. Phase n has a whole loop, tile loops, which compute products and what is elementwise,
and a reduction loop, which computes reductions, scans, and scalars that depend on a reduction; each may be empty.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from selfloop.compiler.lower.operations import CHEAP, COMPARISONS, LEAVES, OPERATIONS, REDUCTIONS, SCANS, WHOLE
from selfloop.compiler.lower.program import Program, ReductionLoop, Stage, TileLoop, WholeLoop, loops
from selfloop.compiler.lower.step import SCALAR, Location, Step, Store, Value
from selfloop.compiler.lower.verify import verified

IN_MEMORY = {"product", "outer"} | WHOLE
"""Operations whose arguments lie in memory."""


@verified
def schedule(step: Step) -> Program:
    """Put the values of a step into loops."""
    phases = _Phases(step)
    demand = _Demand(step, phases)
    demand.resolve()

    stores = list(step.stores)
    location = {s.value: s.location for s in step.stores if not s.accumulate}  # accumulated memory is not the value
    for k in sorted(demand.loaded):
        if k not in location:
            location[k] = Location("workspace", str(k))
            stores.append(Store(location[k], k))

    stages: list[Stage] = []
    loadable_from: dict[int, int] = {}  # of each stored value the first stage that can load it, the one after its own
    last = max((phases.storing(s.value) for s in stores), default=-1)
    for phase in range(last + 1):
        here = [s for s in stores if phases.storing(s.value) == phase]
        wholes = tuple(s for s in here if step.values[s.value].op in WHOLE)
        if wholes:
            stages.append(WholeLoop(wholes))
            loadable_from |= {s.value: len(stages) for s in wholes}
        elementwise = [s for s in here if s not in wholes and not phases.in_reduction_loop(s.value)]
        shapes = sorted({_shape(step, s.value) for s in elementwise}, reverse=True)
        if shapes:
            stages.append(
                tuple(
                    TileLoop(
                        shape[0],
                        tuple(k for k in demand.products if phases.tile[k] == phase and _shape(step, k) == shape),
                        tuple(s for s in elementwise if _shape(step, s.value) == shape),
                        shape[1],
                    )
                    for shape in shapes
                )
            )
            loadable_from |= {s.value: len(stages) for s in elementwise}
        scalars_and_scans = tuple(s for s in here if phases.in_reduction_loop(s.value))
        if scalars_and_scans:
            stages.append(ReductionLoop(_sweeps(step, phases, demand.reductions, phase), scalars_and_scans))
            loadable_from |= {s.value: len(stages) for s in scalars_and_scans}
    stored = {k: (loadable_from[k], at) for k, at in location.items()}
    return _without_dead_stores(Program(step.with_stores(stores), tuple(stages), stored))


def _shape(step: Step, k: int) -> tuple[int, int]:
    """What the values of one loop have in common: size and rows."""
    return step.values[k].size, step.values[k].rows


def _without_dead_stores(program: Program) -> Program:
    """The same loops without what they store to the workspace and none of them loads.

    The demand of a value that a loop might recompute is one of its arguments, too, which nobody loads where the value
    itself is stored.
    """
    loaded: set[int] = set()
    for number, stage in enumerate(program.stages):
        for loop in loops(stage):
            reached = program.inputs((store.value for store in loop.stores), number)
            loaded |= {k for k in reached if k in program.stored and program.stored[k][0] <= number}

    def lives(store: Store) -> bool:
        return store.location.buffer != "workspace" or store.value in loaded

    if all(map(lives, program.step.stores)):
        return program
    stages = tuple(
        tuple(replace(loop, stores=tuple(filter(lives, loop.stores))) for loop in stage)
        if isinstance(stage, tuple)
        else replace(stage, stores=tuple(filter(lives, stage.stores)))
        for stage in program.stages
    )
    stored = {k: found for k, found in program.stored.items() if found[1].buffer != "workspace" or k in loaded}
    return _without_dead_stores(Program(program.step.with_stores(filter(lives, program.step.stores)), stages, stored))


MOST_LOADED = 5
"""The values of earlier loops that a loop loads to recompute one: a cell that adds sixteen evaluations up would load
sixteen in each of the loops that follow. No cell of the zoo has one made of so many."""


def _recomputed(step: Step) -> list[bool]:
    """For each value whether it is recomputed wherever it is used: it is cheap, and made of few that are not."""
    found: list[bool] = []
    loaded: list[set[int]] = []  # what is loaded to recompute each
    for k, value in enumerate(step.values):
        needs = set().union(*(loaded[a] for a in value.args))
        found.append(value.op in CHEAP and (len(needs) <= MOST_LOADED or value.op in COMPARISONS))
        loaded.append(needs if found[k] else set() if value.op in LEAVES else {k})
    return found


class _Phases:
    """For each value, the first phase whose tile loops can have it, and the first whose reduction loop can.

    A loop has a value if it computes, recomputes or loads it. What a tile loop stores, the reduction loop of the same
    phase can load; what that stores, the tile loops of the next phase can. A scalar that depends on no reduction is
    recomputed wherever it is used: its reduction phase is -1.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.is_recomputed = _recomputed(step)
        self.tile: list[int] = []
        self.reduction: list[int] = []
        for k, value in enumerate(step.values):
            tile, reduction = self._first(k, value)
            self.tile.append(tile)
            self.reduction.append(reduction)

    def _first(self, k: int, value: Value) -> tuple[int, int]:
        tiles, reductions = [self.tile[a] for a in value.args], [self.reduction[a] for a in value.args]
        if value.op in LEAVES:
            return 0, -1 if value.size == SCALAR else 0
        if value.op in IN_MEMORY:  # so a phase after they are computed
            tile = max(0 if self.step.values[a].op in LEAVES else self.tile[a] + 1 for a in value.args)
            return tile, tile
        if value.op in REDUCTIONS:  # computed in a reduction loop, loaded from the next phase on
            reduction = max(0, *reductions)
            return reduction + 1, reduction
        if value.op in SCANS:  # stored, also for other sweeps of its loop: both kinds load it from the next phase on
            tile = max(0, *reductions) + 1
            return tile, tile
        if value.size == SCALAR:
            reduction = max(reductions)
            return reduction + 1, reduction
        tile = max(tiles)
        return tile, max(0, *reductions) if self.is_recomputed[k] else tile  # a reduction loop loads the rest

    def in_reduction_loop(self, k: int) -> bool:
        """Whether a value is computed in a reduction loop: scalars, and scans of vectors."""
        value = self.step.values[k]
        return value.size == SCALAR or value.op in SCANS

    def storing(self, k: int) -> int:
        """The phase in which a value is computed and stored."""
        if self.step.values[k].op in SCANS:
            return self.tile[k] - 1
        return max(0, self.reduction[k]) if self.in_reduction_loop(k) else self.tile[k]


class _Use(NamedTuple):
    """A value that a loop of a phase needs."""

    value: int
    in_reduction: bool
    phase: int


class _Demand:
    """Which loop computes what: a worklist, from the stores back. A loop recomputes what is cheap and loads the rest.

    Attributes:
        products: what tile loops compute, in the order in which they will be computed.
        reductions: the reductions and scans.
        loaded: what is computed in one loop and loaded in another, and so needs memory.
    """

    def __init__(self, step: Step, phases: _Phases) -> None:
        self.step, self.phases = step, phases
        self.products: dict[int, None] = {}  # an ordered set
        self.reductions: set[int] = set()
        self.loaded: set[int] = set()
        self._worklist: list[_Use] = []
        self._seen: set[_Use] = set()

    def resolve(self) -> None:
        """Find what all stores of the step need."""
        for store in self.step.stores:
            self._compute(store.value)
        while self._worklist:
            self._resolve(self._worklist.pop())

    def _resolve(self, use: _Use) -> None:
        value, args = self.step.values[use.value], self.step.values[use.value].args
        if value.op in LEAVES:
            return
        is_computed = self._is_computed(use)
        if value.op in WHOLE:
            self.loaded.add(use.value)
        if value.op in WHOLE or (is_computed and value.op in IN_MEMORY):
            if value.op == "product":
                self.products[use.value] = None
            self._load(a for a in args if self.step.values[a].op not in LEAVES)
            return
        if is_computed and value.op in REDUCTIONS | SCANS:
            self.reductions.add(use.value)
        if is_computed or value.op in COMPARISONS:  # a comparison is never stored: it is no number
            for a in args:
                self._need(use._replace(value=a))
        else:
            self._load([use.value])

    def _is_computed(self, use: _Use) -> bool:
        """Whether a loop computes what it needs, for the first time or again; else it loads it."""
        k, phases = use.value, self.phases
        op = self.step.values[k].op
        if op in SCANS:
            return use.in_reduction and phases.storing(k) == use.phase
        if phases.in_reduction_loop(k):
            return phases.reduction[k] == -1 or (use.in_reduction and phases.reduction[k] == use.phase)
        if phases.is_recomputed[k]:
            return True
        return not use.in_reduction and phases.tile[k] == use.phase

    def _load(self, values: Iterable[int]) -> None:
        for k in values:
            self.loaded.add(k)
            self._compute(k)

    def _compute(self, k: int) -> None:
        """Need a value where it is computed and stored."""
        self._need(_Use(k, self.phases.in_reduction_loop(k), self.phases.storing(k)))

    def _need(self, use: _Use) -> None:
        if use not in self._seen:
            self._seen.add(use)
            self._worklist.append(use)


def _sweeps(step: Step, phases: _Phases, reductions: Iterable[int], phase: int) -> tuple[tuple[int, ...], ...]:
    """The reductions and scans of a phase in sweeps over their vectors, first to last.

    Those of one sweep have one size and direction, and need the same number of sweeps before them.
    """
    here = sorted(k for k in reductions if phases.storing(k) == phase)
    depth: dict[int, int] = {}

    def sweeps_before(k: int) -> int:
        """How many sweeps of this phase must come before a value is known."""
        value = step.values[k]
        if value.op in LEAVES or value.op == "product" or phases.reduction[k] < phase:
            return 0
        if k not in depth:
            depth[k] = max((sweeps_before(a) for a in value.args), default=0) + (k in here)
        return depth[k]

    sweeps: dict[tuple[int, int, bool], list[int]] = {}
    for k in here:
        value = step.values[k]
        key = sweeps_before(k), step.values[value.args[0]].size, OPERATIONS[value.op].is_reversed
        sweeps.setdefault(key, []).append(k)
    return tuple(tuple(sweeps[key]) for key in sorted(sweeps))
