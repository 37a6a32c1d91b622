"""Matrices in the order in which tiles read them."""

from llvmlite import ir

from selfloop.compiler.emit.loops import Function
from selfloop.compiler.emit.vectors import I64, POINTER
from selfloop.compiler.targets import Target

VECTOR = ("source", "lane_stride", "k_stride", "units", "first", "step", "length", "goal", "goal_step", "goal_k")
"""A vector of each block of units: a matrix from its first element, and its strides along the units and along what is
summed, in elements; how many units it has; at which unit its vectors start, and how far apart they are; how many
elements are summed; and where the vectors go, how far apart those of neighbouring blocks of units, and of neighbouring
elements of the sum."""

BLOCK = ("vectors", "count")
"""The block: where the vectors' descriptions lie, one after another, and how many there are."""


def emit_pack(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`, which packs vectors."""
    f = Function(module, name, target, bits)
    vectors, count = f.pointer(BLOCK.index("vectors")), f.argument(BLOCK.index("count"))
    with f.loop(0, count) as k:
        f.block = f.at(vectors, f.times(k, len(VECTOR)), I64)
        _pack(f)
    f.finish()


def _pack(f: Function) -> None:
    b, v = f.builder, f.vectors
    given = {key: f.argument(k) for k, key in enumerate(VECTOR)}
    source, goal = (b.inttoptr(given[key], POINTER) for key in ("source", "goal"))
    kind = ir.VectorType(I64, v.lanes)
    lanes = ir.Constant(kind, list(range(v.lanes)))
    side_by_side = b.icmp_signed("==", given["lane_stride"], I64(1))
    blocks = b.sdiv(f.plus(b.sub(given["units"], given["first"]), b.sub(given["step"], I64(1))), given["step"])

    def pack(is_near: bool) -> None:
        offsets = b.mul(lanes, v.splat(given["lane_stride"]))
        with f.loop(0, blocks) as block:
            unit = f.plus(given["first"], f.times(block, given["step"]))
            mask = b.icmp_signed("<", lanes, v.splat(b.sub(given["units"], unit)))
            start = f.at(source, f.times(unit, given["lane_stride"]))
            end = f.at(goal, f.times(block, given["goal_step"]))
            with f.loop(0, given["length"]) as k:
                place = f.at(start, f.times(k, given["k_stride"]))
                value = f.load(place, mask) if is_near else f.gather(place, offsets, mask)
                f.store(value, f.at(end, f.times(k, given["goal_k"])))

    with b.if_else(side_by_side) as (near, far):
        with near:
            pack(True)
        with far:
            pack(False)
