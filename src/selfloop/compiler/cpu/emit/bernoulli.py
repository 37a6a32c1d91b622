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
    b, v = f.builder, f.vectors
    word = _mix(b, b.add(b.trunc(seed, I32), I32(STREAM * (random.stream + 1) & 0xFFFFFFFF)))
    if random.per_step:
        word = _mix(b, b.xor(word, b.trunc(step, I32)))
    word = _mix(b, b.xor(word, b.mul(b.trunc(row, I32), I32(ROW))))
    kind = ir.VectorType(I32, v.lanes)
    first = b.trunc(f.plus(lane, random.offset), I32)
    element = b.add(v.splat(first), ir.Constant(kind, list(range(1, v.lanes + 1))))
    element = b.mul(element, ir.Constant(kind, [ELEMENT] * v.lanes))
    drawn = b.lshr(_mix(b, b.xor(v.splat(word), element)), ir.Constant(kind, [8] * v.lanes))
    limit = ir.Constant(kind, [threshold(random.rate)] * v.lanes)
    return v.select(b.icmp_unsigned("<", drawn, limit), v.const(1.0), v.const(0.0))


def _mix(b: ir.IRBuilder, word: ir.Value) -> ir.Value:
    def const(number: int) -> ir.Constant:
        return ir.Constant(word.type, [number] * word.type.count if isinstance(word.type, ir.VectorType) else number)

    for shift, factor in MIX:
        word = b.mul(b.xor(word, b.lshr(word, const(shift))), const(factor))
    return word
