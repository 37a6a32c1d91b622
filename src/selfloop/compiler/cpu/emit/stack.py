"""`stack`: one time step of several layers, for streaming. It is what runs between Python and the layers' kernels.

From step to step three things change: the address of the input, which of two sets of states is the old one, and so
where the output is. They are kept in memory and updated here, so that Python calls with blocks that never change.
"""

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.vectors import POINTER
from selfloop.compiler.cpu.targets import Target

STACK_SHARED = ("x", "turn")
"""What all threads read, and the first thread updates after the step.

    x       the address of the input; after the step, that of the stack's own input buffer
    turn    0 or 1: which set of states is the old one
"""

STACK_HEADER = (
    *("part", "shared", "own_x", "x_table", "rows", "pitch"),
    *("y", "y_size", "new0", "new1", "barriers", "layers"),
)
"""The argument block of a thread starts with these numbers.

    part            its number
    shared          the address of what is shared
    own_x           the address of the stack's own input buffer
    x_table, rows   the table that gets the address of each row of the input, and the number of rows
    pitch           the bytes from one row of the input to the next
    y, y_size       where the output is copied to, and its number of elements
    new0, new1      where the last layer puts its output in each turn
    barriers        the counters of the barriers: for each turn, one for each layer
    layers          the number of layers
"""

STACK_LAYER = ("function", "turn0", "turn1")
"""Then, for each layer: the address of its kernel, and that of its argument block in each turn."""


def emit_stack(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`, which runs one step of all layers."""
    f = Function(module, name, target, bits)
    b = f.builder
    header = {key: f.argument(k) for k, key in enumerate(STACK_HEADER)}
    shared = b.inttoptr(header["shared"], POINTER)
    x, turn = (b.load(f.at(shared, k, f.index), typ=f.index) for k in range(len(STACK_SHARED)))
    is_second = b.icmp_signed("!=", turn, f.index(0))
    table = b.inttoptr(header["x_table"], POINTER)
    with f.loop(0, header["rows"]) as row:
        b.store(f.plus(x, f.times(row, header["pitch"])), f.at(table, row, f.index))

    kernel = ir.FunctionType(ir.VoidType(), [POINTER]).as_pointer()
    with f.loop(0, header["layers"]) as k:
        layer = f.at(f.block, f.plus(f.times(k, len(STACK_LAYER)), len(STACK_HEADER)), f.index)
        function, *turns = (b.load(f.at(layer, n, f.index), typ=f.index) for n in range(len(STACK_LAYER)))
        block = b.select(is_second, turns[1], turns[0])
        b.call(b.inttoptr(function, kernel), [b.inttoptr(block, POINTER)])

    with b.if_then(b.icmp_signed("==", header["part"], f.index(0))):
        _copy(f, b.select(is_second, header["new1"], header["new0"]), header["y"], header["y_size"])
        next_turn = b.sub(f.index(1), turn)
        b.store(header["own_x"], f.at(shared, STACK_SHARED.index("x"), f.index))
        b.store(next_turn, f.at(shared, STACK_SHARED.index("turn"), f.index))
        # The counters of this turn may still be read by other threads, so those of the next are set to zero.
        counters = f.at(b.inttoptr(header["barriers"], POINTER), f.times(next_turn, header["layers"]), f.index)
        with f.loop(0, header["layers"]) as k:
            b.store(f.index(0), f.at(counters, k, f.index))
    f.finish()


def _copy(f: Function, source: ir.Value, to: ir.Value, size: ir.Value) -> None:
    b = f.builder
    source, to = b.inttoptr(source, POINTER), b.inttoptr(to, POINTER)
    with f.loop(0, size, f.vectors.lanes) as first:
        mask = f.first_lanes(b.sub(size, first))
        f.store(f.load(f.at(source, first), mask), f.at(to, first), mask)
