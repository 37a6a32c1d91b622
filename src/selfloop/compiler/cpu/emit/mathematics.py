"""Functions of a real number on vectors: straight-line code, without branches, tables or calls.

Each row of `FUNCTIONS` is an operation of the language. NaN gives NaN, infinities give what torch gives; results below
the smallest normal number may be zero. Errors are in units of the last place (ulp) of float32: with two decimals they
are the largest of a sweep over all numbers by benchmarks/ulp.py, elsewhere the bounds that the tests hold them to.
"""

from collections.abc import Callable, Sequence
from math import log, pi, sqrt

from llvmlite import ir

from selfloop.compiler.coefficients import (
    COSINE,
    ERF,
    ERF_NEAR,
    ERFC_FAR,
    ERFC_MIDDLE,
    EXP,
    LN2,
    LOG,
    LOG1P,
    LOG2_E,
    MILLS,
    NEAR,
    QUARTER,
    SINE,
    TANH,
)
from selfloop.compiler.cpu.emit.arithmetic import (
    Whole,
    absolute,
    at_most,
    clamp,
    polynomial,
    quotient,
    reciprocal,
    with_sign,
)
from selfloop.compiler.cpu.emit.vectors import I32, Vectors


def exp(v: Vectors, x: ir.Value) -> ir.Value:
    """2^n (1 + r p(r)), with n the nearest whole number to x / ln 2. To 1.06 ulp, at 5.20."""
    limit = {32: 104.0, 64: 746.0}[v.bits]
    p, n = _exp(v, clamp(v, x, -limit, limit), EXP[v.bits])
    return n.scale(p)


def sigmoid(v: Vectors, x: ir.Value) -> ir.Value:
    """1 / (1 + exp(-x)), and zero where that is no normal number. To 2.49 ulp, at -16.64."""
    smallest, limit = {32: (-126 * log(2), 87.0), 64: (-1022 * log(2), 708.0)}[v.bits]
    p, n = _exp(v, at_most(v, x, limit), EXP[v.bits], sign=-1)
    value = reciprocal(v, v.fma(p, n.power(), v.const(1.0)))
    return v.select(v.builder.fcmp_ordered("<", x, v.const(smallest)), v.const(0.0), value)


def _exp(
    v: Vectors,
    x: ir.Value,
    series: Sequence[float],
    sign: int = 1,
    exact: tuple[ir.Value, ir.Value] | None = None,
) -> tuple[ir.Value, "Whole"]:
    """(p, n) such that p 2^n is exp(±x); x may be the sum, rounded, of two numbers that are known exactly."""
    n = Whole(v, x, sign * LOG2_E)
    r, rest = exact or (x, None)
    for part in LN2[v.bits]:
        r = v.fma(n.value, v.const(-sign * part), r)
    if rest is not None:
        r = v.builder.fadd(r, rest)
    signed = [c * sign**k for k, c in zip(range(len(series), 0, -1), series, strict=True)]
    return v.fma(polynomial(v, r, signed), r, v.const(1.0)), n


def tanh(v: Vectors, x: ir.Value) -> ir.Value:
    """(t + w) / (1 + t w), with x = n ln 2 / 2 + r, w = tanh(r) and t = (2^n - 1) / (2^n + 1): near 0, w alone.

    To 2.54 ulp, at 0.52; odd to the last bit, and never above 1.
    """
    b = v.builder
    limit = {32: 9.02, 64: 19.5}[v.bits]
    x = clamp(v, x, -limit, limit)
    n = Whole(v, x, 2 * LOG2_E)
    r = v.fma(n.value, v.const(-log(2) / 2), x)
    z = b.fmul(r, r)
    w = v.fma(b.fmul(r, z), polynomial(v, z, TANH[v.bits]), r)
    s = n.power()
    less, more = b.fsub(s, v.const(1.0)), b.fadd(s, v.const(1.0))
    value = quotient(v, v.fma(more, w, less), v.fma(less, w, more))
    sign = b.and_(v.bits_of(x), v.iconst(-1 << (v.bits - 1)))  # a zero may have lost it
    return v.from_bits(b.or_(v.bits_of(value), sign))


