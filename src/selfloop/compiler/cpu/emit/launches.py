"""`launches` calls kernels one after another on all threads, with a barrier after each; `patch` writes their arguments.

Many kernels thus run for the price of one call from Python and one start of the thread team.
"""

from llvmlite import ir

from selfloop.compiler.cpu.emit.barrier import Barrier
from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.vectors import POINTER
from selfloop.compiler.cpu.targets import Target

LAUNCHES_HEADER = ("parts", "barrier", "sched_yield", "count")
"""The argument block of a thread starts with the number of threads, the address of their barrier's counter, the address
of the system's function that lets other threads run, and the number of launches."""

LAUNCH = ("function", "block")
"""Then, for each launch: the address of a kernel, and that of this thread's argument block for it."""

PATCH_HEADER = ("numbers", "offsets", "bases", "count", "more_numbers", "more_offsets", "more_bases", "more_count")
"""The argument block of `patch`: the addresses of what it writes, ``numbers[k] = offsets[k] + addresses[bases[k]]``, of
the offsets and of the bases, which are 32 bits wide, and how many there are; then the same of more of them. Then come
the addresses of the bases."""


def emit_patch(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`, which adds bases to offsets."""
    f = Function(module, name, target, bits)
    b, half = f.builder, ir.IntType(32)
    addresses = f.at(f.block, len(PATCH_HEADER), f.index)
    for start in (0, len(PATCH_HEADER) // 2):
        numbers, offsets, bases = (f.pointer(start + place) for place in range(3))
        with f.loop(0, f.argument(start + 3)) as k:
            base = b.sext(b.load(f.at(bases, k, half), typ=half), f.index)
            offset, address = (
                b.load(f.at(own, n, f.index), typ=f.index) for own, n in ((offsets, k), (addresses, base))
            )
            b.store(f.plus(offset, address), f.at(numbers, k, f.index))
    f.finish()


def emit_launches(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`, which runs launches."""
    f = Function(module, name, target, bits)
    b = f.builder
    header = {key: f.argument(k) for k, key in enumerate(LAUNCHES_HEADER)}
    barrier = Barrier(f, header["parts"], header["barrier"], header["sched_yield"])
    kernel = ir.FunctionType(ir.VoidType(), [POINTER]).as_pointer()
    with f.loop(0, header["count"]) as k:
        launch = f.at(f.block, f.plus(f.times(k, len(LAUNCH)), len(LAUNCHES_HEADER)), f.index)
        function, block = (b.load(f.at(launch, n, f.index), typ=f.index) for n in range(len(LAUNCH)))
        b.call(b.inttoptr(function, kernel), [b.inttoptr(block, POINTER)])
        barrier.wait()
    f.finish()
