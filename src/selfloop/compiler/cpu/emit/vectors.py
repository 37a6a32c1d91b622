"""Arithmetic on vectors of one width, as LLVM."""

from collections.abc import Sequence

from llvmlite import ir

from selfloop.compiler.cpu.targets import Target
from selfloop.errors import BackendError

I32, POINTER = ir.IntType(32), ir.PointerType()


class Vectors:
    """Writes instructions on vectors of float32 (bits=32) or float64 (bits=64) at the builder's place.

    A vector fills a register, or several when more lanes are asked for.
    """

    def __init__(self, builder: ir.IRBuilder, target: Target, bits: int, lanes: int | None = None) -> None:
        if bits == 64 and not target.has_float64:
            raise BackendError(f"{target.name} does not compute in float64, which this cell needs.")
        self.builder, self.target, self.bits = builder, target, bits
        self.bytes = bits // 8
        self.lanes = lanes or target.lanes(self.bytes)
        self.precision = 24 if bits == 32 else 53
        self.element = ir.FloatType() if bits == 32 else ir.DoubleType()
        self.type = ir.VectorType(self.element, self.lanes)
        self.integer = ir.IntType(bits)
        self.integers = ir.VectorType(self.integer, self.lanes)
        self.mask = ir.VectorType(ir.IntType(1), self.lanes)

    # Making vectors.

    def const(self, value: float) -> ir.Constant:
        """The number in every lane."""
        return ir.Constant(self.type, [value] * self.lanes)

    def iconst(self, value: int) -> ir.Constant:
        """The whole number in every lane."""
        return ir.Constant(self.integers, [value] * self.lanes)

    def splat(self, scalar: ir.Value) -> ir.Value:
        """A scalar of the element's type in every lane."""
        undefined = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(self.builder.insert_element(undefined, scalar, I32(0)), undefined, zeros)

    def shuffled(self, a: ir.Value, b: ir.Value | None, order: Sequence[int]) -> ir.Value:
        """For each lane, one of the lanes of two vectors; those of b count on from those of a."""
        b = ir.Constant(self.type, ir.Undefined) if b is None else b
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, self.lanes), list(order)))

    def lane(self, v: ir.Value, lane: int) -> ir.Value:
        """One lane of a vector in every lane."""
        return self.shuffled(v, None, [lane] * self.lanes)

    # Calls of LLVM's intrinsics.

    def call(self, name: str, result: ir.Type, arguments: Sequence[ir.Value]) -> ir.Value:
        """Call the intrinsic of this full name."""
        module = self.builder.module
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(result, [a.type for a in arguments]), name
        )
        return self.builder.call(function, arguments)

    def instruction(self, name: str, **operands: ir.Value) -> ir.Value | None:
        """An instruction of the target on vectors; None where it has none of this name, for vectors of this width."""
        found = self.target.intrinsics.get(f"{name}{self.bits}")
        if found is None or self.lanes != self.target.lanes(self.bytes):
            return None
        operands["lanes"] = ir.Constant(ir.IntType(self.lanes), -1)
        arguments = [I32(operand) if isinstance(operand, int) else operands[operand] for operand in found.operands]
        return self.call(found.name, self.type, arguments)

    def intrinsic(self, name: str, *arguments: ir.Value) -> ir.Value:
        """Call ``llvm.NAME`` on vectors, with a vector as its result."""
        return self.call(f"llvm.{name}.v{self.lanes}f{self.bits}", self.type, arguments)

    # Arithmetic. Comparisons are ordered, as torch's: false where a NaN takes part.

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """A * b + c: rounded once where the processor can, twice where it cannot."""
        return self.intrinsic("fma" if self.target.has_fma else "fmuladd", a, b, c)

    def select(self, mask: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        """A where the mask is set, b elsewhere."""
        return self.builder.select(mask, a, b)

    def to_integers(self, v: ir.Value) -> ir.Value:
        """The bits of floats as integers."""
        return self.builder.bitcast(v, self.integers)

    def to_floats(self, v: ir.Value) -> ir.Value:
        """Bits as floats."""
        return self.builder.bitcast(v, self.type)
