"""Random draws, by the formula of `selfloop.language.random`."""

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.vectors import I32
from selfloop.compiler.lower.step import Bernoulli
from selfloop.language.random import ELEMENT, MIX, ROW, STREAM, threshold


def bernoulli(
    f: Function, random: Bernoulli, seed: ir.Value, step: ir.Value, row: ir.Value, lane: ir.Value | int
) -> ir.Value:
    """1 or 0 for the elements from `lane` on. Steps and rows count from 1."""
    v = f.vectors
    word = row_word(f, random.stream, seed, step if random.per_step else None, row)
    drawn = draws(f, word, f.plus(lane, random.offset))
    limit = ir.Constant(drawn.type, [threshold(random.rate)] * v.lanes)
    return v.select(f.builder.icmp_unsigned("<", drawn, limit), v.const(1.0), v.const(0.0))


def row_word(f: Function, stream: int, seed: ir.Value, step: ir.Value | None, row: ir.Value) -> ir.Value:
    """The word that all elements of a row share; without a step, all steps do."""
    b = f.builder
    word = _mix(b, b.add(b.trunc(seed, I32), I32(STREAM * (stream + 1) & 0xFFFFFFFF)))
    if step is not None:
        word = _mix(b, b.xor(word, b.trunc(step, I32)))
    return _mix(b, b.xor(word, b.mul(b.trunc(row, I32), I32(ROW))))


def draws(f: Function, word: ir.Value, first: ir.Value) -> ir.Value:
    """Numbers below 2^24 for the elements from `first` on."""
    b, v = f.builder, f.vectors
    kind = ir.VectorType(I32, v.lanes)
    element = b.add(v.splat(b.trunc(first, I32)), ir.Constant(kind, list(range(1, v.lanes + 1))))
    element = b.mul(element, ir.Constant(kind, [ELEMENT] * v.lanes))
    return b.lshr(_mix(b, b.xor(v.splat(word), element)), ir.Constant(kind, [8] * v.lanes))


def _mix(b: ir.IRBuilder, word: ir.Value) -> ir.Value:
    def const(number: int) -> ir.Constant:
        return ir.Constant(word.type, [number] * word.type.count if isinstance(word.type, ir.VectorType) else number)

    for shift, factor in MIX:
        word = b.mul(b.xor(word, b.lshr(word, const(shift))), const(factor))
    return word
