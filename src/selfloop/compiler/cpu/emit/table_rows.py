"""`average_rows` and `move_rows`: what an update does to the rows of a large table that it has read."""

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.targets import Target

AVERAGE_ROWS_BLOCK = ("begin", "end", "size", "rows", "table", "average", "weights")
"""The argument block.

    begin, end      the places in `rows` of this thread
    size            the elements of a row
    rows            the address of the numbers of the rows, each once
    table, average  the addresses of whole tables
    weights         the address of what each row of `table` weighs in its average
"""

MOVE_ROWS_BLOCK = ("begin", "end", "size", "rows", "table", "squares", "gradient", "keep", "shrink", "numbers")
"""The argument block.

    begin, end, size, rows, table
                    as above
    squares         the address of the table of second moments
    gradient        the address of the rows' gradients, one after another
    keep, shrink    the addresses of what each row keeps of its second moments and of its weights
    numbers         the address of three numbers: what a square adds to a second moment, what is added to the root of
                    this, and the rate
"""

AHEAD = 8
"""Rows from one to that which is fetched meanwhile: they lie all over a table that no cache holds. Averaging then takes
half of the time, and moving three quarters (3,500 rows of 20,000 with 128 numbers; 4 and 16 rows are alike)."""


def _starts(f: Function, rows: ir.Value, k: ir.Value, end: ir.Value, size: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Where the k-th row begins, and one that comes later, or the last."""
    places = k, f.least(f.plus(k, AHEAD), f.plus(end, -1))
    start, later = (f.times(f.builder.load(f.at(rows, place, f.index), typ=f.index), size) for place in places)
    return start, later


def emit_average_rows(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`: a += weight · (w − a), for each element a of a row and w of the table's."""
    f = Function(module, name, target, bits)
    v, b = f.vectors, f.builder
    begin, end, size = (f.argument(AVERAGE_ROWS_BLOCK.index(key)) for key in ("begin", "end", "size"))
    rows, table, average, weights = (
        f.pointer(AVERAGE_ROWS_BLOCK.index(key)) for key in ("rows", "table", "average", "weights")
    )
    with f.loop(begin, end) as k:
        start, later = _starts(f, rows, k, end, size)
        weight = f.load_scalar(f.at(weights, k))
        with f.loop(0, size, v.lanes) as column:
            mask, place = f.first_lanes(b.sub(size, column)), f.plus(start, column)
            for one in (table, average):
                f.prefetch(f.at(one, f.plus(later, column)), 1)
            mean = f.load(f.at(average, place), mask)
            away = b.fsub(f.load(f.at(table, place), mask), mean)
            f.store(v.fma(weight, away, mean), f.at(average, place), mask)
    f.finish()


def emit_move_rows(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`: s = keep · s + share · g², w = shrink · w − rate · g / (√s + eps)."""
    f = Function(module, name, target, bits)
    v, b = f.vectors, f.builder
    begin, end, size = (f.argument(MOVE_ROWS_BLOCK.index(key)) for key in ("begin", "end", "size"))
    rows, table, squares, gradient, keep, shrink, numbers = (
        f.pointer(MOVE_ROWS_BLOCK.index(key))
        for key in ("rows", "table", "squares", "gradient", "keep", "shrink", "numbers")
    )
    share, eps, rate = (f.load_scalar(f.at(numbers, k)) for k in range(3))
    with f.loop(begin, end) as k:
        start, later = _starts(f, rows, k, end, size)
        kept, shrunk, own = f.load_scalar(f.at(keep, k)), f.load_scalar(f.at(shrink, k)), f.times(k, size)
        with f.loop(0, size, v.lanes) as column:
            mask, place = f.first_lanes(b.sub(size, column)), f.plus(start, column)
            for one in (table, squares):
                f.prefetch(f.at(one, f.plus(later, column)), 1)
            g = f.load(f.at(gradient, f.plus(own, column)), mask)
            s = v.fma(kept, f.load(f.at(squares, place), mask), b.fmul(share, b.fmul(g, g)))
            f.store(s, f.at(squares, place), mask)
            step = b.fdiv(b.fmul(rate, g), b.fadd(v.intrinsic("sqrt", s), eps))
            f.store(b.fsub(b.fmul(shrunk, f.load(f.at(table, place), mask)), step), f.at(table, place), mask)
    f.finish()
