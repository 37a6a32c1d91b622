"""The operations of a Graph as operators of ONNX, a row each."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx_ir as ir
from numpy.typing import DTypeLike

from selfloop.exporting.onnx.writer import Writer
from selfloop.language.graph import LEAVES, Graph, Node


@dataclass(frozen=True)
class Operand:
    """The value of a node.

    Attributes:
        value: in ONNX.
        dims: how many of its last dimensions are those of the vector or matrix; 1 of a scalar that was reduced, else 0.
        lead: how many stand before them: time and batch, batch, or none for what is the same in all rows.
        blocks: of block-diagonal matrices, of which `value` has the blocks alone, how many are stacked, and how many
            blocks each has.
    """

    value: ir.Value
    dims: int
    lead: int
    blocks: tuple[int, int] | None = None


@dataclass(frozen=True)
class Written:
    """What a row is given.

    Attributes:
        w: where it writes.
        node: the operation.
        args: its arguments.
        sizes: the number of each named size.
        dtype: of all numbers.
    """

    w: Writer
    node: Node
    args: Sequence[Operand]
    sizes: Mapping[str, int]
    dtype: DTypeLike

    @property
    def values(self) -> list[ir.Value]:
        """The arguments in ONNX."""
        return [a.value for a in self.args]

    def number(self, value: float) -> ir.Value:
        """A constant beside the arguments."""
        return self.w.constant(value, self.dtype)

    @property
    def rows(self) -> int:
        """The size of the result."""
        return self.node.shape[0].value(self.sizes)


Row = Callable[[Written], ir.Value]


def _elementwise(kind: str) -> Row:
    return lambda o: o.w.op(kind, *o.values)


def _reduction(kind: str) -> Row:
    return lambda o: o.w.op(kind, *o.values, o.w.constant([-1]), keepdims=1)


def _pow(o: Written) -> ir.Value:
    return o.w.op("Pow", *o.values, o.number(cast(float, o.node.value)))


def _gelu(o: Written) -> ir.Value:
    (v,) = o.values
    erf = o.w.op("Erf", o.w.op("Mul", v, o.number(math.sqrt(0.5))))
    return o.w.op("Mul", o.w.op("Mul", v, o.number(0.5)), o.w.op("Add", erf, o.number(1)))


def _spike(o: Written) -> ir.Value:
    (v,) = o.values
    step = o.w.op("Where", o.w.op("Greater", v, o.number(0)), o.number(1), o.number(0))
    return o.w.op("Where", o.w.op("IsNaN", v), v, step)


def _concat(o: Written) -> ir.Value:
    lead = max(a.lead for a in o.args)
    like = next(a for a in o.args if a.lead == lead)
    batch = o.w.op("Shape", like.value, start=0, end=lead) if lead else None
    vectors = []
    for a in o.args:
        value = a.value if a.dims else o.w.op("Reshape", a.value, o.w.constant([1]))
        if a.lead < lead:
            value = o.w.op("Expand", value, o.w.op("Concat", batch, o.w.constant([1]), axis=0))
        vectors.append(value)
    return o.w.op("Concat", *vectors, axis=-1) if len(vectors) > 1 else vectors[0]


def _part(o: Written) -> ir.Value:
    which, parts = o.node.part
    if len(parts) == 1:
        return o.values[0]
    sizes = o.w.constant([size.value(o.sizes) for size in parts])
    return o.w.op("Split", *o.values, sizes, axis=-1, outputs=len(parts))[which]


def _matmul(o: Written) -> ir.Value:
    matrix, vector = o.args
    if matrix.blocks:
        return _product_of_blocks(o, matrix.value, vector, *matrix.blocks)
    if matrix.lead:
        column = o.w.op("Unsqueeze", vector.value, o.w.constant([-1]))
        return o.w.op("Squeeze", o.w.op("MatMul", matrix.value, column), o.w.constant([-1]))
    return o.w.op("MatMul", vector.value, o.w.op("Transpose", matrix.value, perm=[1, 0]))


def _product_of_blocks(o: Written, weight: ir.Value, vector: Operand, stacked: int, heads: int) -> ir.Value:
    rows, width = weight.shape
    keep = [0] * vector.lead  # 0 leaves a dimension as it is
    apart = o.w.op("Reshape", weight, o.w.constant([stacked, heads, rows // stacked // heads, width]))
    columns = o.w.op("Reshape", vector.value, o.w.constant([*keep, 1, heads, 1, width]))
    made = o.w.op("MatMul", columns, o.w.op("Transpose", apart, perm=[0, 1, 3, 2]))
    return o.w.op("Reshape", made, o.w.constant([*keep, rows]))


def _outer(o: Written) -> ir.Value:
    a, b = o.values
    return o.w.op("Mul", o.w.op("Unsqueeze", a, o.w.constant([-1])), o.w.op("Unsqueeze", b, o.w.constant([-2])))


def _transpose(o: Written) -> ir.Value:
    lead = o.args[0].lead
    return o.w.op("Transpose", *o.values, perm=[*range(lead), lead + 1, lead])


OPERATIONS: dict[str, Row] = {
    "neg": _elementwise("Neg"),
    "add": _elementwise("Add"),
    "sub": _elementwise("Sub"),
    "mul": _elementwise("Mul"),
    "div": _elementwise("Div"),
    "pow": _pow,
    "lt": _elementwise("Less"),
    "le": _elementwise("LessOrEqual"),
    "gt": _elementwise("Greater"),
    "ge": _elementwise("GreaterOrEqual"),
    "matmul": _matmul,
    "sigmoid": _elementwise("Sigmoid"),
    "tanh": _elementwise("Tanh"),
    "relu": _elementwise("Relu"),
    "exp": _elementwise("Exp"),
    "log": _elementwise("Log"),
    "softplus": _elementwise("Softplus"),
    "gelu": _gelu,
    "erf": _elementwise("Erf"),
    "sin": _elementwise("Sin"),
    "cos": _elementwise("Cos"),
    "sqrt": _elementwise("Sqrt"),
    "abs": _elementwise("Abs"),
    "floor": _elementwise("Floor"),
    "stop_gradient": lambda o: o.values[0],
    "spike": _spike,
    "minimum": _elementwise("Min"),
    "maximum": _elementwise("Max"),
    "where": _elementwise("Where"),
    "sum": _reduction("ReduceSum"),
    "mean": _reduction("ReduceMean"),
    "amax": _reduction("ReduceMax"),
    "cumsum": lambda o: o.w.op("CumSum", *o.values, o.w.constant(-1)),
    "concat": _concat,
    "part": _part,
    "block_diagonal": lambda o: o.values[0],
    "outer": _outer,
    "transpose": _transpose,
}
"""The operators of each operation of the language, on tensors whose last dimension is the vector, or last two a
matrix; the rows of the same operations elsewhere are named in `selfloop.language.operations`."""

OWN_DIMS = {"sum": 1, "mean": 1, "amax": 1, "cumsum": 1, "concat": 1, "part": 1, "matmul": 1, "outer": 2}
"""The last dimensions of a result; elsewhere, as many as the arguments have."""


def evaluate(
    w: Writer,
    graph: Graph,
    sizes: Mapping[str, int],
    which: Iterable[int],
    values: dict[int, Operand],
    dtype: DTypeLike,
) -> None:
    """Write these nodes, in order; the leaves are there already, but for constants."""
    nodes = graph.nodes
    for k in which:
        node = nodes[k]
        if node.op == "const":
            values[k] = Operand(w.constant(cast(float, node.value), dtype), 0, 0)
        elif node.op not in LEAVES:
            args = [_argument(w, values[a], node, dtype) for a in node.args]
            made = OPERATIONS[node.op](Written(w, node, args, sizes, dtype))
            dims = OWN_DIMS.get(node.op, max(a.dims for a in args))
            blocks = node.blocks(sizes) if node.op == "block_diagonal" else (1, 1)
            values[k] = Operand(made, dims, max(a.lead for a in args), blocks if blocks[1] > 1 else None)


def _argument(w: Writer, operand: Operand, user: Node, dtype: DTypeLike) -> Operand:
    """As an operation takes it.

    Block-diagonal matrices are whole, but in products. A scalar that has a last dimension of one gets another beside a
    matrix.
    """
    if operand.blocks and user.op != "matmul":
        return Operand(_whole(w, operand.value, *operand.blocks, dtype), 2, 0)
    if len(user.shape) != 2 or user.op == "outer" or operand.dims != 1:
        return operand
    return Operand(w.op("Unsqueeze", operand.value, w.constant([-1])), 2, operand.lead)


def _whole(w: Writer, weight: ir.Value, stacked: int, heads: int, dtype: DTypeLike) -> ir.Value:
    """Block-diagonal matrices, zeros and all."""
    rows, width = weight.shape
    apart = w.op("Reshape", weight, w.constant([stacked, heads, rows // stacked // heads, 1, width]))
    diagonal = w.constant(np.eye(heads)[:, None, :, None], dtype)
    return w.op("Reshape", w.op("Mul", apart, diagonal), w.constant([rows, heads * width]))
