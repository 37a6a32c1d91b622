"""The gradient of weights: over all steps and rows, the sum of outer products of what was read and what is owed."""

from llvmlite import ir

from selfloop.compiler.emit.loops import Function
from selfloop.compiler.emit.vectors import I64
from selfloop.compiler.targets import Target

BLOCK = ("item", "items", "rows", "features", "vectors", "read", "offset", "delta", "stride", "result", "pitch")
"""The block: this thread's share of tiles is from `item` up to `items`; the rows in all; how many features are read and
how many vectors are owed; a table of addresses of what is read, and the first element of it; what is owed, row after row
of `stride` elements; the result, [features][vectors], row after row of `pitch` elements."""

CHUNK = 128
"""Rows in one go: what is owed by 128 rows in 64 lanes is 32 KiB, which the first cache holds."""


def emit_outer(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`: result[f, j] += sum over rows of read[row][f] * delta[row][j]."""
    f = Function(module, name, target, bits)
    b, v = f.builder, f.vectors
    width = target.columns
    height = target.rows(width)
    given = {key: f.argument(k) for k, key in enumerate(BLOCK)}
    table, delta, result = (b.inttoptr(given[key], ir.PointerType()) for key in ("read", "delta", "result"))
    tall = b.sdiv(f.plus(given["features"], height - 1), I64(height))

    with f.loop(0, given["rows"], CHUNK) as low:
        high = f.least(f.plus(low, CHUNK), given["rows"])
        with f.loop(given["item"], given["items"]) as item:
            column = f.times(b.sdiv(item, tall), width)
            feature = f.times(b.srem(item, tall), height)
            wide = f.least(width, b.sub(given["vectors"], column))
            deep = f.least(height, b.sub(given["features"], feature))
            after = f.function.append_basic_block("done")
            full, partial = f.function.append_basic_block("full"), f.function.append_basic_block("partial")
            is_full = b.and_(b.icmp_signed("==", wide, I64(width)), b.icmp_signed("==", deep, I64(height)))
            b.cbranch(is_full, full, partial)
            for block, rows, columns in ((full, height, width), (partial, 1, 1)):
                b.position_at_end(block)
                if block is full:
                    _tile(f, given, table, delta, result, low, high, feature, column, rows, columns)
                else:
                    with f.loop(0, deep) as r, f.loop(0, wide) as c:
                        _tile(
                            f, given, table, delta, result, low, high, f.plus(feature, r), f.plus(column, c), rows, columns
                        )
                b.branch(after)
            b.position_at_end(after)
    f.finish()


def _tile(
    f: Function,
    given: dict[str, ir.Value],
    table: ir.Value,
    delta: ir.Value,
    result: ir.Value,
    low: ir.Value,
    high: ir.Value,
    feature: ir.Value,
    column: ir.Value,
    rows: int,
    columns: int,
) -> None:
    b, v = f.builder, f.vectors
    lane = f.times(column, v.lanes)
    place = [
        f.at(result, f.plus(f.times(f.plus(feature, r), given["pitch"]), f.plus(lane, c * v.lanes)))
        for r in range(rows)
        for c in range(columns)
    ]
    first = f.plus(given["offset"], feature)

    def turn(row: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        read = f.at(f.address(table, row), first)
        owed = f.at(delta, f.plus(f.times(row, given["stride"]), lane))
        vectors = [f.load(f.at(owed, c * v.lanes)) for c in range(columns)]
        elements = [f.load_scalar(f.at(read, r)) for r in range(rows)]
        return [v.fma(elements[k // columns], vectors[k % columns], total) for k, total in enumerate(carried)]

    totals = f.fold(low, high, [f.load(p) for p in place], turn)
    for total, p in zip(totals, place, strict=True):
        f.store(total, p)
