"""Where what a stage reads and writes lies: the argument block, tables of rows, the fields of buffers."""

from collections.abc import Hashable

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function, Index
from selfloop.compiler.cpu.layout import PADDED_BUFFERS, RANDOM_TABLES, ROW_TABLES, STEP_BUFFERS, KernelLayout
from selfloop.compiler.lower.step import Location, Store


class Row:
    """One sequence at one time step: its index in the batch, and its index in tables and buffers of all steps."""

    def __init__(self, in_batch: ir.Value, in_all: ir.Value) -> None:
        self.in_batch, self.in_all = in_batch, in_all


class StageMemory(Function):
    """The memory of a kernel's stages.

    Attributes:
        layout: the kernel's.
        program, values: its program, and the values of its step.
        start: the first row of this thread in tables and buffers of all steps.
        rows: how many rows of the time step this thread has.
    """

    start: ir.Value
    rows: ir.Value

    def __init__(self, module: ir.Module, name: str, layout: KernelLayout) -> None:
        super().__init__(module, name, layout.target, layout.bits)
        self.layout, self.program, self.values = layout, layout.program, layout.program.step.values
        self.bases = _Bases(self)
        self.arrays: dict[tuple[int, ...], ir.Value] = {}
        self.first_row, self.row_stride = self.header("first_row"), self.header("row_stride")

    def header(self, name: str) -> ir.Value:
        """A number of the argument block's header."""
        return self.argument(self.layout.arguments["header", name])

    def number_of(self, key: Hashable, number: int) -> Index:
        """A number by which stages of the same form may differ, see `StageForm`."""
        del key
        return number

    def numbers(self, values: tuple[int, ...]) -> ir.Value:
        """An array of these numbers, on the stack: constants would be memory that WebAssembly has to be given."""
        if values not in self.arrays:
            b = self.builder
            with b.goto_entry_block():
                self.arrays[values] = b.alloca(self.index, size=self.index(len(values)))
                for k, value in enumerate(values):
                    b.store(self.index(value), self.at(self.arrays[values], k, self.index))
        return self.arrays[values]

    def row(self, k: ir.Value) -> Row:
        """The k-th row of this thread at this step."""
        steps = self.times(k, self.row_stride)
        return Row(self.plus(self.first_row, steps), self.plus(self.start, steps))

    def rng_place(self, row: Row) -> tuple[ir.Value, ir.Value]:
        """The user's step and row, on which random draws depend."""
        steps, rows = (self.bases[table, ""] for table in RANDOM_TABLES)
        addresses = self.at(steps, row.in_all, self.index), self.at(rows, row.in_batch, self.index)
        step, own = (self.builder.load(address, typ=self.index) for address in addresses)
        return step, own

    def mask(self, size: int, lane: ir.Value) -> ir.Value | None:
        """Which lanes of the vector at `lane` are units; None where all are, in every vector."""
        if size % self.vectors.lanes == 0:
            return None
        return self.first_lanes(self.builder.sub(self.index(size), lane))

    def store_vector(self, s: Store, row: Row, lane: ir.Value, mask: ir.Value | None, result: ir.Value) -> None:
        """Store the vector at `lane` of a value."""
        address = self.at(self.address_of(s.location, row), lane)
        outer = mask if s.location.buffer not in PADDED_BUFFERS else None
        total = self.builder.fadd(self.load(address, outer), result) if s.accumulate else result
        self.store(total, address, outer)

    def address_of(self, location: Location, row: Row) -> ir.Value:
        """The address of a location for a row."""
        buffer, name, offset = location
        if buffer == "param":
            return self.at(self.bases[buffer, name], offset)
        if buffer in ROW_TABLES:
            return self.at(self.address(self.bases[buffer, name], row.in_all), offset)
        fields = self.layout.fields[buffer]
        index = row.in_all if buffer in STEP_BUFFERS else row.in_batch
        place = self.number_of(location, fields.offsets[name, offset])
        return self.at(self.bases[buffer, ""], self.plus(self.times(index, fields.stride), place))


class _Bases:
    """The addresses in the argument block, each read at the start of the function once it is asked for."""

    def __init__(self, function: StageMemory) -> None:
        self._f = function
        self._read: dict[tuple[str, str], ir.Value] = {}

    def __getitem__(self, key: tuple[str, str]) -> ir.Value:
        if key not in self._read:
            with self._f.builder.goto_entry_block():
                self._read[key] = self._f.pointer(self._f.layout.arguments[key])
        return self._read[key]
