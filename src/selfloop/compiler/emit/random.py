"""What cells draw, as `selfloop.kernels.random` says it."""

from llvmlite import ir

from selfloop.compiler.emit.loops import Function
from selfloop.compiler.emit.vectors import I32, I64
from selfloop.compiler.step import Random

STREAM, ROW, ELEMENT = 0x9E3779B9, 0x85EBCA77, 0xC2B2AE3D
MIX = ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1))
"""Shifts, and the multiplications that follow them."""


def bernoulli(
    f: Function, random: Random, seed: ir.Value, step: ir.Value, row: ir.Value, lane: ir.Value | int
) -> ir.Value:
    """1 or 0 for the elements from `lane` on. Steps and rows count from 1."""
    b, v = f.builder, f.vectors
    word = _mix(b, b.add(b.trunc(seed, I32), I32(STREAM * (random.stream + 1) & 0xFFFFFFFF)))
    if random.per_step:
        word = _mix(b, b.xor(word, b.trunc(step, I32)))
    word = _mix(b, b.xor(word, b.mul(b.trunc(row, I32), I32(ROW))))
    kind = ir.VectorType(I32, v.lanes)
    first = b.trunc(f.plus(lane, I64(random.offset)), I32)
    element = b.add(v.splat(first), ir.Constant(kind, list(range(1, v.lanes + 1))))
    element = b.mul(element, ir.Constant(kind, [ELEMENT] * v.lanes))
    drawn = b.lshr(_mix(b, b.xor(v.splat(word), element)), ir.Constant(kind, [8] * v.lanes))
    limit = ir.Constant(kind, [int(random.rate * 2**24)] * v.lanes)
    return v.select(b.icmp_unsigned("<", drawn, limit), v.const(1.0), v.const(0.0))


def _mix(b: ir.IRBuilder, word: ir.Value) -> ir.Value:
    def const(number: int) -> ir.Constant:
        return ir.Constant(word.type, [number] * word.type.count if isinstance(word.type, ir.VectorType) else number)

    for shift, factor in MIX:
        word = b.mul(b.xor(word, b.lshr(word, const(shift))), const(factor))
    return word
