"""`Function`: an LLVM function under construction, with loops, memory accesses and its argument block."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeAlias

from llvmlite import ir

from selfloop.compiler.cpu.emit.vectors import POINTER, Vectors, integers
from selfloop.compiler.cpu.targets import Target

Index: TypeAlias = ir.Value | int


def declared(module: ir.Module, name: str, arguments: Sequence[ir.Type]) -> ir.Function:
    """The function of this name, which returns nothing; it is declared if it is not yet."""
    function = module.globals.get(name)
    if function is None:
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
        function.attributes.add("nounwind")  # else each object registers unwind tables, and libgcc may abort
    return function


@lru_cache(maxsize=4096)
def _integer(bits: int, value: int) -> ir.Constant:
    return ir.Constant(ir.IntType(bits), value)


class Function:
    """``void name(intptr_t *block)``: a kernel takes one argument, the address of its argument block.

    A function that is declared already is written with the arguments of its declaration.

    Attributes:
        builder: LLVM's builder, which all methods here use.
        vectors: arithmetic on vectors of the element's type.
        index: the type of addresses as integers, and of the numbers in the argument block.
        block: the address of the argument block.
    """

    def __init__(self, module: ir.Module, name: str, target: Target, bits: int) -> None:
        self.function = declared(module, name, [POINTER])
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.vectors = Vectors(self.builder, target, bits)
        self.target, self.index = target, ir.IntType(target.index_bits)
        self.block = self.function.args[0]

    # The argument block

    def argument(self, index: Index) -> ir.Value:
        """An integer of the block."""
        return self.builder.load(self.at(self.block, index, self.index), typ=self.index)

    def pointer(self, index: Index) -> ir.Value:
        """A pointer of the block."""
        return self.builder.inttoptr(self.argument(index), POINTER)

    # Integers

    def number(self, value: Index) -> ir.Value:
        """A Python integer as an LLVM value."""
        return value if isinstance(value, ir.Value) else _integer(self.index.width, value)

    def plus(self, a: Index, b: Index) -> ir.Value:
        """Add: a + b."""
        return self.builder.add(self.number(a), self.number(b))

    def times(self, a: Index, b: Index) -> ir.Value:
        """Multiply: a * b."""
        return self.builder.mul(self.number(a), self.number(b))

    def least(self, a: Index, b: Index) -> ir.Value:
        """min(a, b)."""
        a, b = self.number(a), self.number(b)
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def most(self, a: Index, b: Index) -> ir.Value:
        """max(a, b)."""
        a, b = self.number(a), self.number(b)
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    # Memory

    def at(self, base: ir.Value, index: Index, element: ir.Type | None = None) -> ir.Value:
        """The address base + index, counted in elements."""
        return self.builder.gep(base, [self.number(index)], source_etype=element or self.vectors.float_type)

    def address(self, table: ir.Value, index: Index) -> ir.Value:
        """An entry of a table of addresses, as a pointer."""
        return self.builder.inttoptr(self.builder.load(self.at(table, index, self.index), typ=self.index), POINTER)

    def load(self, address: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        """A vector. Lanes whose mask is not set are zero, and their memory is not accessed."""
        v = self.vectors
        if mask is None:
            return self.builder.load(address, typ=v.type, align=v.bytes)
        name = f"llvm.masked.load.v{v.lanes}f{v.bits}.p0"
        return v.call(name, v.type, [address, *self._aligned(), mask, v.const(0.0)])

    def gather(self, base: ir.Value, offsets: ir.Value, mask: ir.Value) -> ir.Value:
        """A vector of elements at offsets from an address, zero where the mask is not set."""
        v = self.vectors
        pointers = self.builder.gep(base, [offsets], source_etype=v.float_type)
        pointers.type = ir.VectorType(POINTER, v.lanes)
        name = f"llvm.masked.gather.v{v.lanes}f{v.bits}.v{v.lanes}p0"
        return v.call(name, v.type, [pointers, *self._aligned(), mask, v.const(0.0)])

    def store(self, value: ir.Value, address: ir.Value, mask: ir.Value | None = None) -> None:
        """Store a vector. Memory of lanes whose mask is not set is not accessed."""
        v = self.vectors
        if mask is None:
            self.builder.store(value, address, align=v.bytes)
        else:
            name = f"llvm.masked.store.v{v.lanes}f{v.bits}.p0"
            v.call(name, ir.VoidType(), [value, address, *self._aligned(), mask])

    def prefetch(self, start: ir.Value, vectors: int) -> None:
        """Have adjacent vectors in the cache by the time that something is added to them."""
        number, kind = ir.IntType(32), ir.VoidType()
        for k in range(vectors):
            place = self.at(start, k * self.vectors.lanes)
            self.vectors.call("llvm.prefetch.p0", kind, [place, number(1), number(3), number(1)])

    def load_scalar(self, address: ir.Value) -> ir.Value:
        """One element in every lane."""
        return self.vectors.splat(self.builder.load(address, typ=self.vectors.float_type, align=self.vectors.bytes))

    def store_scalar(self, value: ir.Value, address: ir.Value) -> None:
        """Store the first lane."""
        first = self.builder.extract_element(value, ir.IntType(32)(0))
        self.builder.store(first, address, align=self.vectors.bytes)

    def first_lanes(self, count: ir.Value) -> ir.Value:
        """A mask of the first `count` lanes; of all, where it is larger."""
        v = self.vectors
        lanes = integers(ir.VectorType(self.index, v.lanes), tuple(range(v.lanes)))
        return self.builder.icmp_signed("<", lanes, v.splat(count))

    def _aligned(self) -> list[ir.Value]:
        return [ir.IntType(32)(self.vectors.bytes)]

    def space(self, vectors: int) -> ir.Value:
        """An array of vectors on the stack, for the whole call."""
        with self.builder.goto_entry_block():
            room = self.builder.alloca(self.vectors.type, size=self.index(vectors))
            room.align = self.vectors.target.vector_bytes
        return room

    # Control flow

    @contextmanager
    def loop(self, start: Index, stop: Index, step: Index = 1) -> Iterator[ir.Value]:
        """``for index in range(start, stop, step)``."""
        b = self.builder
        before = b.block
        head, body, after = (self.function.append_basic_block(name) for name in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(self.index)
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
        may_be_empty: bool = False,
    ) -> list[ir.Value]:
        """A loop over low, low + step, … below `high` that carries values.

        Args:
            low: the first index.
            high: where to stop.
            start: the values before the first turn.
            body: from the index and the values so far, the values after the turn.
            step: the distance of the indices.
            may_be_empty: whether there may be no index; else the body runs at least once.
        """
        b = self.builder
        before = b.block
        head, after = (self.function.append_basic_block(name) for name in ("fold", "after"))
        if may_be_empty:
            b.cbranch(b.icmp_signed("<", self.number(low), self.number(high)), head, after)
        else:
            b.branch(head)
        b.position_at_end(head)
        index = b.phi(self.index)
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
        last = b.block
        b.cbranch(b.icmp_signed("<", following, self.number(high)), head, after)
        b.position_at_end(after)
        if not may_be_empty:
            return result
        ends = []
        for value, none in zip(result, start, strict=True):
            phi = b.phi(value.type)
            phi.add_incoming(none, before)
            phi.add_incoming(value, last)
            ends.append(phi)
        return ends

    def finish(self) -> None:
        """Return."""
        self.builder.ret_void()
