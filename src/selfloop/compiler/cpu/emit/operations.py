"""The operations of a step on vectors: a row each."""

from collections.abc import Callable

from llvmlite import ir

from selfloop.compiler.cpu.emit.mathematics import FUNCTIONS, power
from selfloop.compiler.cpu.emit.vectors import Vectors

Operation = Callable[..., ir.Value]


def _compare(symbol: str) -> Operation:
    """Ordered, as torch's: false where either is NaN."""
    return lambda v, a, b: v.builder.fcmp_ordered(symbol, a, b)


def _closer(symbol: str) -> Operation:
    """The smaller or larger; NaN where either is NaN, as torch has it."""

    def operation(v: Vectors, a: ir.Value, b: ir.Value) -> ir.Value:
        taken = v.select(v.builder.fcmp_ordered(symbol, a, b), a, b)
        return v.select(v.builder.fcmp_unordered("uno", a, a), a, taken)

    return operation


def _spike(v: Vectors, a: ir.Value, slope: float) -> ir.Value:
    """1 above zero and else 0; NaN of NaN. The slope is the gradient's."""
    del slope
    step = v.select(v.builder.fcmp_ordered(">", a, v.const(0.0)), v.const(1.0), v.const(0.0))
    return v.select(v.builder.fcmp_unordered("uno", a, a), a, step)


OPERATIONS: dict[str, Operation] = {
    **FUNCTIONS,
    "const": lambda v, number: v.const(number),
    "zeros": lambda v: v.const(0.0),
    "broadcast": lambda v, a: a,
    "stop_gradient": lambda v, a: a,
    "spike": _spike,
    "add": lambda v, a, b: v.builder.fadd(a, b),
    "sub": lambda v, a, b: v.builder.fsub(a, b),
    "mul": lambda v, a, b: v.builder.fmul(a, b),
    "div": lambda v, a, b: v.builder.fdiv(a, b),
    "pow": power,
    "lt": _compare("<"),
    "le": _compare("<="),
    "gt": _compare(">"),
    "ge": _compare(">="),
    "eq": _compare("=="),
    "minimum": _closer("<"),
    "maximum": _closer(">"),
    "where": lambda v, condition, a, b: v.select(condition, a, b),
}
