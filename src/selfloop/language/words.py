"""The words a cell is written with: operations by themselves (`sigmoid`), or made of others (`layer_norm`)."""

import math
from collections.abc import Sequence
from types import FunctionType
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from selfloop.errors import CellError
from selfloop.language.graph import Part
from selfloop.language.sizes import Shape, Size, describe

if TYPE_CHECKING:
    from selfloop.language.trace import Trace

Number = int | float
NEEDS_VALUE = "'{}' needs a value of a cell; the words of the language work only inside a function with @cell"


class Symbol:
    """A value of one example while a cell is traced; arithmetic on it writes the Graph."""

    __array_ufunc__ = None  # numpy must not take over `array * symbol`
    __hash__ = object.__hash__

    def __init__(self, trace: "Trace", index: int) -> None:
        self.trace, self.index = trace, index

    @property
    def shape(self) -> Shape:
        """The sizes of this value: none for a scalar, one for a vector, two for a matrix."""
        return self.trace.nodes[self.index].shape

    @property
    def T(self) -> "Symbol":  # noqa: N802, as in NumPy and torch
        """A matrix with rows and columns exchanged."""
        return apply("transpose", self)

    def __add__(self, other: "Symbol | Number") -> "Symbol":
        return apply("add", self, other)

    def __radd__(self, other: Number) -> "Symbol":
        return apply("add", other, self)

    def __sub__(self, other: "Symbol | Number") -> "Symbol":
        return apply("sub", self, other)

    def __rsub__(self, other: Number) -> "Symbol":
        return apply("sub", other, self)

    def __mul__(self, other: "Symbol | Number") -> "Symbol":
        return apply("mul", self, other)

    def __rmul__(self, other: Number) -> "Symbol":
        return apply("mul", other, self)

    def __truediv__(self, other: "Symbol | Number") -> "Symbol":
        return apply("div", self, other)

    def __rtruediv__(self, other: Number) -> "Symbol":
        return apply("div", other, self)

    def __matmul__(self, other: "Symbol") -> "Symbol":
        return apply("matmul", self, other)

    def __mod__(self, other: "Symbol | Number") -> "Symbol":
        return self - floor(self / other) * other

    def __rmod__(self, other: Number) -> "Symbol":
        return other - floor(other / self) * self

    def __neg__(self) -> "Symbol":
        return apply("neg", self)

    def __lt__(self, other: "Symbol | Number") -> "Symbol":
        return apply("lt", self, other)

    def __le__(self, other: "Symbol | Number") -> "Symbol":
        return apply("le", self, other)

    def __gt__(self, other: "Symbol | Number") -> "Symbol":
        return apply("gt", self, other)

    def __ge__(self, other: "Symbol | Number") -> "Symbol":
        return apply("ge", self, other)

    def __eq__(self, other: object) -> NoReturn:
        self.trace.fail("== between values is almost never true of real numbers; compare with < <= > >= inside where")

    def __bool__(self) -> NoReturn:  # noqa: PLE0304
        self.trace.fail(
            "'if', 'while', 'and', 'or' and 'not' cannot look at a value, which is known only when the cell runs; "
            "write where(condition, a, b)"
        )

    def __iter__(self) -> NoReturn:
        self.trace.fail("a value cannot be unpacked or looped over; write split(value, n) for n equal parts")

    def __getitem__(self, key: object) -> NoReturn:
        self.trace.fail("a value cannot be indexed; write split(value, n) for n equal parts")

    def __pow__(self, exponent: int) -> "Symbol":
        return apply("pow", self, value=exponent)

    def __rpow__(self, base: Number) -> NoReturn:
        self.trace.fail(
            f"** takes a whole number as its exponent; write exp(v * {math.log(base) if base > 0 else 'log(base)'})"
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self.trace.fail(f"a value has no '.{name}'; write the words of the language as functions, like sigmoid(x)")


Vector: TypeAlias = Symbol
"""A vector of one example: what annotates the input, the states and most values of a cell."""

Matrix: TypeAlias = Symbol
"""A matrix, as ``param("h x")`` declares one."""

Scalar: TypeAlias = Symbol
"""A number of one example, as ``param("")`` declares one and `mean` returns one."""


class NoValue(CellError):
    """A word was given numbers alone; within a cell, the trace adds the cell and the line."""


def apply(op: str, *args: Symbol | Number, value: Part | float | None = None) -> Symbol:
    """Write one operation into the Graph that is being traced."""
    for argument in args:
        if isinstance(argument, Symbol):
            return argument.trace.add(op, args, value)
    raise NoValue(NEEDS_VALUE.format(op))


def sigmoid(v: Symbol) -> Symbol:
    """The logistic function 1 / (1 + exp(-v)), elementwise."""
    return apply("sigmoid", v)


def tanh(v: Symbol) -> Symbol:
    """The hyperbolic tangent, elementwise."""
    return apply("tanh", v)


def relu(v: Symbol) -> Symbol:
    """The positive part max(v, 0), elementwise."""
    return apply("relu", v)


def exp(v: Symbol) -> Symbol:
    """The exponential, elementwise."""
    return apply("exp", v)


def log(v: Symbol) -> Symbol:
    """The natural logarithm, elementwise."""
    return apply("log", v)


def softplus(v: Symbol) -> Symbol:
    """log(1 + exp(v)), elementwise, without overflow."""
    return apply("softplus", v)


def silu(v: Symbol) -> Symbol:
    """V * sigmoid(v), elementwise (Elfwing et al. 2017)."""
    return v * sigmoid(v)


def gelu(v: Symbol) -> Symbol:
    """V times the standard normal distribution function at v, exact, elementwise (Hendrycks & Gimpel 2016)."""
    return apply("gelu", v)


def erf(v: Symbol) -> Symbol:
    """The error function 2/√π ∫₀ᵛ exp(-t²) dt, elementwise."""
    return apply("erf", v)


def sin(v: Symbol) -> Symbol:
    """The sine, elementwise."""
    return apply("sin", v)


def cos(v: Symbol) -> Symbol:
    """The cosine, elementwise."""
    return apply("cos", v)


def sqrt(v: Symbol) -> Symbol:
    """The square root, elementwise."""
    return apply("sqrt", v)


def abs(v: Symbol) -> Symbol:
    """The absolute value, elementwise."""
    return apply("abs", v)


def floor(v: Symbol) -> Symbol:
    """The largest whole number that is not above v, elementwise; its derivative is 0."""
    return apply("floor", v)


def stop_gradient(v: Symbol) -> Symbol:
    """The value itself, as a constant to the gradient, elementwise."""
    return apply("stop_gradient", v)


def spike(v: Symbol, slope: Number = 25) -> Symbol:
    """1 where v > 0 and else 0, elementwise, with the gradient of a smooth step: 1 / (1 + slope |v|)².

    The surrogate gradient of a spiking neuron whose potential is v above its threshold, as in SuperSpike (Zenke and
    Ganguli 2018). The slope is a number above 0.
    """
    if not isinstance(v, Symbol):
        raise NoValue(NEEDS_VALUE.format("spike"))
    if not isinstance(slope, int | float) or isinstance(slope, bool) or not 0 < slope < math.inf:
        v.trace.fail(f"the slope of spike must be a number above 0; got {slope!r}")
    return apply("spike", v, value=float(slope))


def minimum(a: Symbol | Number, b: Symbol | Number) -> Symbol:
    """The smaller of two values, elementwise."""
    return apply("minimum", a, b)


def maximum(a: Symbol | Number, b: Symbol | Number) -> Symbol:
    """The larger of two values, elementwise."""
    return apply("maximum", a, b)


def clip(v: Symbol, low: Symbol | Number, high: Symbol | Number) -> Symbol:
    """The value kept within [low, high], elementwise, with the derivative of torch.clamp: 1 at the bounds, 0 at NaN."""
    if not isinstance(v, Symbol):
        raise NoValue(NEEDS_VALUE.format("clip"))
    if isinstance(low, Number) and isinstance(high, Number) and not low <= high:
        v.trace.fail(f"clip needs a lower bound that is not above the upper one; got {low!r} and {high!r}")
    return where(v < low, low, where(v > high, high, where(v <= high, v, math.nan)))


def where(condition: Symbol, a: Symbol | Number, b: Symbol | Number) -> Symbol:
    """The first value where the comparison holds, the second elsewhere, elementwise: ``where(x > 0, x, 0.1 * x)``."""
    return apply("where", condition, a, b)


def split(v: Symbol, parts: int | Sequence[str | int | Size]) -> tuple[Symbol, ...]:
    """A vector cut into parts, in order: ``i, f, g, o = split(gates, 4)``, or ``values, gap = split(x, ("d", 1))``.

    Args:
        v: the vector.
        parts: how many equal parts; or the size of each, as of `param`.
    """
    if not isinstance(v, Symbol):
        raise NoValue(NEEDS_VALUE.format("split"))
    sizes = _equal(v, parts) if isinstance(parts, int) and not isinstance(parts, bool) else _sizes(v, parts)
    return tuple(apply("part", v, value=(k, *sizes)) for k in range(len(sizes)))


def _equal(v: Symbol, parts: int) -> list[str]:
    """The sizes of equal parts of a vector."""
    if parts < 1:
        v.trace.fail(f"split needs a whole number of parts, at least 1; got {parts}")
    operand = v.trace.operand(v)
    size = v.shape[0].divided(parts) if len(v.shape) == 1 and not operand.is_condition else None
    if size is None:
        v.trace.fail(
            f"{operand.text} is {operand.kind}, which does not split into {parts} equal parts; of a vector give the "
            'size of each, as in split(v, ("h", "2h"))'
        )
    return [str(size)] * parts


def _sizes(v: Symbol, parts: object) -> list[str]:
    """The sizes of parts, as text."""
    try:
        if isinstance(parts, str | bool) or not isinstance(parts, Sequence) or not parts:
            raise ValueError(f"got {parts!r}")
        return [str(Size.parse(str(part))) for part in parts]
    except ValueError as error:
        v.trace.fail(f'split needs a number of equal parts, or the size of each, as in split(v, ("h", "2h")): {error}')


def concat(*values: Symbol | Number) -> Symbol:
    """Vectors and scalars one after another; a scalar is one element."""
    return apply("concat", *values)


def outer(a: Symbol, b: Symbol) -> Symbol:
    """The outer product a bᵀ: a matrix of a row for each element of a, and a column for each of b.

    What a matrix state learns of a step: ``C = f * C + outer(v, k)``, for ``C=state("h h")``, and ``C @ q`` reads it.
    """
    return apply("outer", a, b)


def sum(v: Symbol) -> Symbol:
    """The sum over the vector: a scalar."""
    return apply("sum", v)


def mean(v: Symbol) -> Symbol:
    """The mean over the vector: a scalar."""
    return apply("mean", v)


def cumsum(v: Symbol) -> Symbol:
    """The sums of the first 1, 2, …, n elements of the vector: a vector of its size.

    ``cumsum(softmax(v))`` is the master gate of ordered-neuron LSTMs (Shen et al. 2019).
    """
    return apply("cumsum", v)


def layer_norm(v: Symbol, eps: float = 1e-5) -> Symbol:
    """The vector less its mean, over its standard deviation (Ba et al. 2016); gain and bias are written beside it."""
    centred = v - mean(v)
    return centred / sqrt(mean(centred * centred) + eps)


def rms_norm(v: Symbol, eps: float = 1e-5) -> Symbol:
    """The vector over its root mean square (Zhang & Sennrich 2019); the gain is written beside it."""
    return v / sqrt(mean(v * v) + eps)


def softmax(v: Symbol) -> Symbol:
    """exp(v) over its sum, without overflow."""
    e = exp(v - apply("amax", v))
    return e / sum(e)


def dropout(v: Symbol, rate: Number) -> Symbol:
    """While training, each element is zero with this probability, drawn at each step, and else 1 / (1 - rate) times.

    Recurrent dropout (Semeniuta et al. 2016). The rate is a number in [0, 1).
    """
    return v * (_drawn(v, 1 - _rate("dropout", v, rate), per_step=True) / (1 - rate))


def variational_dropout(v: Symbol, rate: Number) -> Symbol:
    """As `dropout`, with one draw for the whole sequence (Gal & Ghahramani 2016)."""
    return v * (_drawn(v, 1 - _rate("variational_dropout", v, rate), per_step=False) / (1 - rate))


def zoneout(new: Symbol, old: Symbol, rate: Number) -> Symbol:
    """While training, each element keeps its old value with this probability, drawn at each step (Krueger et al. 2017).

    Otherwise the mean of what would be drawn. The rate is a number in [0, 1).
    """
    stays = _drawn(old, _rate("zoneout", old, rate), per_step=True)
    return stays * old + (1 - stays) * new


def _drawn(v: Symbol, rate: float, per_step: bool) -> Symbol:
    """A random leaf: 1 with the probability `rate`, else 0."""
    if len(v.shape) != 1:
        v.trace.fail(f"what is dropped must be a vector, but is {describe(v.shape)}")
    return v.trace.draw(v.shape, rate, per_step)


def _rate(word: str, v: Symbol, rate: object) -> float:
    if not isinstance(v, Symbol):
        raise NoValue(NEEDS_VALUE.format(word))
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate < 1:
        v.trace.fail(f"the rate of {word} must be a number in [0, 1); got {rate!r}")
    return float(rate)


WORDS = tuple(
    sorted(
        n
        for n, word in globals().items()
        if isinstance(word, FunctionType) and word.__module__ == __name__ and n[0] != "_" and n != "apply"
    )
)
"""The names of the words: all functions above."""
