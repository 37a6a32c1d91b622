"""The operations of a Step, a row each: how the passes may treat them.

The rows of the same operations elsewhere: shape and arity in `selfloop.language.operations`, derivative in
`derivatives`, value in torch in `selfloop.kernels.interpret`, machine code in `selfloop.compiler.cpu.emit.operations`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal

from selfloop.language import operations as language

Category = Literal["leaf", "product", "elementwise", "comparison", "reduction", "scan", "outer", "whole"]


@dataclass(frozen=True)
class Operation:
    """How the passes treat an operation.

    Attributes:
        kind: a `leaf` has no arguments; a `product` is a sum of matrix-vector products; an `elementwise` operation
            takes vectors of one size and scalars; a `comparison` is elementwise too, but its result is true or false
            and can only be an argument of `where`; a `reduction` makes a scalar of a vector; a `scan` makes each
            element of the elements up to it; an `outer` product makes each element of a matrix of one element of each
            of its two vectors; a `whole` operation takes whole vectors and matrices, and has a loop of its own. The
            last two are those of matrices that differ from step to step, and have no derivative here.
        cost: of computing one element, in instructions, roughly. What costs 1 is recomputed wherever it is used.
        combine: for a reduction or scan, the elementwise operation that combines two elements.
        identity: for a reduction or scan, what `combine` leaves unchanged.
        is_reversed: for a scan, whether each element is made of the elements from it on.
    """

    kind: Category
    cost: float
    combine: str = ""
    identity: float = 0.0
    is_reversed: bool = False


def _elementwise(cost: float) -> Operation:
    return Operation("elementwise", cost)


_LEAF = Operation("leaf", 0.0)
_COMPARISON = Operation("comparison", 1.0)

OPERATIONS: dict[str, Operation] = {
    "load": _LEAF,
    "const": _LEAF,
    "zeros": _LEAF,
    "bernoulli": _LEAF,
    "product": Operation("product", inf),
    "add": _elementwise(1.0),
    "sub": _elementwise(1.0),
    "mul": _elementwise(1.0),
    "div": _elementwise(3.0),
    "neg": _elementwise(1.0),
    "abs": _elementwise(1.0),
    "relu": _elementwise(1.0),
    "minimum": _elementwise(1.0),
    "maximum": _elementwise(1.0),
    "where": _elementwise(1.0),
    "broadcast": _elementwise(1.0),
    "stop_gradient": _elementwise(1.0),
    "sqrt": _elementwise(3.0),
    "spike": _elementwise(3.0),
    "floor": _elementwise(4.0),
    "pow": _elementwise(4.0),
    "exp": _elementwise(7.0),
    "sigmoid": _elementwise(8.0),
    "tanh": _elementwise(8.0),
    "log": _elementwise(9.0),
    "sin": _elementwise(20.0),
    "cos": _elementwise(20.0),
    "softplus": _elementwise(20.0),
    "erf": _elementwise(25.0),
    "gelu": _elementwise(30.0),
    "lt": _COMPARISON,
    "le": _COMPARISON,
    "gt": _COMPARISON,
    "ge": _COMPARISON,
    "eq": _COMPARISON,
    "sum": Operation("reduction", inf, combine="add", identity=0.0),
    "amax": Operation("reduction", inf, combine="maximum", identity=-inf),
    "cumsum": Operation("scan", inf, combine="add", identity=0.0),
    "reversed_cumsum": Operation("scan", inf, combine="add", identity=0.0, is_reversed=True),
    "outer": Operation("outer", 1.0),
    "matvec": Operation("whole", inf),
    "transpose": Operation("whole", inf),
    "concat": Operation("whole", inf),
}

OWN_ARITY = {
    "load": 0,
    "const": 0,
    "zeros": 0,
    "bernoulli": 0,
    "product": None,
    "broadcast": 1,
    "eq": 2,
    "reversed_cumsum": 1,
    "matvec": 2,
}
"""The number of arguments of operations that a cell cannot write; that of the others is in the language's table."""


def arity(op: str) -> int | None:
    """The number of arguments of an operation; None where it varies."""
    return OWN_ARITY[op] if op in OWN_ARITY else language.OPERATIONS[op].arity


def _names(is_so: Callable[[Operation], bool]) -> frozenset[str]:
    return frozenset(name for name, operation in OPERATIONS.items() if is_so(operation))


LEAVES = _names(lambda o: o.kind == "leaf")
COMPARISONS = _names(lambda o: o.kind == "comparison")
REDUCTIONS = _names(lambda o: o.kind == "reduction")
SCANS = _names(lambda o: o.kind == "scan")
WHOLE = _names(lambda o: o.kind == "whole")
CHEAP = _names(lambda o: o.cost == 1.0)
"""Operations of about one instruction: recomputing them is never slower than loading their result."""
