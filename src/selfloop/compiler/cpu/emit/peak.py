"""`peak`: FMAs that never wait for one another, to measure the most that a processor can do."""

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.targets import Target

PEAK_BLOCK = ("turns", "out")
"""The argument block: how often each accumulator is updated, and the address to which they are stored in the end."""


def accumulators(target: Target) -> int:
    """How many vectors are updated in turns: as many as fit in registers beside two factors.

    A latency of four cycles times two FMAs a cycle needs 8.
    """
    return target.registers * 3 // 4


def emit_peak(module: ir.Module, name: str, target: Target) -> None:
    """Write the function `name`, which repeats v = v · 0.5 + 1 on each accumulator, in float32."""
    f = Function(module, name, target, 32)
    v = f.vectors
    half, one = v.const(0.5), v.const(1.0)
    start = [v.const(-float(k)) for k in range(accumulators(target))]  # none starts at 2, which LLVM sees to stay 2
    turns, out = f.argument(PEAK_BLOCK.index("turns")), f.pointer(PEAK_BLOCK.index("out"))
    found = f.fold(0, turns, start, lambda _, carried: [v.fma(value, half, one) for value in carried])
    for k, value in enumerate(found):
        f.store(value, f.at(out, k * v.lanes))
    f.finish()
