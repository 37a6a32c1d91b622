"""A register tile: products of a few rows with packed weights, accumulated in registers."""

from collections.abc import Callable, Sequence

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function, Index
from selfloop.compiler.cpu.emit.vectors import I8, I16

UNROLL = 4
"""How far the loop over k is unrolled."""


def sums(
    function: Function,
    rows: Sequence[Sequence[ir.Value]],
    lengths: Sequence[int],
    weights: ir.Value,
    width: int,
    accumulators: int,
    multiply_add: Callable[[ir.Value, ir.Value, ir.Value], ir.Value],
    form: str,
) -> list[list[ir.Value]]:
    """For each row and each of `width` vectors of units, the sum over k of row[k] · weights[k].

    Args:
        function: where the code goes.
        rows: for each argument of the product, the address of each row.
        lengths: the number of elements of each argument.
        weights: the address of the packed weights, [k][width][lane], one argument after another.
        width: the number of vectors.
        accumulators: 1, 2 or 4: how many each sum has, which are added in the end.
        multiply_add: from an element, a vector of weights and a sum, the next sum. Elements may be pairs of bfloat16;
            `lengths` then counts pairs.
        form: of the weights, see `WEIGHT_FORMS`; the sums are without their scales.

    Returns:
        The sums, by row and vector.
    """
    lanes = function.vectors.lanes
    height = len(rows[0])
    size = height * width
    total, first = [function.vectors.const(0.0)] * (size * accumulators), 0
    for own, length in zip(rows, lengths, strict=True):

        def turn(
            k: Index,
            carried: list[ir.Value],
            count: int,
            own: Sequence[ir.Value] = own,
            weights: ir.Value = weights,
            first: int = first,
        ) -> list[ir.Value]:
            for n in range(count):
                at = function.plus(k, n)
                base = function.times(at, width * lanes)
                columns = [widened(function, weights, function.plus(base, c * lanes), form) for c in range(width)]
                mine = (first + n) % accumulators  # of the whole sum, however it is cut into arguments
                own_sums = slice(mine * size, (mine + 1) * size)
                before = carried[own_sums]
                added: list[ir.Value] = []
                for row in own:  # one element after another: with all of them loaded first, sums are spilt
                    element = function.load_scalar(function.at(row, at))
                    added += [multiply_add(element, column, before[len(added) + c]) for c, column in enumerate(columns)]
                carried = [*carried[: own_sums.start], *added, *carried[own_sums.stop :]]
            return carried

        whole = length - length % UNROLL
        if whole:
            total = function.fold(0, whole, total, lambda k, carried, turn=turn: turn(k, carried, UNROLL), UNROLL)  # type: ignore[misc]
        total = turn(whole, total, length - whole)
        weights = function.at(weights, length * width * lanes, CODES.get(form))
        first += length
    while len(total) > size:
        half = len(total) // 2
        total = [function.builder.fadd(a, b) for a, b in zip(total[:half], total[half:], strict=True)]
    return [total[r * width : (r + 1) * width] for r in range(height)]


CODES = {"bf16": I16, "int8": I8}
"""Elements of weights that are shorter than what is computed with."""


def widened(function: Function, weights: ir.Value, place: ir.Value, form: str) -> ir.Value:
    """A vector of weights of a form, as numbers that can be multiplied."""
    v, b = function.vectors, function.builder
    if form not in CODES:
        return function.load(function.at(weights, place))
    code = CODES[form]
    codes = b.load(function.at(weights, place, code), typ=ir.VectorType(code, v.lanes), align=code.width // 8)
    if form == "int8":
        return b.sitofp(codes, v.type)
    return v.from_bits(b.shl(b.zext(codes, v.int_vector), v.iconst(16)))
