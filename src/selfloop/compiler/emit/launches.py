"""Functions one after another, each on all threads, which meet after each: many launches for the price of one."""

from llvmlite import ir

from selfloop.compiler.emit.barrier import Barrier
from selfloop.compiler.emit.loops import Function
from selfloop.compiler.emit.vectors import I64, POINTER
from selfloop.compiler.targets import Target

WORDS = ("parts", "barrier", "give_way", "count")
"""What comes first in the block of a thread: how many threads there are, the counter of their barrier, the address of
the system's function that lets others run, and how many launches follow."""

LAUNCH = ("function", "block")
"""What follows for each launch: the addresses of its function and of this thread's block."""


def emit_launches(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`, which runs launches."""
    f = Function(module, name, target, bits)
    b = f.builder
    words = {word: f.argument(k) for k, word in enumerate(WORDS)}
    barrier = Barrier(f, words["parts"], words["barrier"], words["give_way"])
    kind = ir.FunctionType(ir.VoidType(), [POINTER]).as_pointer()
    with f.loop(0, words["count"]) as k:
        launch = f.at(f.block, f.plus(f.times(k, len(LAUNCH)), len(WORDS)), I64)
        function, block = (b.load(f.at(launch, n, I64), typ=I64) for n in range(len(LAUNCH)))
        b.call(b.inttoptr(function, kind), [b.inttoptr(block, POINTER)])
        barrier.meet()
    f.finish()
