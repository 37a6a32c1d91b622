"""Functions of a real number on vectors: straight lines of instructions, without branches, tables or calls.

Each row of `FUNCTIONS` is a word of the language. NaN gives NaN, infinities what torch gives; results below the smallest
normal number may be zero.
"""

from collections.abc import Callable, Sequence
from math import pi, sqrt

from llvmlite import ir

from selfloop.compiler.emit.vectors import Vectors

LOG2_E = 1.4426950408889634
LN2 = {32: (0.693359375, -2.12194440054690583e-4), 64: (6.93147180369123816490e-01, 1.90821492927058770002e-10)}
"""ln 2 in two parts, of which the first times a whole number is exact (Cephes; fdlibm)."""


def exp(v: Vectors, x: ir.Value) -> ir.Value:
    """2^n (1 + r + r² p(r)) with n the nearest whole number to x / ln 2 (Cephes `expf`; Taylor's series in float64)."""
    limit = {32: 104.0, 64: 746.0}[v.bits]
    x = clamp(v, x, -limit, limit)
    n = rint(v, v.builder.fmul(x, v.const(LOG2_E)))
    return scale(v, _exp_of_rest(v, x, n), n)


def _exp_of_rest(v: Vectors, x: ir.Value, n: ir.Value) -> ir.Value:
    r = x
    for part in LN2[v.bits]:
        r = v.fma(n, v.const(-part), r)
    series = {
        32: (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
        64: _inverse_factorials(13, 2),
    }[v.bits]
    p = polynomial(v, r, series)
    return v.fma(p, v.builder.fmul(r, r), v.builder.fadd(r, v.const(1.0)))


def _inverse_factorials(last: int, first: int) -> tuple[float, ...]:
    result, factorial = [], 1.0
    for k in range(1, last + 1):
        factorial *= k
        if k >= first:
            result.append(1 / factorial)
    return tuple(reversed(result))


def sigmoid(v: Vectors, x: ir.Value) -> ir.Value:
    """1 / (1 + exp(-x))."""
    limit = {32: 87.0, 64: 708.0}[v.bits]
    kept = clamp(v, v.builder.fneg(x), -limit, limit)
    n = rint(v, v.builder.fmul(kept, v.const(LOG2_E)))
    value = reciprocal(v, v.builder.fadd(v.const(1.0), scale(v, _exp_of_rest(v, kept, n), n)))
    return v.select(v.builder.fcmp_ordered("<", x, v.const(-limit)), v.const(0.0), value)


TANH = (
    (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08)
    + (1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
)
"""A rational function for |x| < 9, from the library Eigen."""


def tanh(v: Vectors, x: ir.Value) -> ir.Value:
    """x P(x²) / Q(x²) in float32; in float64 by exp, and near 0, where that cancels, by its own series."""
    if v.bits == 32:
        x = clamp(v, x, -9.0, 9.0)
        square = v.builder.fmul(x, x)
        above, below = (polynomial(v, square, series) for series in TANH)
        return v.builder.fmul(v.builder.fmul(x, above), reciprocal(v, below))
    b = v.builder
    size = absolute(v, x)
    doubled = b.fmul(v.const(-2.0), size)
    e = exp(v, doubled)
    far = b.fdiv(b.fsub(v.const(1.0), e), b.fadd(v.const(1.0), e))
    r = clamp(v, doubled, -1.0, 1.0)
    less = b.fmul(r, polynomial(v, r, _inverse_factorials(19, 1)))  # exp(r) - 1
    near = b.fneg(b.fdiv(less, b.fadd(less, v.const(2.0))))
    return with_sign(v, v.select(b.fcmp_ordered("<", size, v.const(0.5)), near, far), x)


def log(v: Vectors, x: ir.Value) -> ir.Value:
    """n ln 2 + 2 artanh((m - 1) / (m + 1)), with x = 2^n m and m near 1 (fdlibm `log`)."""
    b = v.builder
    fraction = {32: 23, 64: 52}[v.bits]
    tiny = {32: 2.0**-126, 64: 2.0**-1022}[v.bits]
    is_small = b.fcmp_ordered("<", x, v.const(tiny))
    lifted = v.select(is_small, b.fmul(x, v.const(2.0**fraction)), x)
    whole = v.to_integers(lifted)
    root = v.to_integers(v.const(sqrt(0.5)))
    shifted = b.sub(whole, root)
    n = b.ashr(shifted, v.iconst(fraction))
    m = v.to_floats(b.sub(whole, b.shl(n, v.iconst(fraction))))
    n_float = b.sitofp(n, v.type)
    n_float = v.select(is_small, b.fsub(n_float, v.const(float(fraction))), n_float)
    f = b.fsub(m, v.const(1.0))
    s = b.fdiv(f, b.fadd(m, v.const(1.0)))
    z = b.fmul(s, s)
    series = (1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01, 2.222219843214978396e-01)
    series += (2.857142874366239149e-01, 3.999999999940941908e-01, 6.666666666666735130e-01)
    rest = b.fmul(z, polynomial(v, z, series))
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
    """max(x, 0) + log(1 + exp(-|x|)); what 1 + e loses of a small e is given back."""
    b = v.builder
    e = exp(v, b.fneg(absolute(v, x)))
    one = b.fadd(v.const(1.0), e)
    lost = b.fsub(e, b.fsub(one, v.const(1.0)))
    return b.fadd(relu(v, x), b.fadd(log(v, one), b.fdiv(lost, one)))


QUARTER = {
    32: (1.5703125, 4.837512969970703125e-4, 7.54978995489188216e-8),
    64: (1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21),
}
"""π/2 in three parts (Cephes; fdlibm)."""
SINE = (1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06)
SINE += (-1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01)
COSINE = (-1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07)
COSINE += (2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02)
"""The polynomials of fdlibm's kernels."""


def sin(v: Vectors, x: ir.Value) -> ir.Value:
    """By quarter turns; right to a few ulp for |x| up to about 10,000 in float32 and 10⁶ in float64."""
    return _turn(v, x, 0)


def cos(v: Vectors, x: ir.Value) -> ir.Value:
    """As `sin`."""
    return _turn(v, x, 1)


def _turn(v: Vectors, x: ir.Value, ahead: int) -> ir.Value:
    b = v.builder
    n = rint(v, b.fmul(x, v.const(2 / pi)))
    r = x
    for part in QUARTER[v.bits]:
        r = v.fma(n, v.const(-part), r)
    z = b.fmul(r, r)
    sine = v.fma(b.fmul(z, r), polynomial(v, z, SINE), r)
    cosine = v.fma(b.fmul(z, z), polynomial(v, z, COSINE), v.fma(z, v.const(-0.5), v.const(1.0)))
    quarter = b.add(b.fptosi(clamp(v, n, -(2.0**30), 2.0**30), v.integers), v.iconst(ahead))
    is_odd = b.icmp_signed("!=", b.and_(quarter, v.iconst(1)), v.iconst(0))
    value = v.select(is_odd, cosine, sine)
    is_back = b.icmp_signed("!=", b.and_(quarter, v.iconst(2)), v.iconst(0))
    return v.select(is_back, b.fneg(value), value)


_ERF_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560e00, 1.13864154151050156e02, 3.77485237685302021e02)
    + (3.20937758913846947e03,),
    (1.0, 2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03, 2.84423683343917062e03),
)
_ERFC_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e01)
    + (2.98635138197400131e02, 8.81952221241769090e02, 1.71204761263407058e03, 2.05107837782607147e03)
    + (1.23033935479799725e03,),
    (1.0, 1.57449261107098347e01, 1.17693950891312499e02, 5.37181101862009858e02, 1.62138957456669019e03)
    + (3.29079923573345963e03, 4.36261909014324716e03, 3.43936767414372164e03, 1.23033935480374942e03),
)
_ERFC_FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1)
    + (1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e00, 1.87295284992346047e00, 5.27905102951428412e-1, 6.05183413124413191e-2)
    + (2.33520497626869185e-3,),
)
"""Rational functions of Cody 1969, "Rational Chebyshev approximations for the error function"."""