def logarithm(v: Vectors, x: ir.Value) -> ir.Value:
    """The sum n ln 2 + 2 artanh((m - 1) / (m + 1)), with x = 2^n m and m near 1 (fdlibm). To 0.84 ulp, at 1.41."""
    b = v.builder
    fraction = {32: 23, 64: 52}[v.bits]
    tiny = {32: 2.0**-126, 64: 2.0**-1022}[v.bits]
    is_small = b.fcmp_ordered("<", x, v.const(tiny))
    lifted = v.select(is_small, b.fmul(x, v.const(2.0**fraction)), x)
    whole = v.bits_of(lifted)
    root = v.bits_of(v.const(sqrt(0.5)))
    shifted = b.sub(whole, root)
    n = b.ashr(shifted, v.iconst(fraction))
    m = v.from_bits(b.sub(whole, b.shl(n, v.iconst(fraction))))
    small = n if v.bits == 32 else b.trunc(n, ir.VectorType(I32, v.lanes))  # few processors convert 64-bit integers
    n_float = b.sitofp(small, v.type)
    n_float = v.select(is_small, b.fsub(n_float, v.const(float(fraction))), n_float)
    f = b.fsub(m, v.const(1.0))
    s = quotient(v, f, b.fadd(m, v.const(1.0)))
    z = b.fmul(s, s)
    rest = b.fmul(z, polynomial(v, z, LOG[v.bits]))
    half = b.fmul(v.const(0.5), b.fmul(f, f))
    correction = b.fmul(s, b.fadd(half, rest))
    high, low = LN2[v.bits]
    value = b.fsub(f, b.fsub(half, v.fma(n_float, v.const(low), correction)))
    value = v.fma(n_float, v.const(high), value)
    infinity = v.const(float("inf"))
    value = v.select(b.fcmp_ordered("==", x, infinity), infinity, value)
    value = v.select(b.fcmp_ordered("==", x, v.const(0.0)), v.const(float("-inf")), value)
    return v.select(b.fcmp_unordered("<", x, v.const(0.0)), v.const(float("nan")), value)


def softplus(v: Vectors, x: ir.Value) -> ir.Value:
    """max(x, 0) + log(1 + exp(-|x|)); in float64, what 1 + e loses of a small e is given back. To 2.71 ulp."""
    b = v.builder
    e = exp(v, b.fneg(absolute(v, x)))
    if v.bits == 32:
        above, below = (polynomial(v, e, series) for series in LOG1P)
        return b.fadd(relu(v, x), b.fsub(e, quotient(v, b.fmul(b.fmul(e, e), above), below)))
    one = b.fadd(v.const(1.0), e)
    lost = b.fsub(e, b.fsub(one, v.const(1.0)))
    return b.fadd(relu(v, x), b.fadd(logarithm(v, one), b.fdiv(lost, one)))


def sin(v: Vectors, x: ir.Value) -> ir.Value:
    """By quarter turns, taken off in float64. To 1.56 ulp for |x| < 2^20; beyond, a number between -1 and 1.

    Where the processor has no float64, for |x| < 2^12.
    """
    return v.select(v.builder.fcmp_ordered("==", x, v.const(0.0)), x, _turn(v, x, 0))  # a zero keeps its sign


def cos(v: Vectors, x: ir.Value) -> ir.Value:
    """As `sin`."""
    return _turn(v, x, 1)


def _turn(v: Vectors, x: ir.Value, ahead: int) -> ir.Value:
    b = v.builder
    wide = Vectors(b, v.target, 64, v.lanes) if v.target.has_float64 else v
    r = x if v.bits == wide.bits else b.fpext(x, wide.type)
    n = Whole(wide, r, 2 / pi)
    for part in QUARTER[wide.bits]:
        r = wide.fma(n.value, wide.const(-part), r)
    quarter = n.integer
    if v.bits < wide.bits:
        r, quarter = b.fptrunc(r, v.type), b.trunc(quarter, v.int_vector)
    r = clamp(v, r, -pi / 4, pi / 4)
    z = b.fmul(r, r)
    sine = v.fma(b.fmul(z, r), polynomial(v, z, SINE[v.bits]), r)
    cosine = v.fma(b.fmul(z, z), polynomial(v, z, COSINE[v.bits]), v.fma(z, v.const(-0.5), v.const(1.0)))
    quarter = b.add(quarter, v.iconst(ahead))
    is_odd = b.icmp_signed("!=", b.and_(quarter, v.iconst(1)), v.iconst(0))
    sign = b.shl(b.and_(quarter, v.iconst(2)), v.iconst(v.bits - 2))
    return v.from_bits(b.xor(v.bits_of(v.select(is_odd, cosine, sine)), sign))


def erf(v: Vectors, x: ir.Value) -> ir.Value:
    """The error function. To 2.47 ulp (4 in float64)."""
    b = v.builder
    size = absolute(v, x)
    far = with_sign(v, v.fma(v.const(-2.0), _tail(v, b.fmul(size, v.const(sqrt(2)))), v.const(1.0)), x)
    return v.select(b.fcmp_ordered("<", size, v.const(NEAR[v.bits])), _erf_near(v, x), far)


def gelu(v: Vectors, x: ir.Value) -> ir.Value:
    """max(x, 0) - |x| Φ(-|x|). To 2.48 ulp (6 in float64).

    (x + |x|) / 2 is that maximum, and makes gelu(-inf) NaN, as in torch.
    """
    size = absolute(v, x)
    positive = v.fma(v.const(0.5), x, v.builder.fmul(v.const(0.5), size))
    return v.builder.fsub(positive, _tail(v, size, weighted=True))


