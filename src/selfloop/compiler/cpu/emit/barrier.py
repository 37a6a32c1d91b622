"""A barrier: threads that split the units of a step synchronise here after each stage."""

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.vectors import POINTER

SPINS = 4096
"""Loads of the counter before a thread yields to others: about 10 µs, longer than any stage that is worth splitting."""


class Barrier:
    """A counter in memory that each thread increments; all go on when it has reached a multiple of their number.

    Args:
        function: where the code goes. On a target without threads a barrier is no code at all.
        parts: the number of threads.
        counter: the address of the counter, which is zero at first.
        sched_yield: the address of the system's function that lets other threads run.
    """

    def __init__(self, function: Function, parts: ir.Value, counter: ir.Value, sched_yield: ir.Value) -> None:
        self.f, self.parts = function, parts
        b = function.builder
        self.counter = b.inttoptr(counter, POINTER)
        self.sched_yield = b.inttoptr(sched_yield, ir.FunctionType(ir.IntType(32), []).as_pointer())
        if function.target.has_threads:
            with b.goto_entry_block():
                self.expected = b.alloca(function.index)
            b.store(function.index(0), self.expected)

    def wait(self) -> None:
        """Wait until all threads are here."""
        f, b = self.f, self.f.builder
        if not f.target.has_threads:
            return
        names = ("meet", "spin", "wait", "rest", "met")
        arrive, spin, look_again, rest, done = (f.function.append_basic_block(name) for name in names)
        b.cbranch(b.icmp_signed(">", self.parts, f.index(1)), arrive, done)
        b.position_at_end(arrive)
        expected = b.add(b.load(self.expected, typ=f.index), self.parts)
        b.store(expected, self.expected)
        b.atomic_rmw("add", self.counter, f.index(1), "acq_rel")
        b.branch(spin)
        b.position_at_end(spin)
        looks = b.phi(f.index)
        looks.add_incoming(f.index(1), arrive)
        arrived = b.load_atomic(self.counter, "acquire", f.index.width // 8, typ=f.index)
        more = b.add(looks, f.index(1))
        b.cbranch(b.icmp_signed(">=", arrived, expected), done, look_again)
        b.position_at_end(look_again)
        looks.add_incoming(more, look_again)
        b.cbranch(b.icmp_signed("==", b.and_(looks, f.index(SPINS - 1)), f.index(0)), rest, spin)
        b.position_at_end(rest)
        b.call(self.sched_yield, [])
        looks.add_incoming(more, rest)
        b.branch(spin)
        b.position_at_end(done)
