"""Where threads that share the units of a step wait for each other."""

from llvmlite import ir

from selfloop.compiler.emit.loops import Function
from selfloop.compiler.emit.vectors import I64, POINTER

PATIENCE = 4096
"""Looks before a thread lets others run: about 10 µs, longer than any stage that is worth splitting."""


class Barrier:
    """Threads count themselves in at one address; each goes on when all have come. Nothing is done by one thread."""

    def __init__(self, function: Function, parts: ir.Value, counter: ir.Value, give_way: ir.Value) -> None:
        self.function, self.parts = function, parts
        b = function.builder
        self.counter = b.inttoptr(counter, POINTER)
        self.give_way = b.inttoptr(give_way, ir.FunctionType(ir.IntType(32), []).as_pointer())
        with b.goto_entry_block():
            self.goal = b.alloca(I64)
        b.store(I64(0), self.goal)

    def meet(self) -> None:
        """Wait here for all."""
        b, function = self.function.builder, self.function.function
        names = ("meet", "spin", "wait", "rest", "met")
        check, spin, wait, rest, after = (function.append_basic_block(name) for name in names)
        b.cbranch(b.icmp_signed(">", self.parts, I64(1)), check, after)
        b.position_at_end(check)
        goal = b.add(b.load(self.goal, typ=I64), self.parts)
        b.store(goal, self.goal)
        b.atomic_rmw("add", self.counter, I64(1), "acq_rel")
        b.branch(spin)
        b.position_at_end(spin)
        looks = b.phi(I64)
        looks.add_incoming(I64(1), check)
        here = b.load_atomic(self.counter, "acquire", 8, typ=I64)
        more = b.add(looks, I64(1))
        b.cbranch(b.icmp_signed(">=", here, goal), after, wait)
        b.position_at_end(wait)
        looks.add_incoming(more, wait)
        b.cbranch(b.icmp_signed("==", b.and_(looks, I64(PATIENCE - 1)), I64(0)), rest, spin)
        b.position_at_end(rest)
        b.call(self.give_way, [])
        looks.add_incoming(more, rest)
        b.branch(spin)
        b.position_at_end(after)