def erf(v: Vectors, x: ir.Value) -> ir.Value:
    """The error function."""
    b = v.builder
    size = absolute(v, x)
    near, tail = _erf_near(v, x), _erfc_of_size(v, size)
    far = with_sign(v, b.fsub(v.const(1.0), tail), x)
    return v.select(b.fcmp_ordered("<=", size, v.const(0.46875)), near, far)


def gelu(v: Vectors, x: ir.Value) -> ir.Value:
    """x Φ(x), by the tail of erf where x is negative."""
    b = v.builder
    scaled = b.fmul(x, v.const(sqrt(0.5)))
    size = absolute(v, scaled)
    tail = _erfc_of_size(v, size)
    both = v.select(b.fcmp_ordered("<", x, v.const(0.0)), tail, b.fsub(v.const(2.0), tail))
    both = v.select(
        b.fcmp_ordered("<=", size, v.const(0.46875)), b.fadd(v.const(1.0), _erf_near(v, scaled)), both
    )
    value = b.fmul(b.fmul(v.const(0.5), x), both)
    return v.select(b.fcmp_ordered("==", x, v.const(float("-inf"))), v.const(-0.0), value)


def _erf_near(v: Vectors, x: ir.Value) -> ir.Value:
    z = v.builder.fmul(x, x)
    above, below = (polynomial(v, z, series) for series in _ERF_NEAR)
    return v.builder.fdiv(v.builder.fmul(x, above), below)


