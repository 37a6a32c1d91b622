"""Rounding to bfloat16, and pairs: two numbers that are adjacent in a sum, in the 32 bits of a float.

Numbers are rounded to nearest, ties to even. Those too small for a normal float32 (1.2e-38) count as zero, in what is
rounded, multiplied and summed: so say the instructions of x86, whatever mode the process has set.
"""

from collections.abc import Iterable

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.vectors import I16, I32, integers


class _BFloat(ir.Type):  # type: ignore[misc]
    """LLVM's type bfloat, which llvmlite lacks."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def rounded(f: Function, value: ir.Value) -> ir.Value:
    """A vector of float32 as bfloat16, 16 bits each."""
    lanes = f.vectors.lanes
    short = f.builder.fptrunc(value, ir.VectorType(_BFloat(), lanes))
    return f.builder.bitcast(short, ir.VectorType(I16, lanes))


def rounded_both(f: Function, first: ir.Value, second: ir.Value) -> ir.Value:
    """Two vectors of float32 as bfloat16, one after the other, in one vector."""
    v, b, lanes = f.vectors, f.builder, f.vectors.lanes
    both = v.target_intrinsic("rounded_both", ir.VectorType(_BFloat(), 2 * lanes), a=first, b=second)
    if both is None:
        halves = (rounded(f, value) for value in (first, second))
        both = b.shuffle_vector(*halves, _order(range(2 * lanes)))
    return b.bitcast(both, v.type)


def interleaved(f: Function, both: ir.Value) -> ir.Value:
    """From what `rounded_both` returns, pairs of the numbers of each lane."""
    b, lanes = f.builder, f.vectors.lanes
    both = b.bitcast(both, ir.VectorType(I16, 2 * lanes))
    order = _order(half * lanes + k for k in range(lanes) for half in range(2))
    return b.bitcast(b.shuffle_vector(both, both, order), f.vectors.type)


def paired(f: Function, first: ir.Value, second: ir.Value) -> ir.Value:
    """Two vectors of float32 as one vector of pairs of bfloat16."""
    return interleaved(f, rounded_both(f, first, second))


def _order(lanes: Iterable[int]) -> ir.Constant:
    order = tuple(lanes)
    return integers(ir.VectorType(I32, len(order)), order)


def pair_products(f: Function, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """C plus, in each lane, the products of both numbers of a pair of a by those of a pair of b."""
    kind = ir.VectorType(_BFloat(), 2 * f.vectors.lanes)
    a, b = (f.builder.bitcast(pairs, kind) for pairs in (a, b))
    total = f.vectors.target_intrinsic("pair_products", f.vectors.type, a=a, b=b, c=c)
    assert total is not None, f"{f.target.name} does not multiply pairs"
    return total
