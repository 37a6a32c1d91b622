"""The operations of a step as C expressions of float: a row each."""

from collections.abc import Callable

from selfloop.compiler.native.c_mathematics import FUNCTIONS

Expression = Callable[..., str]


def _infix(symbol: str) -> Expression:
    return lambda a, b: f"{a} {symbol} {b}"


def _closer(symbol: str) -> Expression:
    """The smaller or larger; NaN where either is NaN."""
    return lambda a, b: f"{a} != {a} || {a} {symbol} {b} ? {a} : {b}"


def _power(a: str, exponent: float) -> str:
    """By repeated multiplication."""
    n = int(exponent)
    product = " * ".join([a] * abs(n)) or "1.0f"
    return f"1.0f / ({product})" if n < 0 else product


def _function(name: str) -> Expression:
    return lambda *given: f"sl_{name}({', '.join(given)})"


COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "=="}

OPERATIONS: dict[str, Expression] = {
    **{name: _function(name) for name in FUNCTIONS},
    **{name: _infix(symbol) for name, symbol in COMPARISONS.items()},
    "zeros": lambda: "0.0f",
    "broadcast": lambda a: a,
    "stop_gradient": lambda a: a,
    "spike": lambda a, slope: f"{a} != {a} ? {a} : {a} > 0.0f ? 1.0f : 0.0f",
    "add": _infix("+"),
    "sub": _infix("-"),
    "mul": _infix("*"),
    "div": _infix("/"),
    "pow": _power,
    "minimum": _closer("<"),
    "maximum": _closer(">"),
    "where": lambda condition, a, b: f"{condition} ? {a} : {b}",
}

WHOLE: dict[str, str] = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "rem": "%",
    "xor": "^",
    "and": "&",
    "shl": "<<",
    "shr": ">>",
    **COMPARISONS,
}
"""Of whole numbers."""