def _erf_near(v: Vectors, x: ir.Value) -> ir.Value:
    z = v.builder.fmul(x, x)
    if v.bits == 32:
        return v.builder.fmul(x, polynomial(v, z, ERF))
    above, below = (polynomial(v, z, series) for series in ERF_NEAR)
    return v.builder.fdiv(v.builder.fmul(x, above), below)


def _tail(v: Vectors, size: ir.Value, weighted: bool = False) -> ir.Value:
    """Φ(-a), or a Φ(-a), for a >= 0; exp magnifies the error of a², which float64 or an exact square avoid."""
    b = v.builder
    if v.bits == 32 and v.target.has_float64:
        wide = Vectors(b, v.target, 64, v.lanes)
        a = b.fpext(at_most(v, size, 14.5), wide.type)
        p, n = _exp(wide, b.fmul(a, b.fmul(a, wide.const(-0.5))), EXP[32])
        above, below = (polynomial(wide, a, series) for series in MILLS)
        above = b.fmul(b.fmul(p, n.power()), b.fmul(a, above) if weighted else above)
        return quotient(v, b.fptrunc(above, v.type), b.fptrunc(below, v.type))
    a = at_most(v, size, {32: 14.5, 64: 39.0}[v.bits])
    high = v.from_bits(b.and_(v.bits_of(a), v.iconst(-(1 << v.precision // 2 + 1))))  # its square is exact
    square = b.fmul(high, b.fmul(high, v.const(-0.5)))
    rest = b.fmul(b.fsub(a, high), b.fmul(b.fadd(a, high), v.const(-0.5)))
    p, n = _exp(v, b.fadd(square, rest), EXP[v.bits], exact=(square, rest))
    value = b.fmul(p, _mills(v, a))
    return n.scale(b.fmul(a, value) if weighted else value)


def _mills(v: Vectors, a: ir.Value) -> ir.Value:
    """exp(a²/2) Φ(-a)."""
    b = v.builder
    if v.bits == 32:
        above, below = (polynomial(v, a, series) for series in MILLS)
        return b.fdiv(above, below)
    y = b.fmul(a, v.const(sqrt(0.5)))
    z = b.fmul(y, y)
    above, below = (polynomial(v, z, series) for series in ERF_NEAR)
    near = b.fmul(b.fsub(v.const(1.0), b.fdiv(b.fmul(y, above), below)), exp(v, at_most(v, z, 1.0)))
    above, below = (polynomial(v, y, series) for series in ERFC_MIDDLE)
    middle = b.fdiv(above, below)
    z = b.fdiv(v.const(1.0), z)
    above, below = (polynomial(v, z, series) for series in ERFC_FAR)
    far = b.fdiv(b.fsub(v.const(1 / sqrt(pi)), b.fmul(z, b.fdiv(above, below))), y)
    value = v.select(b.fcmp_ordered("<=", y, v.const(4.0)), middle, far)
    return b.fmul(v.const(0.5), v.select(b.fcmp_ordered("<", y, v.const(NEAR[64])), near, value))


def floor(v: Vectors, x: ir.Value) -> ir.Value:
    """The largest whole number that is not above x; infinities, NaN and zeros stay as they are."""
    b = v.builder
    if v.target.has_rounding:
        return v.intrinsic("floor", x)
    size, whole_from = absolute(v, x), v.const(2.0 ** (v.precision - 1))  # beyond, there are no fractions
    near = with_sign(v, b.fsub(b.fadd(size, whole_from), whole_from), x)
    lower = v.select(b.fcmp_ordered(">", near, x), b.fsub(near, v.const(1.0)), near)
    return v.select(b.fcmp_unordered(">=", size, whole_from), x, lower)


def power(v: Vectors, x: ir.Value, exponent: int) -> ir.Value:
    """The n-th power of x, by repeated squaring. To |n| - 1 ulp."""
    if exponent < 0:
        return v.builder.fdiv(v.const(1.0), power(v, x, -exponent))
    result, square = v.const(1.0), x
    while exponent:
        if exponent & 1:
            result = v.builder.fmul(result, square)
        square, exponent = v.builder.fmul(square, square), exponent >> 1
    return result


def root(v: Vectors, x: ir.Value) -> ir.Value:
    """The square root, rounded as the processor does."""
    return v.intrinsic("sqrt", x)


def relu(v: Vectors, x: ir.Value) -> ir.Value:
    """max(x, 0); a zero keeps its sign."""
    return v.select(v.builder.fcmp_ordered("<", x, v.const(0.0)), v.const(0.0), x)


def negative(v: Vectors, x: ir.Value) -> ir.Value:
    """-x."""
    return v.builder.fneg(x)


FUNCTIONS: dict[str, Callable[[Vectors, ir.Value], ir.Value]] = {
    "neg": negative,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "exp": exp,
    "log": logarithm,
    "softplus": softplus,
    "gelu": gelu,
    "erf": erf,
    "sin": sin,
    "cos": cos,
    "sqrt": root,
    "abs": absolute,
    "floor": floor,
}
"""The functions of one number."""