def _erfc_of_size(v: Vectors, size: ir.Value) -> ir.Value:
    b = v.builder
    y = clamp(v, size, 0.0, 27.0)
    above, below = (polynomial(v, y, series) for series in _ERFC_MIDDLE)
    middle = b.fdiv(above, below)
    z = b.fdiv(v.const(1.0), b.fmul(y, y))
    above, below = (polynomial(v, z, series) for series in _ERFC_FAR)
    far = b.fdiv(b.fsub(v.const(1 / sqrt(pi)), b.fmul(z, b.fdiv(above, below))), y)
    value = v.select(b.fcmp_ordered("<=", y, v.const(4.0)), middle, far)
    square = b.fmul(y, y)
    lost = v.fma(y, y, b.fneg(square))  # of y², by which exp would be wrong
    e = exp(v, b.fneg(square))
    return b.fmul(b.fsub(e, b.fmul(e, lost)), value)


def root(v: Vectors, x: ir.Value) -> ir.Value:
    """The square root, rounded as the processor does."""
    return v.intrinsic("sqrt", x)


def absolute(v: Vectors, x: ir.Value) -> ir.Value:
    """|x|."""
    return v.intrinsic("fabs", x)


def relu(v: Vectors, x: ir.Value) -> ir.Value:
    """max(x, 0)."""
    return v.select(v.builder.fcmp_ordered("<=", x, v.const(0.0)), v.const(0.0), x)


def negative(v: Vectors, x: ir.Value) -> ir.Value:
    """-x."""
    return v.builder.fneg(x)


FUNCTIONS: dict[str, Callable[[Vectors, ir.Value], ir.Value]] = {
    "neg": negative,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "exp": exp,
    "log": log,
    "softplus": softplus,
    "gelu": gelu,
    "sin": sin,
    "cos": cos,
    "sqrt": root,
    "abs": absolute,
}
"""The functions of the language."""

# What they are made of.


def polynomial(v: Vectors, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    """By Horner's rule, the highest power first."""
    value = v.const(coefficients[0])
    for c in coefficients[1:]:
        value = v.fma(value, x, v.const(c))
    return value


def clamp(v: Vectors, x: ir.Value, low: float, high: float) -> ir.Value:
    """The number kept within bounds; NaN stays."""
    x = v.select(v.builder.fcmp_ordered("<", x, v.const(low)), v.const(low), x)
    return v.select(v.builder.fcmp_ordered(">", x, v.const(high)), v.const(high), x)


def rint(v: Vectors, x: ir.Value) -> ir.Value:
    """The nearest whole number, for |x| < 2^22 (2^51 in float64) where the processor has no instruction for it."""
    if v.target.rounds:
        return v.intrinsic("rint", x)
    magic = v.const({32: 1.5 * 2.0**23, 64: 1.5 * 2.0**52}[v.bits])
    return v.builder.fsub(v.builder.fadd(x, magic), magic)


def scale(v: Vectors, x: ir.Value, n: ir.Value) -> ir.Value:
    """X · 2^n for a whole n, to infinity and to denormals."""
    name = v.target.intrinsics.get(f"scale{v.bits}")
    if name is not None:
        everywhere = ir.Constant(ir.IntType(v.lanes), -1)
        return v.call(name, v.type, [x, n, x, everywhere, ir.IntType(32)(4)])
    b = v.builder
    fraction, bias = {32: (23, 127), 64: (52, 1023)}[v.bits]
    whole = b.fptosi(v.select(b.fcmp_unordered("uno", n, n), v.const(0.0), n), v.integers)
    half = b.ashr(whole, v.iconst(1))
    for part in (half, b.sub(whole, half)):
        x = b.fmul(x, v.to_floats(b.shl(b.add(part, v.iconst(bias)), v.iconst(fraction))))
    return x


def reciprocal(v: Vectors, x: ir.Value) -> ir.Value:
    """1 / x for a finite x whose reciprocal is no denormal: an estimate, and as many of Newton's steps as it needs."""
    name, good = v.target.intrinsics.get(f"reciprocal{v.bits}"), {"avx512": 14}.get(v.target.name, 11.5)
    if name is None or "fma" not in v.target.needs:
        return v.builder.fdiv(v.const(1.0), x)
    arguments = [x] if v.target.name != "avx512" else [x, x, ir.Constant(ir.IntType(v.lanes), -1)]
    y = v.call(name, v.type, arguments)
    while good < v.precision:
        error = v.fma(v.builder.fneg(x), y, v.const(1.0))
        y = v.fma(y, error, y)
        good *= 2
    return y


def with_sign(v: Vectors, size: ir.Value, sign: ir.Value) -> ir.Value:
    """A number that is not negative with the sign of another."""
    return v.intrinsic("copysign", size, sign)

