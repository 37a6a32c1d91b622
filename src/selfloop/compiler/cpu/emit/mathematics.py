"""Functions of a real number on vectors: straight-line code, without branches, tables or calls.

Each row of `FUNCTIONS` is an operation of the language. NaN gives NaN, infinities give what torch gives; results below
the smallest normal number may be zero. Errors are in units of the last place (ulp) of float32: with two decimals they
are the largest of a sweep over all numbers by benchmarks/ulp.py, elsewhere the bounds that the tests hold them to.
"""

from collections.abc import Callable, Sequence
from math import factorial, log, pi, sqrt

from llvmlite import ir

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

LOG2_E = 1.4426950408889634
LN2 = {32: (0.693359375, -2.12194440054690583e-4), 64: (6.93147180369123816490e-01, 1.90821492927058770002e-10)}
"""ln 2 in two parts, of which the first times a whole number is exact (Cephes; fdlibm)."""
EXP = {
    32: (
        1.3843370580464746e-3,
        8.374397796967185e-3,
        4.166801828905603e-2,
        1.666642847364328e-1,
        4.999999410365264e-1,
        1.000000032731475,
    ),
    64: tuple(1 / factorial(k) for k in range(13, 0, -1)),
}
"""(exp(r) - 1) / r for |r| < ln 2 / 2: the best polynomial, by linear programming; Taylor's series in float64."""


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


TANH = {
    32: (1.310935346407168e-1, -3.3331248356012694e-1),
    64: (
        6404582 / 10854718875,
        -929569 / 638512875,
        21844 / 6081075,
        -1382 / 155925,
        62 / 2835,
        -17 / 315,
        2 / 15,
        -1 / 3,
    ),
}
"""(tanh(r) / r - 1) / r² for |r| < ln 2 / 4, by powers of r²: the best polynomial; Taylor's series in float64."""


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


LOG = {
    32: (2.4279078841e-1, 2.8498786688e-1, 4.0000972152e-1, 6.6666662693e-1),
    64: (
        1.479819860511658591e-01,
        1.531383769920937332e-01,
        1.818357216161805012e-01,
        2.222219843214978396e-01,
        2.857142874366239149e-01,
        3.999999999940941908e-01,
        6.666666666666735130e-01,
    ),
}
"""2 (artanh(s) / s - 1) / s² for |s| < 0.172, by powers of s² (FreeBSD's `logf`; fdlibm's `log`)."""


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


LOG1P = (
    (2.424481894468942e-3, 2.8090842112889297e-1, 4.999975867401057e-1),
    (3.2439901947319566e-1, 1.2283897209682237, 1.0),
)
"""(e - log(1 + e)) / e² for 0 <= e <= 1 in float32: the best rational function, by linear programming."""


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


QUARTER = (1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21)
"""π/2 in three parts, of which the first two times a whole number below 2^20 are exact (fdlibm)."""
SINE = {
    32: (-1.951463277854211e-4, 8.332156061601407e-3, -1.6666654536784786e-1),
    64: (
        1.58969099521155010221e-10,
        -2.50507602534068634195e-08,
        2.75573137070700676789e-06,
        -1.98412698298579493134e-04,
        8.33333333332248946124e-03,
        -1.66666666666666324348e-01,
    ),
}
COSINE = {
    32: (2.443241203414876e-5, -1.388730985684798e-3, 4.1666645554223995e-2),
    64: (
        -1.13596475577881948265e-11,
        2.08757232129817482790e-09,
        -2.75573143513906633035e-07,
        2.48015872894767294178e-05,
        -1.38888888888741095749e-03,
        4.16666666666666019037e-02,
    ),
}
"""(sin(r) / r - 1) / r² and (cos(r) - 1 + r²/2) / r^4 for |r| < π/4: the best polynomials; fdlibm's in float64."""


def sin(v: Vectors, x: ir.Value) -> ir.Value:
    """By quarter turns, taken off in float64. To 1.56 ulp for |x| < 2^20; beyond, a number between -1 and 1."""
    return v.select(v.builder.fcmp_ordered("==", x, v.const(0.0)), x, _turn(v, x, 0))  # a zero keeps its sign


def cos(v: Vectors, x: ir.Value) -> ir.Value:
    """As `sin`."""
    return _turn(v, x, 1)


