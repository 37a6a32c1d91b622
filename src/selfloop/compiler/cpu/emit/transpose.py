"""The transpose of a square of numbers that is held in as many vectors as a vector has lanes."""

from collections.abc import Sequence

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.vectors import I32


def transposed(f: Function, rows: Sequence[ir.Value]) -> list[ir.Value]:
    """The columns of the square: pairs of vectors swap ever larger parts, log2(lanes) times."""
    lanes = len(rows)
    rows, half = list(rows), 1
    while half < lanes:
        left = [lane - half + lanes if lane & half else lane for lane in range(lanes)]
        right = [lane + lanes if lane & half else lane + half for lane in range(lanes)]
        orders = [ir.Constant(ir.VectorType(I32, lanes), order) for order in (left, right)]
        for k in range(lanes):
            if not k & half:
                a, b = rows[k], rows[k + half]
                rows[k], rows[k + half] = (f.builder.shuffle_vector(a, b, order) for order in orders)
        half *= 2
    return rows
