"""A function while it is being written: loops, memory, and the block of arguments."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from llvmlite import ir

from selfloop.compiler.emit.vectors import I64, POINTER, Vectors
from selfloop.compiler.targets import Target

Index: TypeAlias = ir.Value | int


class Function:
    """``void name(int64_t *block)``: numbers and addresses come in one block."""

    def __init__(self, module: ir.Module, name: str, target: Target, bits: int) -> None:
        kind = ir.FunctionType(ir.VoidType(), [POINTER])
        self.function = ir.Function(module, kind, name)
        self.function.attributes.add(
            "nounwind"
        )  # else each object registers unwind tables, which libgcc at times aborts on
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.vectors = Vectors(self.builder, target, bits)
        self.target = target
        self.block = self.function.args[0]

    # The block.

    def argument(self, index: int) -> ir.Value:
        """A whole number of the block."""
        return self.builder.load(self.at(self.block, index, I64), typ=I64)

    def pointer(self, index: int) -> ir.Value:
        """An address of the block."""
        return self.builder.inttoptr(self.argument(index), POINTER)

    # Whole numbers.

    def number(self, value: Index) -> ir.Value:
        """A whole number as a value."""
        return value if isinstance(value, ir.Value) else I64(value)

    def plus(self, a: Index, b: Index) -> ir.Value:
        """A + b."""
        return self.builder.add(self.number(a), self.number(b))

    def times(self, a: Index, b: Index) -> ir.Value:
        """A * b."""
        return self.builder.mul(self.number(a), self.number(b))

    def least(self, a: Index, b: Index) -> ir.Value:
        """The smaller."""
        a, b = self.number(a), self.number(b)
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def most(self, a: Index, b: Index) -> ir.Value:
        """The larger."""
        a, b = self.number(a), self.number(b)
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    # Memory.

    def at(self, base: ir.Value, index: Index, element: ir.Type | None = None) -> ir.Value:
        """The address of an element."""
        return self.builder.gep(base, [self.number(index)], source_etype=element or self.vectors.element)

    def address(self, table: ir.Value, index: Index) -> ir.Value:
        """An entry of a table of addresses."""
        return self.builder.inttoptr(self.builder.load(self.at(table, index, I64), typ=I64), POINTER)

    def load(self, address: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        """A vector; where the mask is not set, zero, and memory is not touched."""
        v = self.vectors
        if mask is None:
            return self.builder.load(address, typ=v.type, align=v.bytes)
        name = f"llvm.masked.load.v{v.lanes}f{v.bits}.p0"
        return v.call(name, v.type, [address, *self._aligned(), mask, v.const(0.0)])

    def gather(self, base: ir.Value, offsets: ir.Value, mask: ir.Value) -> ir.Value:
        """Elements at offsets from an address; zero where the mask is not set."""
        v = self.vectors
        pointers = self.builder.gep(base, [offsets], source_etype=v.element)
        pointers.type = ir.VectorType(POINTER, v.lanes)
        name = f"llvm.masked.gather.v{v.lanes}f{v.bits}.v{v.lanes}p0"
        return v.call(name, v.type, [pointers, *self._aligned(), mask, v.const(0.0)])

    def store(self, value: ir.Value, address: ir.Value, mask: ir.Value | None = None) -> None:
        """A vector to memory; where the mask is not set, memory stays."""
        v = self.vectors
        if mask is None:
            self.builder.store(value, address, align=v.bytes)
        else:
            name = f"llvm.masked.store.v{v.lanes}f{v.bits}.p0"
            v.call(name, ir.VoidType(), [value, address, *self._aligned(), mask])

    def load_scalar(self, address: ir.Value) -> ir.Value:
        """One element in every lane."""
        return self.vectors.splat(self.builder.load(address, typ=self.vectors.element, align=self.vectors.bytes))

    def store_scalar(self, value: ir.Value, address: ir.Value) -> None:
        """The first lane to memory."""
        first = self.builder.extract_element(value, ir.IntType(32)(0))
        self.builder.store(first, address, align=self.vectors.bytes)

    def first_lanes(self, count: ir.Value) -> ir.Value:
        """A mask of the first lanes, as many as there are."""
        v = self.vectors
        lanes = ir.Constant(ir.VectorType(I64, v.lanes), list(range(v.lanes)))
        return self.builder.icmp_signed("<", lanes, v.splat(count))

    def _aligned(self) -> list[ir.Value]:
        return [ir.IntType(32)(self.vectors.bytes)]

    def space(self, vectors: int) -> ir.Value:
        """Room for so many vectors on the stack, for the whole call."""
        with self.builder.goto_entry_block():
            room = self.builder.alloca(self.vectors.type, size=I64(vectors))
            room.align = self.vectors.target.vector_bytes
        return room

    # Control.

    @contextmanager
    def loop(self, start: Index, stop: Index, step: Index = 1) -> Iterator[ir.Value]:
        """From `start` up to `stop`, which may leave nothing to do."""
        b = self.builder
        before = b.block
        head, body, after = (self.function.append_basic_block(name) for name in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(self.number(start), before)
        b.cbranch(b.icmp_signed("<", index, self.number(stop)), body, after)
        b.position_at_end(body)
        yield index
        index.add_incoming(self.plus(index, step), b.block)
        b.branch(head)
        b.position_at_end(after)

    def fold(
        self,
        low: Index,
        high: Index,
        start: Sequence[ir.Value],
        body: Callable[[ir.Value, list[ir.Value]], list[ir.Value]],
        step: int = 1,
    ) -> list[ir.Value]:
        """Values carried through a loop over low, low + step, … below `high`; there is at least one turn."""
        b = self.builder
        before = b.block
        head, after = (self.function.append_basic_block(name) for name in ("fold", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(self.number(low), before)
        carried = []
        for value in start:
            phi = b.phi(value.type)
            phi.add_incoming(value, before)
            carried.append(phi)
        result = body(index, list(carried))
        following = self.plus(index, step)
        index.add_incoming(following, b.block)
        for phi, value in zip(carried, result, strict=True):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", following, self.number(high)), head, after)
        b.position_at_end(after)
        return result

    def finish(self) -> None:
        """Return."""
        self.builder.ret_void()
