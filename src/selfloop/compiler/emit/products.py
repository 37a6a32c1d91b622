"""Products of a few rows with packed weights, summed in registers."""

from collections.abc import Sequence

from llvmlite import ir

from selfloop.compiler.emit.loops import Function, Index

UNROLL = 4
"""Steps of k in one turn of the loop."""


def sums(
    function: Function,
    rows: Sequence[Sequence[ir.Value]],
    lengths: Sequence[int],
    weights: ir.Value,
    width: int,
    chains: int = 1,
) -> list[list[ir.Value]]:
    """For each row and each of `width` vectors of units, the sum over k of an element of the row times a weight.

    Args:
        function: where the code goes.
        rows: for each thing that is read, the address of each row.
        lengths: how many elements of each thing.
        weights: the packed weights, [k][width][lane], one thing after another.
        width: the vectors.
        chains: in how many chains each sum is made, which are added in the end: 1, 2 or 4.
    """
    lanes = function.vectors.lanes
    height = len(rows[0])
    size = height * width
    total = [function.vectors.const(0.0)] * (size * chains)
    for own, length in zip(rows, lengths, strict=True):

        def turn(
            k: Index,
            carried: list[ir.Value],
            count: int,
            own: Sequence[ir.Value] = own,
            weights: ir.Value = weights,
        ) -> list[ir.Value]:
            for n in range(count):
                at = function.plus(k, n)
                base = function.times(at, width * lanes)
                columns = [function.load(function.at(weights, function.plus(base, c * lanes))) for c in range(width)]
                chain = slice(n % chains * size, (n % chains + 1) * size)
                elements = [function.load_scalar(function.at(row, at)) for row in own]
                pairs = ((element, column) for element in elements for column in columns)
                added = [
                    function.vectors.fma(*pair, before) for pair, before in zip(pairs, carried[chain], strict=True)
                ]
                carried = [*carried[: chain.start], *added, *carried[chain.stop :]]
            return carried

        whole = length - length % UNROLL
        if whole:
            total = function.fold(0, whole, total, lambda k, carried, turn=turn: turn(k, carried, UNROLL), UNROLL)  # type: ignore[misc]
        total = turn(whole, total, length - whole)
        weights = function.at(weights, length * width * lanes)
    while len(total) > size:
        half = len(total) // 2
        total = [function.builder.fadd(a, b) for a, b in zip(total[:half], total[half:], strict=True)]
    return [total[r * width : (r + 1) * width] for r in range(height)]
