"""`dropout`: elements of rows that are kept and scaled, or zero, by the draws of `selfloop.language.random`."""

from llvmlite import ir

from selfloop.compiler.cpu.emit.bernoulli import draws, row_word
from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.vectors import I32
from selfloop.compiler.cpu.targets import Target

DROPOUT_BLOCK = ("begin", "end", "size", "x", "y", "seed", "limit", "scale")
"""The argument block.

    begin, end      the rows of this thread
    size            the elements of a row
    x, y            the addresses of rows, one after another
    seed            of the draws
    limit           an element is kept where its draw is below this number, of 2^24
    scale           the address of the number that a kept element is multiplied by
"""


def emit_dropout(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`."""
    f = Function(module, name, target, bits)
    v, b = f.vectors, f.builder
    begin, end, size, seed, limit = (
        f.argument(DROPOUT_BLOCK.index(key)) for key in ("begin", "end", "size", "seed", "limit")
    )
    x, y, scale = (f.pointer(DROPOUT_BLOCK.index(key)) for key in ("x", "y", "scale"))
    factor, bound = f.load_scalar(scale), v.splat(b.trunc(limit, I32))
    whole = b.and_(size, f.index(-v.lanes))
    with f.loop(begin, end) as row:
        word = row_word(f, 0, seed, None, f.plus(row, 1))
        start = f.times(row, size)

        def part(first: ir.Value, mask: ir.Value | None, word: ir.Value = word, start: ir.Value = start) -> None:
            kept = b.icmp_unsigned("<", draws(f, word, first), bound)
            place = f.plus(start, first)
            scaled = b.fmul(f.load(f.at(x, place), mask), factor)
            f.store(v.select(kept, scaled, v.const(0.0)), f.at(y, place), mask)

        with f.loop(0, whole, v.lanes) as first:
            part(first, None)
        with f.loop(whole, size, v.lanes) as first:
            part(first, f.first_lanes(b.sub(size, first)))
    f.finish()
