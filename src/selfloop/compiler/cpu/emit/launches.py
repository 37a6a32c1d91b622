"""`launches`: calls kernels one after another on all threads, with a barrier after each.

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
