"""`pack`: copies matrices into panels, in the order in which register tiles read them."""

from llvmlite import ir

from selfloop.compiler.cpu.emit.bfloat16 import paired
from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.transpose import transposed
from selfloop.compiler.cpu.emit.vectors import POINTER
from selfloop.compiler.cpu.targets import PairProducts, Target

PACK_BLOCK = ("vectors", "count")
"""The argument block: the address of the descriptions of vectors, one after another, and how many there are."""

PACK_VECTOR = (
    *("source", "lane_stride", "k_stride", "units", "first_unit", "unit_step", "length"),
    *("packed", "packed_step", "packed_k"),
)
"""The description of one vector of each block of units.

    source                      the address of the submatrix's first element
    lane_stride, k_stride       the elements from one unit to the next, and from one element of the sum to the next
    units                       the number of units
    first_unit, unit_step       the first unit of the first vector, and the units from one vector to the next
    length                      the number of elements of the sum
    packed                      the address of the first vector
    packed_step, packed_k       the elements from one block of units to the next, and from one k to the next
"""


def emit_pack(module: ir.Module, name: str, target: Target, bits: int, bfloat16: PairProducts | None = None) -> None:
    """Write the function `name`, which packs vectors; in `bfloat16` as pairs, which count as one element of the sum."""
    f = Function(module, name, target, bits)
    vectors, count = f.pointer(PACK_BLOCK.index("vectors")), f.argument(PACK_BLOCK.index("count"))
    with f.loop(0, count) as k:
        f.block = f.at(vectors, f.times(k, len(PACK_VECTOR)), f.index)
        _Pack(f, bfloat16).write()
    f.finish()


class _Pack:
    def __init__(self, f: Function, bfloat16: PairProducts | None) -> None:
        self.f, self.bfloat16 = f, bfloat16
        self.given = {key: f.argument(k) for k, key in enumerate(PACK_VECTOR)}
        self.source, self.packed = (f.builder.inttoptr(self.given[key], POINTER) for key in ("source", "packed"))

    def write(self) -> None:
        """Block by block of units."""
        f, b, given, lanes = self.f, self.f.builder, self.given, self.f.vectors.lanes
        left = b.sub(given["units"], given["first_unit"])
        blocks = b.sdiv(f.plus(left, b.sub(given["unit_step"], f.index(1))), given["unit_step"])
        is_contiguous, is_along_k = (b.icmp_signed("==", given[key], f.index(1)) for key in ("lane_stride", "k_stride"))
        with f.loop(0, blocks) as block:
            unit = f.plus(given["first_unit"], f.times(block, given["unit_step"]))
            here = b.sub(given["units"], unit)
            start = f.at(self.source, f.times(unit, given["lane_stride"]))
            packed = f.at(self.packed, f.times(block, given["packed_step"]))
            is_square = b.and_(is_along_k, b.icmp_signed(">=", here, f.index(lanes)))
            squares = b.select(is_square, b.mul(b.sdiv(given["length"], f.index(lanes)), f.index(lanes)), f.index(0))
            with f.loop(0, squares, lanes) as k:
                self.square(start, packed, k)
            mask = f.first_lanes(here)
            with b.if_else(is_contiguous) as (contiguous, strided):
                with contiguous:
                    self.rest(start, packed, mask, squares, is_contiguous=True)
                with strided:
                    self.rest(start, packed, mask, squares, is_contiguous=False)

    def square(self, start: ir.Value, packed: ir.Value, first: ir.Value) -> None:
        """As many elements of the sum as a vector has lanes: loaded along the sum, and transposed."""
        f, lanes = self.f, self.f.vectors.lanes
        lines = [f.at(start, f.plus(f.times(self.given["lane_stride"], unit), first)) for unit in range(lanes)]
        vectors = transposed(f, [f.load(line) for line in lines])
        if self.bfloat16:
            vectors = [paired(f, *vectors[k : k + 2]) for k in range(0, lanes, 2)]
        for k, vector in enumerate(vectors):
            f.store(vector, self.place(packed, f.plus(first, k * lanes // len(vectors))))

    def rest(self, start: ir.Value, packed: ir.Value, mask: ir.Value, first: ir.Value, is_contiguous: bool) -> None:
        """Element by element of the sum; in bfloat16 pair by pair, and zeros to the depth that is packed."""
        f, b, v, length = self.f, self.f.builder, self.f.vectors, self.given["length"]
        kind = ir.VectorType(f.index, v.lanes)
        offsets = b.mul(ir.Constant(kind, list(range(v.lanes))), v.splat(self.given["lane_stride"]))

        def element(k: ir.Value, mask: ir.Value) -> ir.Value:
            place = f.at(start, f.times(k, self.given["k_stride"]))
            return f.load(place, mask) if is_contiguous else f.gather(place, offsets, mask)

        if not self.bfloat16:
            with f.loop(first, length) as k:
                f.store(element(k, mask), self.place(packed, k))
            return
        depth = self.bfloat16.depth
        end = f.times(b.sdiv(f.plus(length, depth - 1), f.index(depth)), depth)
        with f.loop(first, end, 2) as k:
            both = (f.plus(k, n) for n in range(2))
            masks = [(own, b.and_(mask, v.splat(b.icmp_signed("<", own, length)))) for own in both]
            f.store(paired(f, *(element(*own) for own in masks)), self.place(packed, k))

    def place(self, packed: ir.Value, k: ir.Value) -> ir.Value:
        """Where element k of the sum goes."""
        k = self.f.builder.sdiv(k, self.f.index(2)) if self.bfloat16 else k
        return self.f.at(packed, self.f.times(k, self.given["packed_k"]))
