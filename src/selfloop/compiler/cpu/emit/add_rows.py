"""`add_rows`: the sum of rows, such as a vector's gradients over the batch; `add`: the sum of two vectors."""

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.targets import Target

ADD_ROWS_BLOCK = ("rows", "stride", "count", "size", "goal")
"""The argument block: the address of the first row, the elements from row to row, the number of rows, the elements of a
sum, and the address where it goes. The rows are written over."""

ADD_BLOCK = ("left", "right", "size", "goal")
"""The argument block: the addresses of both vectors, their elements, and the address where the sum goes."""

IN_TURN = 8
"""Rows that are added one after another; more are first added in pairs, which keeps the rounding error small."""


def emit_add(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`, which adds two vectors."""
    f = Function(module, name, target, bits)
    left, right, goal = (f.pointer(ADD_BLOCK.index(key)) for key in ("left", "right", "goal"))
    size = f.argument(ADD_BLOCK.index("size"))
    with f.loop(0, size, f.vectors.lanes) as k:
        mask = f.first_lanes(f.builder.sub(size, k))
        f.store(f.builder.fadd(f.load(f.at(left, k), mask), f.load(f.at(right, k), mask)), f.at(goal, k), mask)
    f.finish()


def emit_add_rows(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`, which adds rows."""
    f = Function(module, name, target, bits)
    b, lanes, pair = f.builder, f.vectors.lanes, f.builder.fadd
    rows, goal = (f.pointer(ADD_ROWS_BLOCK.index(key)) for key in ("rows", "goal"))
    stride, count, size = (f.argument(ADD_ROWS_BLOCK.index(key)) for key in ("stride", "count", "size"))
    with f.loop(0, size, lanes) as column:
        mask = f.first_lanes(b.sub(size, column))
        first = f.at(rows, column)

        def row(k: ir.Value, first: ir.Value = first) -> ir.Value:
            return f.at(first, f.times(k, stride))

        before = b.block
        head, body, after = (f.function.append_basic_block(own) for own in ("halve", "pairs", "few"))
        b.branch(head)
        b.position_at_end(head)
        left = b.phi(f.index)
        left.add_incoming(count, before)
        b.cbranch(b.icmp_signed(">", left, f.index(IN_TURN)), body, after)
        b.position_at_end(body)
        half = b.sdiv(f.plus(left, 1), f.index(2))
        with f.loop(half, left) as k:
            other = row(b.sub(k, half))
            f.store(pair(f.load(other, mask), f.load(row(k), mask)), other, mask)
        left.add_incoming(half, b.block)
        b.branch(head)
        b.position_at_end(after)
        place = f.at(goal, column)
        f.store(f.load(first, mask), place, mask)
        with f.loop(1, left) as k:
            f.store(pair(f.load(place, mask), f.load(row(k), mask)), place, mask)
    f.finish()
