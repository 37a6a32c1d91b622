"""One step of a stack of layers: the few instructions between a call from Python and the layers' functions.

What changes from step to step is done here: where the input lies, which of two sets of states is the old one, and where
the output goes. So Python makes one call, with blocks that are always the same.
"""

from llvmlite import ir

from selfloop.compiler.emit.loops import Function
from selfloop.compiler.emit.vectors import I64, POINTER
from selfloop.compiler.targets import Target

SHARED = ("x", "turn")
"""What all threads read, and the first changes when all have come to the end: the address of the input, which after
the step is that of the stack's own room again; and the turn, 0 or 1, which says what set of states is the old one."""

WORDS = ("part", "shared", "own", "table", "rows", "pitch", "y", "size", "new0", "new1", "barriers", "layers")
"""What comes first in the block of a thread: its number; the address of what is shared; that of the stack's own room
for the input; the table that gets the address of each row of the input, how many rows, and how far apart, in bytes;
where the output goes, its size, and where it is made in each turn; the counters of the barriers, for each turn and
layer; and how many layers there are."""

LAYER = ("function", "turn0", "turn1")
"""What follows for each layer: the addresses of its function and of its block in each turn."""


def emit_stack(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`, which runs one step of all layers."""
    f = Function(module, name, target, bits)
    b = f.builder
    words = {word: f.argument(k) for k, word in enumerate(WORDS)}
    shared = b.inttoptr(words["shared"], POINTER)
    x, turn = (b.load(f.at(shared, k, I64), typ=I64) for k in range(len(SHARED)))
    is_second = b.icmp_signed("!=", turn, I64(0))
    table = b.inttoptr(words["table"], POINTER)
    with f.loop(0, words["rows"]) as row:
        b.store(f.plus(x, f.times(row, words["pitch"])), f.at(table, row, I64))

    kind = ir.FunctionType(ir.VoidType(), [POINTER]).as_pointer()
    with f.loop(0, words["layers"]) as k:
        layer = f.at(f.block, f.plus(f.times(k, len(LAYER)), len(WORDS)), I64)
        function, *turns = (b.load(f.at(layer, n, I64), typ=I64) for n in range(len(LAYER)))
        block = b.select(is_second, turns[1], turns[0])
        b.call(b.inttoptr(function, kind), [b.inttoptr(block, POINTER)])

    with b.if_then(b.icmp_signed("==", words["part"], I64(0))):
        _copy(f, b.select(is_second, words["new1"], words["new0"]), words["y"], words["size"])
        next_turn = b.sub(I64(1), turn)
        b.store(words["own"], f.at(shared, SHARED.index("x"), I64))
        b.store(next_turn, f.at(shared, SHARED.index("turn"), I64))
        # Others may still look at this turn's counters.
        counters = f.at(b.inttoptr(words["barriers"], POINTER), f.times(next_turn, words["layers"]), I64)
        with f.loop(0, words["layers"]) as k:
            b.store(I64(0), f.at(counters, k, I64))
    f.finish()


def _copy(f: Function, source: ir.Value, goal: ir.Value, size: ir.Value) -> None:
    b = f.builder
    source, goal = b.inttoptr(source, POINTER), b.inttoptr(goal, POINTER)
    with f.loop(0, size, f.vectors.lanes) as first:
        mask = f.first_lanes(b.sub(size, first))
        f.store(f.load(f.at(source, first), mask), f.at(goal, first), mask)
