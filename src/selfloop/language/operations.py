"""The operations of a Graph, a row each: how many arguments they take, and the shape of their result.

The rows of the same operations elsewhere: value in torch in `selfloop.kernels.interpret`, cost and kind in
`selfloop.compiler.lower.operations`, derivative in `selfloop.compiler.lower.derivatives`, machine code in
`selfloop.compiler.cpu.emit.operations`, operators of ONNX in `selfloop.exporting.onnx.operations`. A test names the
table that lacks a row.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from selfloop.language.graph import COMPARISONS, Part
from selfloop.language.sizes import Shape, Size, describe


class Misfit(Exception):
    """Shapes that an operation cannot take; the trace adds the cell and the line."""


@dataclass(frozen=True)
class Operand:
    """What a shape rule sees of an argument; constant is what parameters and numbers alone make."""

    text: str
    shape: Shape
    is_condition: bool
    is_constant: bool = False

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return "a comparison" if self.is_condition else describe(self.shape)


ShapeRule = Callable[..., Shape]


@dataclass(frozen=True)
class Operation:
    """An operation of the language.

    Attributes:
        arity: the number of arguments; None where it varies.
        shape: the shape of the result from the arguments and the operation's value, if it has one. It raises Misfit.
    """

    arity: int | None
    shape: ShapeRule


def _elementwise(*operands: Operand) -> Shape:
    for operand in operands:
        if operand.is_condition:
            raise Misfit(f"{operand.text} is a comparison, which can only be the condition of where")
    matrices = [operand for operand in operands if len(operand.shape) == 2]
    if matrices:
        return _of_matrices(matrices[0], *operands)
    vectors = [operand for operand in operands if operand.shape]
    for other in vectors[1:]:
        if other.shape != vectors[0].shape:
            raise Misfit(
                f"elementwise operations need vectors of one size, but {vectors[0].text} is "
                f"{describe(vectors[0].shape)} and {other.text} is {describe(other.shape)}"
            )
    return vectors[0].shape if vectors else ()


def _of_matrices(first: Operand, *operands: Operand) -> Shape:
    """Of matrices and scalars. Those of parameters alone are made once a call, so of nothing that a step changes."""
    is_made_once = all(other.is_constant for other in operands if other.shape)
    for other in operands:
        if other.shape not in (first.shape, ()):
            raise Misfit(
                f"{first.text} is {describe(first.shape)}, which meets matrices of its size and scalars in elementwise "
                f"operations, but {other.text} is {other.kind}; a vector stands to its right, after @"
            )
        if is_made_once and not other.is_constant:
            raise Misfit(
                f"{first.text} is a matrix, whose elementwise operations are made once for all steps, and {other.text} "
                f"differs from step to step; scale what it makes, as in {other.text} * ({first.text} @ v)"
            )
    return first.shape


def _block_diagonal(blocks: Operand, value: Part) -> Shape:
    """The matrix of a parameter that holds its blocks; `cell` has checked the shape."""
    rows, width = blocks.shape
    ((name, count),) = width.terms
    return rows, Size.of({name.removesuffix(f"/{value[1]}"): count})


def _turned(matrix: Operand) -> Shape:
    if len(matrix.shape) != 2:
        raise Misfit(f".T needs a matrix, but {matrix.text} is {matrix.kind}")
    return matrix.shape[::-1]


def _power(base: Operand, exponent: object) -> Shape:
    if not isinstance(exponent, int) or isinstance(exponent, bool):
        got = exponent if isinstance(exponent, float) else "a value of the cell"
        raise Misfit(f"** takes a whole number as its exponent; got {got}; write sqrt(v) or exp(p * log(v))")
    return _elementwise(base)


def _spike(potential: Operand, slope: float) -> Shape:
    del slope
    return _elementwise(potential)


def _outer(*operands: Operand) -> Shape:
    for operand in operands:
        if len(operand.shape) != 1 or operand.is_condition:
            raise Misfit(f"outer needs two vectors, but {operand.text} is {operand.kind}")
    return tuple(operand.shape[0] for operand in operands)


def _product(matrix: Operand, vector: Operand) -> Shape:
    if len(matrix.shape) != 2:
        raise Misfit(f"@ needs a matrix on its left, but {matrix.text} is {describe(matrix.shape)}")
    rows, columns = matrix.shape
    if vector.shape != (columns,) or vector.is_condition:
        raise Misfit(
            f"{matrix.text} is {describe(matrix.shape)}, so @ needs a vector of size {columns} on its right, "
            f"but {vector.text} is {vector.kind}"
        )
    return (rows,)


def _choice(condition: Operand, *values: Operand) -> Shape:
    if not condition.is_condition:
        raise Misfit(f"where needs a comparison as its condition, like x > 0, but {condition.text} is none")
    as_value = replace(condition, is_condition=False)
    return _elementwise(as_value, *values)


def _reduction(vector: Operand) -> Shape:
    _size(vector)
    return ()


def _scan(vector: Operand) -> Shape:
    return (_size(vector),)


def _join(*operands: Operand) -> Shape:
    return (Size.total(Size.parse("1") if o.shape == () and not o.is_condition else _size(o) for o in operands),)


def _part(vector: Operand, which: Part) -> Shape:
    size, parts = _size(vector), [Size.parse(str(part)) for part in which[1:]]
    if Size.total(parts) != size:
        raise Misfit(
            f"{vector.text} is {describe(vector.shape)}, and the parts to split it into make {Size.total(parts)}"
        )
    return (parts[int(which[0])],)


def _size(operand: Operand) -> Size:
    if len(operand.shape) != 1 or operand.is_condition:
        raise Misfit(f"a vector is needed, but {operand.text} is {operand.kind}")
    return operand.shape[0]


_UNARY = Operation(1, _elementwise)
_BINARY = Operation(2, _elementwise)
_REDUCTION = Operation(1, _reduction)

OPERATIONS: dict[str, Operation] = {
    "neg": _UNARY,
    "add": _BINARY,
    "sub": _BINARY,
    "mul": _BINARY,
    "div": _BINARY,
    "pow": Operation(1, _power),
    "matmul": Operation(2, _product),
    **dict.fromkeys(COMPARISONS, _BINARY),
    "where": Operation(3, _choice),
    "sigmoid": _UNARY,
    "tanh": _UNARY,
    "relu": _UNARY,
    "exp": _UNARY,
    "log": _UNARY,
    "softplus": _UNARY,
    "gelu": _UNARY,
    "erf": _UNARY,
    "sin": _UNARY,
    "cos": _UNARY,
    "sqrt": _UNARY,
    "abs": _UNARY,
    "floor": _UNARY,
    "stop_gradient": _UNARY,
    "spike": Operation(1, _spike),
    "minimum": _BINARY,
    "maximum": _BINARY,
    "sum": _REDUCTION,
    "mean": _REDUCTION,
    "amax": _REDUCTION,
    "cumsum": Operation(1, _scan),
    "concat": Operation(None, _join),
    "part": Operation(1, _part),
    "block_diagonal": Operation(1, _block_diagonal),
    "outer": Operation(2, _outer),
    "transpose": Operation(1, _turned),
}
"""Leaves have no row: their shape is declared, or that of what a random leaf is drawn for."""

OF_MATRICES = frozenset({"block_diagonal", "outer", "transpose"})
"""Operations that only matrices have, so that no compiled kernel has them: see `Graph.per_step`."""
