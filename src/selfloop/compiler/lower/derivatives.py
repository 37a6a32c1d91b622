"""The derivative of each operation, a row each: the vector-Jacobian product that reverse-mode differentiation needs.

`d` is the cotangent of the result, the gradient of the loss with respect to it. A rule writes, for each argument, the
cotangent that reaches it through this operation.
"""

import math
from collections.abc import Callable

from selfloop.compiler.lower.step import Attribute, Builder


class Context:
    """Writes the values of a rule: ``m("mul", d, 0.5)``. Numbers become constants.

    Attributes:
        builder: where the values go.
        attribute: the attribute of the operation, as the exponent of a `pow`.
    """

    def __init__(self, builder: Builder, attribute: Attribute = None) -> None:
        self.builder, self.attribute = builder, attribute

    def __call__(self, op: str, *args: int | float) -> int:
        """An elementwise operation."""
        return self.builder.apply(op, *(self.builder.const(a) if isinstance(a, float) else a for a in args))


Rule = Callable[[Context, int, int, tuple[int, ...]], tuple[int | None, ...]]


def _sigmoid(m: Context, d: int, y: int, _: tuple[int, ...]) -> tuple[int]:
    return (m("mul", d, m("mul", y, m("sub", 1.0, y))),)


def _tanh(m: Context, d: int, y: int, _: tuple[int, ...]) -> tuple[int]:
    return (m("mul", d, m("sub", 1.0, m("mul", y, y))),)


def _gelu(m: Context, d: int, y: int, args: tuple[int, ...]) -> tuple[int]:
    (x,) = args
    below = m("mul", 0.5, m("add", 1.0, m("erf", m("mul", x, math.sqrt(0.5)))))
    density = m("mul", 1 / math.sqrt(2 * math.pi), m("exp", m("mul", -0.5, m("mul", x, x))))
    return (m("mul", d, m("add", below, m("mul", x, density))),)


def _pow(m: Context, d: int, y: int, args: tuple[int, ...]) -> tuple[int | None]:
    (x,), exponent = args, m.attribute
    assert isinstance(exponent, int)
    if exponent == 0:
        return (None,)
    if exponent == 1:
        return (d,)
    below = x if exponent == 2 else m.builder.apply("pow", x, attribute=exponent - 1)
    return (m("mul", d, m("mul", float(exponent), below)),)


def _spike(m: Context, d: int, y: int, args: tuple[int, ...]) -> tuple[int]:
    (x,), slope = args, m.attribute
    assert isinstance(slope, float)
    width = m("add", 1.0, m("mul", slope, m("abs", x)))
    return (m("div", d, m("mul", width, width)),)


def _erf(m: Context, d: int, y: int, args: tuple[int, ...]) -> tuple[int]:
    (x,) = args
    return (m("mul", d, m("mul", 2 / math.sqrt(math.pi), m("exp", m("neg", m("mul", x, x))))),)


def _abs(m: Context, d: int, y: int, args: tuple[int, ...]) -> tuple[int]:
    """The sign times d, so that an infinite d gives NaN at zero, as in torch."""
    (x,) = args
    sign = m("where", m("gt", x, 0.0), 1.0, m("where", m("lt", x, 0.0), -1.0, 0.0))
    return (m("mul", d, sign),)


def _extreme(further: str) -> Rule:
    """Zero for the argument that is not taken, half each for equals, all of it for both beside a NaN, as in torch."""

    def rule(m: Context, d: int, y: int, args: tuple[int, ...]) -> tuple[int, int]:
        a, b = args
        shared = m("where", m("eq", a, b), m("mul", 0.5, d), d)
        return tuple(m("where", m(further, p, q), 0.0, shared) for p, q in ((a, b), (b, a)))  # type: ignore[return-value]

    return rule


def _amax(m: Context, d: int, y: int, args: tuple[int, ...]) -> tuple[int]:
    """Shared evenly by all elements that equal the maximum."""
    (v,) = args
    taken = m("where", m("eq", v, y), 1.0, 0.0)
    return (m("mul", taken, m("div", d, m.builder.reduce("sum", taken))),)


def _where(m: Context, d: int, y: int, args: tuple[int, ...]) -> tuple[None, int, int]:
    return None, m("where", args[0], d, 0.0), m("where", args[0], 0.0, d)


DERIVATIVES: dict[str, Rule] = {
    "neg": lambda m, d, y, a: (m("neg", d),),
    "add": lambda m, d, y, a: (d, d),
    "sub": lambda m, d, y, a: (d, m("neg", d)),
    "mul": lambda m, d, y, a: (m("mul", d, a[1]), m("mul", d, a[0])),
    "div": lambda m, d, y, a: (m("div", d, a[1]), m("neg", m("mul", d, m("div", y, a[1])))),
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "relu": lambda m, d, y, a: (m("where", m("le", y, 0.0), 0.0, d),),
    "exp": lambda m, d, y, a: (m("mul", d, y),),
    "log": lambda m, d, y, a: (m("div", d, a[0]),),
    "softplus": lambda m, d, y, a: (m("mul", d, m("sigmoid", a[0])),),
    "pow": _pow,
    "gelu": _gelu,
    "erf": _erf,
    "sin": lambda m, d, y, a: (m("mul", d, m("cos", a[0])),),
    "cos": lambda m, d, y, a: (m("neg", m("mul", d, m("sin", a[0]))),),
    "sqrt": lambda m, d, y, a: (m("div", m("mul", 0.5, d), y),),
    "abs": _abs,
    "floor": lambda m, d, y, a: (None,),
    "broadcast": lambda m, d, y, a: (d,),
    "stop_gradient": lambda m, d, y, a: (None,),
    "spike": _spike,
    "minimum": _extreme("gt"),
    "maximum": _extreme("lt"),
    "where": _where,
    "sum": lambda m, d, y, a: (d,),
    "amax": _amax,
    "cumsum": lambda m, d, y, a: (m.builder.scan("reversed_cumsum", d),),
}
"""For each operation, the rule (context, d, y, arguments) -> the cotangent of each argument; None where it is zero. `y`
is the result. Products are differentiated in `differentiate`; comparisons have no derivative."""
