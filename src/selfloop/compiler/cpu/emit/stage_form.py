"""Which stages of a kernel are the same code, but for where their values lie.

A cell that evaluates a network sixteen times a step has each of its stages sixteen times. Such stages have the same
form, become one function, and pass it their numbers: offsets in buffers, and panels of weights.
"""

from collections.abc import Hashable

from selfloop.compiler.cpu.layout import PADDED_BUFFERS, KernelLayout
from selfloop.compiler.cpu.tiles import Tiling
from selfloop.compiler.lower.program import ReductionLoop
from selfloop.compiler.lower.step import Location, Store


class StageForm:
    """A stage as a form and numbers.

    Attributes:
        form: equal for stages of the same code.
        indices: of the numbers by which they differ, by what each number is of.
        numbers: those of this stage.
    """

    def __init__(self, layout: KernelLayout, stage: int) -> None:
        self._layout, self._stage, self._program = layout, stage, layout.program
        self.indices: dict[Hashable, int] = {}
        self.numbers: list[int] = []
        self._known: dict[int, int] = {}
        self._entries: list[Hashable] = []
        own = self._program.stages[stage]
        if isinstance(own, ReductionLoop):
            self._reduction_loop(own)
        else:
            for tiling in layout.tilings[stage]:
                self._tile_loop(tiling)
        self.form = tuple(self._entries)

    def _index(self, key: Hashable, number: int) -> int:
        """The index of a number."""
        if key not in self.indices:
            self.indices[key] = len(self.numbers)
            self.numbers.append(number)
        return self.indices[key]

    def _tile_loop(self, tiling: Tiling) -> None:
        self._entries.append(("tile loop", tiling.loop.size, tiling.unroll, tiling.rows))
        for panel in tiling.panels:
            arguments = tuple(self._location(at) for at in panel.arguments)
            weights: Hashable = panel.terms
            if self._layout.pitches is None:
                name = "panel", str(self._layout.panel_index(panel))
                weights = self._index(name, self._layout.arguments[name])
            self._entries.append(("panel", arguments, panel.lengths, panel.widths, weights))
            for k in panel.products:
                self._add(k, "sum")
        for store in tiling.loop.stores:
            self._store(store)

    def _reduction_loop(self, loop: ReductionLoop) -> None:
        values = self._program.step.values
        for sweep in loop.sweeps:
            arguments = [self._value(values[k].args[0]) for k in sweep]
            size = values[values[sweep[0]].args[0]].size
            self._entries.append(("sweep", size))
            for k, argument in zip(sweep, arguments, strict=True):
                self._add(k, values[k].op, argument)
        for store in loop.stores:
            self._store(store)

    def _store(self, store: Store) -> None:
        size = self._program.step.values[store.value].size
        self._entries.append(
            ("store", self._value(store.value), size, self._location(store.location), store.accumulate)
        )

    def _location(self, at: Location) -> Hashable:
        if at.buffer not in PADDED_BUFFERS:
            return at
        indices = [self._index(at, self._layout.fields[at.buffer].offsets[at.name, at.offset])]
        for key, place in self._layout.rounded[0].items():
            if key[0] == at:
                indices.append(self._index(key, place))
        return at.buffer, *indices

    def _value(self, k: int) -> int:
        """The index of the entry of a value, as `step_loop` loads or computes it."""
        if k in self._known:
            return self._known[k]
        value = self._program.step.values[k]
        first, stored = self._program.stored.get(k, (len(self._program.stages) + 1, None))
        location = value.location or (stored if first <= self._stage else None)
        if location is not None:
            return self._add(k, "load", self._location(location), value.size)
        return self._add(k, value.op, value.size, value.attribute, *map(self._value, value.args))

    def _add(self, k: int, *entry: Hashable) -> int:
        self._entries.append(entry)
        return self._known.setdefault(k, len(self._entries) - 1)