def _turn(v: Vectors, x: ir.Value, ahead: int) -> ir.Value:
    b = v.builder
    wide = Vectors(b, v.target, 64, v.lanes)
    r = x if v.bits == 64 else b.fpext(x, wide.type)
    n = Whole(wide, r, 2 / pi)
    for part in QUARTER:
        r = wide.fma(n.value, wide.const(-part), r)
    quarter = n.integer
    if v.bits == 32:
        r, quarter = b.fptrunc(r, v.type), b.trunc(quarter, v.int_vector)
    r = clamp(v, r, -pi / 4, pi / 4)
    z = b.fmul(r, r)
    sine = v.fma(b.fmul(z, r), polynomial(v, z, SINE[v.bits]), r)
    cosine = v.fma(b.fmul(z, z), polynomial(v, z, COSINE[v.bits]), v.fma(z, v.const(-0.5), v.const(1.0)))
    quarter = b.add(quarter, v.iconst(ahead))
    is_odd = b.icmp_signed("!=", b.and_(quarter, v.iconst(1)), v.iconst(0))
    sign = b.shl(b.and_(quarter, v.iconst(2)), v.iconst(v.bits - 2))
    return v.from_bits(b.xor(v.bits_of(v.select(is_odd, cosine, sine)), sign))


ERF = (
    -6.535391074334779e-4,
    5.085150784692191e-3,
    -2.682081982410638e-2,
    1.1283111317214e-1,
    -3.761260143115677e-1,
    1.1283791637145697,
)
"""erf(x) / x for |x| < 0.8 in float32, by powers of x²: the best polynomial, by linear programming."""
MILLS = (
    (4.11633135923742e-3, 4.063338240794104e-2, 1.8323560698917646e-1, 4.382955927563705e-1, 5.000000029491694e-1),
    (1.0317992834133016e-2, 1.0185923208462712e-1, 4.6947186580209704e-1, 1.202505105021889, 1.6744761666705346, 1.0),
)
"""exp(a²/2) Φ(-a) for 0 <= a <= 14.5 in float32: the best rational function, by linear programming."""
ERF_NEAR = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e00,
        1.13864154151050156e02,
        3.77485237685302021e02,
        3.20937758913846947e03,
    ),
    (1.0, 2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03, 2.84423683343917062e03),
)
ERFC_MIDDLE = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e0,
        6.61191906371416295e01,
        2.98635138197400131e02,
        8.81952221241769090e02,
        1.71204761263407058e03,
        2.05107837782607147e03,
        1.23033935479799725e03,
    ),
    (
        1.0,
        1.57449261107098347e01,
        1.17693950891312499e02,
        5.37181101862009858e02,
        1.62138957456669019e03,
        3.29079923573345963e03,
        4.36261909014324716e03,
        3.43936767414372164e03,
        1.23033935480374942e03,
    ),
)
ERFC_FAR = (
    (
        1.63153871373020978e-2,
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
    ),
    (
        1.0,
        2.56852019228982242e00,
        1.87295284992346047e00,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)
"""For float64: Cody 1969, "Rational Chebyshev approximations for the error function"."""


def erf(v: Vectors, x: ir.Value) -> ir.Value:
    """The error function. To 2.47 ulp (4 in float64)."""
    b = v.builder
    size = absolute(v, x)
    far = with_sign(v, v.fma(v.const(-2.0), _tail(v, b.fmul(size, v.const(sqrt(2)))), v.const(1.0)), x)
    return v.select(b.fcmp_ordered("<", size, v.const(NEAR[v.bits])), _erf_near(v, x), far)


NEAR = {32: 0.8, 64: 0.46875}
"""Where erf has its own series."""


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
    """Φ(-a), or a Φ(-a), for a >= 0; exp magnifies the error of a², and float32 is too short for it."""
    b = v.builder
    if v.bits == 32:
        wide = Vectors(b, v.target, 64, v.lanes)
        a = b.fpext(at_most(v, size, 14.5), wide.type)
        p, n = _exp(wide, b.fmul(a, b.fmul(a, wide.const(-0.5))), EXP[32])
        above, below = (polynomial(wide, a, series) for series in MILLS)
        above = b.fmul(b.fmul(p, n.power()), b.fmul(a, above) if weighted else above)
        return quotient(v, b.fptrunc(above, v.type), b.fptrunc(below, v.type))
    a = at_most(v, size, 39.0)
    high = v.from_bits(b.and_(v.bits_of(a), v.iconst(-(1 << 27))))  # its square is exact
    square = b.fmul(high, b.fmul(high, v.const(-0.5)))
    rest = b.fmul(b.fsub(a, high), b.fmul(b.fadd(a, high), v.const(-0.5)))
    p, n = _exp(v, b.fadd(square, rest), EXP[64], exact=(square, rest))
    value = b.fmul(p, _mills(v, a))
    return n.scale(b.fmul(a, value) if weighted else value)


def _mills(v: Vectors, a: ir.Value) -> ir.Value:
    """exp(a²/2) Φ(-a) in float64."""
    b = v.builder
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
    size = absolute(v, x)
    whole_from = 2.0 ** (v.precision - 1)  # beyond, there are no fractions
    cut = b.sitofp(b.fptosi(at_most(v, size, whole_from), v.int_vector), v.type)
    cut = with_sign(v, cut, x)
    lower = v.select(b.fcmp_ordered(">", cut, x), b.fsub(cut, v.const(1.0)), cut)
    return v.select(b.fcmp_unordered(">=", size, v.const(whole_from)), x, lower)


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
