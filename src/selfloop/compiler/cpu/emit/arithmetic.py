"""What the functions of `mathematics` are built of."""

from collections.abc import Sequence

from llvmlite import ir

from selfloop.compiler.cpu.emit.vectors import Vectors


def polynomial(v: Vectors, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    """By Horner's rule, the highest power first."""
    value = v.const(coefficients[0])
    for c in coefficients[1:]:
        value = v.fma(value, x, v.const(c))
    return value


def clamp(v: Vectors, x: ir.Value, low: float, high: float) -> ir.Value:
    """The number kept within bounds; NaN stays."""
    x = v.select(v.builder.fcmp_ordered("<", x, v.const(low)), v.const(low), x)
    return at_most(v, x, high)


def at_most(v: Vectors, x: ir.Value, high: float) -> ir.Value:
    """The number, or the bound if that is less; NaN stays."""
    return v.select(v.builder.fcmp_ordered(">", x, v.const(high)), v.const(high), x)


class Whole:
    """The nearest whole number to x times a factor, below 2^22 (2^51 in float64): adding a large number rounds."""

    def __init__(self, v: Vectors, x: ir.Value, factor: float) -> None:
        self._v = v
        magic = v.const(1.5 * 2.0 ** (v.precision - 1))
        shifted = v.fma(x, v.const(factor), magic)
        self.value = v.builder.fsub(shifted, magic)
        self.integer = v.builder.sub(v.bits_of(shifted), v.bits_of(magic))

    def power(self) -> ir.Value:
        """2^n, where that is a normal number."""
        scaled = self._scaled(self._v.const(1.0))
        return self._power(self.integer) if scaled is None else scaled

    def scale(self, x: ir.Value) -> ir.Value:
        """X 2^n, to infinity and to denormals."""
        v, b = self._v, self._v.builder
        scaled = self._scaled(x)
        if scaled is not None:
            return scaled
        half = b.ashr(self.integer, v.iconst(1))
        return b.fmul(b.fmul(x, self._power(half)), self._power(b.sub(self.integer, half)))

    def _scaled(self, x: ir.Value) -> ir.Value | None:
        return self._v.target_intrinsic("scale", x=x, n=self.value)

    def _power(self, n: ir.Value) -> ir.Value:
        v, b = self._v, self._v.builder
        bias, fraction = (1 << (v.bits - v.precision - 1)) - 1, v.precision - 1
        return v.from_bits(b.shl(b.add(n, v.iconst(bias)), v.iconst(fraction)))


def quotient(v: Vectors, a: ir.Value, d: ir.Value) -> ir.Value:
    """A / d for finite numbers; d and its reciprocal are normal."""
    y = _estimate(v, d)
    if y is None:
        return v.builder.fdiv(a, d)
    q = v.builder.fmul(a, y)
    return v.fma(v.fma(v.builder.fneg(d), q, a), y, q)


def reciprocal(v: Vectors, x: ir.Value) -> ir.Value:
    """1 / x, where both are finite and normal."""
    y = _estimate(v, x)
    if y is None:
        return v.builder.fdiv(v.const(1.0), x)
    return v.fma(v.fma(v.builder.fneg(x), y, v.const(1.0)), y, y)


def _estimate(v: Vectors, x: ir.Value) -> ir.Value | None:
    """14 bits of 1 / x, where the processor has them: one of Newton's steps is less than half a division."""
    return v.target_intrinsic("reciprocal", x=x)


def with_sign(v: Vectors, size: ir.Value, sign: ir.Value) -> ir.Value:
    """A number that is not negative with the sign of another."""
    return v.intrinsic("copysign", size, sign)


def absolute(v: Vectors, x: ir.Value) -> ir.Value:
    """|x|."""
    return v.intrinsic("fabs", x)
