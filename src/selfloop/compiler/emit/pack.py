"""Matrices in the order in which tiles read them."""

from llvmlite import ir

from selfloop.compiler.emit.bfloat16 import paired
from selfloop.compiler.emit.loops import Function
from selfloop.compiler.emit.squares import turned
from selfloop.compiler.emit.vectors import I64, POINTER
from selfloop.compiler.layout import DEPTH
from selfloop.compiler.targets import Target

VECTOR = ("source", "lane_stride", "k_stride", "units", "first", "step", "length", "goal", "goal_step", "goal_k")
"""A vector of each block of units: a matrix from its first element, and its strides along the units and along what is
summed, in elements; how many units it has; at which unit its vectors start, and how far apart they are; how many
elements are summed; and where the vectors go, how far apart those of neighbouring blocks of units, and of neighbouring
elements of the sum."""

BLOCK = ("vectors", "count")
"""The block: where the vectors' descriptions lie, one after another, and how many there are."""


def emit_pack(module: ir.Module, name: str, target: Target, bits: int, bfloat16: bool) -> None:
    """Write the function `name`, which packs vectors; `bfloat16` as pairs, which count as one element of the sum."""
    f = Function(module, name, target, bits)
    vectors, count = f.pointer(BLOCK.index("vectors")), f.argument(BLOCK.index("count"))
    with f.loop(0, count) as k:
        f.block = f.at(vectors, f.times(k, len(VECTOR)), I64)
        _Pack(f, bfloat16).write()
    f.finish()


class _Pack:
    def __init__(self, f: Function, bfloat16: bool) -> None:
        self.f, self.bfloat16 = f, bfloat16
        self.given = {key: f.argument(k) for k, key in enumerate(VECTOR)}
        self.source, self.goal = (f.builder.inttoptr(self.given[key], POINTER) for key in ("source", "goal"))

    def write(self) -> None:
        """Block by block of units."""
        f, b, given, lanes = self.f, self.f.builder, self.given, self.f.vectors.lanes
        left = b.sub(given["units"], given["first"])
        blocks = b.sdiv(f.plus(left, b.sub(given["step"], I64(1))), given["step"])
        are_near, follow = (b.icmp_signed("==", given[key], I64(1)) for key in ("lane_stride", "k_stride"))
        with f.loop(0, blocks) as block:
            unit = f.plus(given["first"], f.times(block, given["step"]))
            here = b.sub(given["units"], unit)
            start = f.at(self.source, f.times(unit, given["lane_stride"]))
            goal = f.at(self.goal, f.times(block, given["goal_step"]))
            is_square = b.and_(follow, b.icmp_signed(">=", here, I64(lanes)))
            squares = b.select(is_square, b.mul(b.sdiv(given["length"], I64(lanes)), I64(lanes)), I64(0))
            with f.loop(0, squares, lanes) as k:
                self.square(start, goal, k)
            mask = f.first_lanes(here)
            with b.if_else(are_near) as (near, far):
                with near:
                    self.rest(start, goal, mask, squares, is_near=True)
                with far:
                    self.rest(start, goal, mask, squares, is_near=False)

    def square(self, start: ir.Value, goal: ir.Value, first: ir.Value) -> None:
        """As many elements of the sum as there are units in a vector, read along the sum and turned."""
        f, lanes = self.f, self.f.vectors.lanes
        lines = [f.at(start, f.plus(f.times(self.given["lane_stride"], unit), first)) for unit in range(lanes)]
        vectors = turned(f, [f.load(line) for line in lines])
        if self.bfloat16:
            vectors = [paired(f, *vectors[k : k + 2]) for k in range(0, lanes, 2)]
        for k, vector in enumerate(vectors):
            f.store(vector, self.place(goal, f.plus(first, k * lanes // len(vectors))))

    def rest(self, start: ir.Value, goal: ir.Value, mask: ir.Value, first: ir.Value, is_near: bool) -> None:
        """Element by element of the sum, or pair by pair, of which there are whole tiles, the last ones zeros."""
        f, b, v, length = self.f, self.f.builder, self.f.vectors, self.given["length"]
        kind = ir.VectorType(I64, v.lanes)
        offsets = b.mul(ir.Constant(kind, list(range(v.lanes))), v.splat(self.given["lane_stride"]))

        def element(k: ir.Value, mask: ir.Value) -> ir.Value:
            place = f.at(start, f.times(k, self.given["k_stride"]))
            return f.load(place, mask) if is_near else f.gather(place, offsets, mask)

        if not self.bfloat16:
            with f.loop(first, length) as k:
                f.store(element(k, mask), self.place(goal, k))
            return
        end = f.times(b.sdiv(f.plus(length, DEPTH - 1), I64(DEPTH)), DEPTH)
        with f.loop(first, end, 2) as k:
            both = (f.plus(k, n) for n in range(2))
            masks = [(own, b.and_(mask, v.splat(b.icmp_signed("<", own, length)))) for own in both]
            f.store(paired(f, *(element(*own) for own in masks)), self.place(goal, k))

    def place(self, goal: ir.Value, k: ir.Value) -> ir.Value:
        """Where element k of the sum goes."""
        k = self.f.builder.sdiv(k, I64(2)) if self.bfloat16 else k
        return self.f.at(goal, self.f.times(k, self.given["goal_k"]))
