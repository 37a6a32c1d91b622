"""Arithmetic on vectors of one width, as LLVM."""

from collections.abc import Sequence
from functools import lru_cache

from llvmlite import ir

from selfloop.compiler.cpu.targets import Target
from selfloop.errors import BackendError

I8, I16, I32, POINTER = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.PointerType()
_FIRST = I32(0)


@lru_cache(maxsize=1024)
def integers(kind: ir.VectorType, numbers: tuple[int, ...]) -> ir.Constant:
    """A vector of whole numbers.

    Constants are made once and used again: llvmlite takes half a millisecond for one of 16 lanes, and a kernel uses
    the same few a thousand times.
    """
    return ir.Constant(kind, list(numbers))


@lru_cache(maxsize=1024)
def _filled(kind: ir.VectorType, number: str) -> ir.Constant:
    """A vector of one number, given as text: 0.0 and -0.0 are equal, and differ."""
    return ir.Constant(kind, [float(number)] * kind.count)


@lru_cache(maxsize=16)
def _undefined(element: ir.Type, lanes: int) -> ir.Constant:
    constant = ir.Constant(ir.VectorType(element, lanes), None)
    constant.constant = ir.Undefined  # llvmlite would write it lane by lane
    return constant


class Vectors:
    """Writes instructions on vectors of float32 (bits=32) or float64 (bits=64) at the builder's insertion point.

    A vector fills a register, or several when more lanes are asked for.
    """

    def __init__(self, builder: ir.IRBuilder, target: Target, bits: int, lanes: int | None = None) -> None:
        if bits == 64 and not target.has_float64:
            raise BackendError(f"{target.name} does not compute in float64, which this cell needs.")
        self.builder, self.target, self.bits = builder, target, bits
        self.bytes = bits // 8
        self.lanes = lanes or target.lanes(self.bytes)
        self.precision = 24 if bits == 32 else 53  # bits of the significand, with the implicit one
        self.float_type = ir.FloatType() if bits == 32 else ir.DoubleType()
        self.type = ir.VectorType(self.float_type, self.lanes)
        self.int_type = ir.IntType(bits)
        self.int_vector = ir.VectorType(self.int_type, self.lanes)
        self.order_type = ir.VectorType(I32, self.lanes)

    # Making vectors.

    def const(self, value: float) -> ir.Constant:
        """The number in every lane."""
        return _filled(self.type, repr(float(value)))

    def iconst(self, value: int) -> ir.Constant:
        """The whole number in every lane."""
        return integers(self.int_vector, (value,) * self.lanes)

    def splat(self, scalar: ir.Value) -> ir.Value:
        """A scalar of the element's type in every lane."""
        undefined = _undefined(scalar.type, self.lanes)
        first = self.builder.insert_element(undefined, scalar, _FIRST)
        return self.builder.shuffle_vector(first, undefined, self._order([0] * self.lanes))

    def shuffled(self, a: ir.Value, b: ir.Value | None, order: Sequence[int]) -> ir.Value:
        """LLVM's shufflevector: lane i of the result is lane ``order[i]`` of a followed by b."""
        b = _undefined(self.float_type, self.lanes) if b is None else b
        return self.builder.shuffle_vector(a, b, self._order(order))

    def _order(self, lanes: Sequence[int]) -> ir.Constant:
        return integers(self.order_type, tuple(lanes))

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

    def target_intrinsic(self, name: str, result: ir.Type | None = None, **operands: ir.Value) -> ir.Value | None:
        """Call an intrinsic of the target; None where it has none of this name, or where `lanes` are not its own.

        Its result is a vector unless another type is given.
        """
        intrinsic = self.target.intrinsics.get(f"{name}{self.bits}")
        if intrinsic is None or self.lanes != self.target.lanes(self.bytes):
            return None
        operands["all_lanes"] = ir.Constant(ir.IntType(self.lanes), -1)  # the write mask of AVX-512
        arguments = [
            I32(o) if isinstance(o, int) else operands[o] for o in intrinsic.operands
        ]  # an int is an immediate
        return self.call(intrinsic.name, result or self.type, arguments)

    def intrinsic(self, name: str, *arguments: ir.Value) -> ir.Value:
        """Call ``llvm.NAME`` on vectors, with a vector as its result."""
        return self.call(f"llvm.{name}.v{self.lanes}f{self.bits}", self.type, arguments)

    # Arithmetic.

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """A * b + c: rounded once where the processor can, twice where it cannot."""
        return self.intrinsic("fma" if self.target.has_fma else "fmuladd", a, b, c)

    def select(self, mask: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        """A where the mask is set, b elsewhere."""
        return self.builder.select(mask, a, b)

    def bits_of(self, v: ir.Value) -> ir.Value:
        """The bits of floats, as integers."""
        return self.builder.bitcast(v, self.int_vector)

    def from_bits(self, v: ir.Value) -> ir.Value:
        """The floats that have these bits."""
        return self.builder.bitcast(v, self.type)
