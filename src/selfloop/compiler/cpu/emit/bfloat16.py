"""Rounding to bfloat16, and pairs: two numbers that are adjacent in a sum, in the 32 bits of a float.

Numbers are rounded to nearest, ties to even. Those too small for a normal float32 (1.2e-38) count as zero, in what is
rounded, multiplied and summed: so say the instructions of x86, whatever mode the process has set.
"""

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.vectors import I32, integers

I16 = ir.IntType(16)


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


def paired(f: Function, first: ir.Value, second: ir.Value) -> ir.Value:
    """Two vectors of float32 as one vector of pairs of bfloat16."""
    v, b, lanes = f.vectors, f.builder, f.vectors.lanes
    orders = ir.VectorType(I32, 2 * lanes)
    both = v.target_intrinsic("rounded_pairs", ir.VectorType(_BFloat(), 2 * lanes), a=first, b=second)
    if both is None:
        halves = (rounded(f, value) for value in (first, second))
        both = b.shuffle_vector(*halves, integers(orders, tuple(range(2 * lanes))))
    else:
        both = b.bitcast(both, ir.VectorType(I16, 2 * lanes))
    order = tuple(half * lanes + k for k in range(lanes) for half in range(2))
    return b.bitcast(b.shuffle_vector(both, both, integers(orders, order)), v.type)


def pair_products(f: Function, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """C plus, in each lane, the products of both numbers of a pair of a by those of a pair of b."""
    kind = ir.VectorType(_BFloat(), 2 * f.vectors.lanes)
    a, b = (f.builder.bitcast(pairs, kind) for pairs in (a, b))
    total = f.vectors.target_intrinsic("pair_products", f.vectors.type, a=a, b=b, c=c)
    assert total is not None, f"{f.target.name} does not multiply pairs"
    return total
