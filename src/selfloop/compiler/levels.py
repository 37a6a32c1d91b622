"""`show`: what the compiler makes of a cell, at each level, as text."""

from collections.abc import Mapping

from selfloop.compiler.cpu import build, targets
from selfloop.compiler.cpu.kernels import compile
from selfloop.compiler.lower import Lowered, lower
from selfloop.compiler.lower.program import Program
from selfloop.compiler.lower.step import Step
from selfloop.errors import ArgumentError, check_one_of, together
from selfloop.language.cell import Cell

LEVELS = ("equations", "graph", "step", "program", "llvm", "assembly")
"""From the cell as it was written down to the processor's instructions."""

OF_A_TARGET = ("llvm", "assembly")
"""Those that differ between processors."""

DEFAULT_SIZE = 64
"""Of what is not given in `sizes`."""


def show(cell: Cell, level: str = "program", target: str | None = None, sizes: Mapping[str, int] | None = None) -> str:
    """What the compiler makes of a cell.

    Args:
        cell: the cell.
        level: `equations`; `graph`, one time step on vectors; `step`, with numbers for sizes, forward and backward;
            `program`, in loops; `llvm`, as emitted; `assembly`, for the processor.
        target: for which processor `llvm` and `assembly` are; by default this one.
        sizes: the number of the cell's named sizes, as ``{"x": 64, "h": 128}``; 64 for those that are left out.

    Raises:
        ArgumentError: there is no such level, the cell has no such size, or a target is given for a level without one.
        BackendError: there is no such target.

    >>> from selfloop import cells
    >>> print(show(cells.vanilla, "graph"))
    %0 = input x : x
    %1 = state h : h
    %2 = param W_xh : h × x
    %3 = param W_hh : h × h
    %4 = param b : h
    %5 = matmul %2, %0 : h
    %6 = matmul %3, %1 : h
    %7 = add %5, %6 : h
    %8 = add %7, %4 : h
    %9 = tanh %8 : h
    h = %9
    """
    if not isinstance(cell, Cell):
        raise ArgumentError(f"The 'cell' of show must be made by @selfloop.cell. Got {type(cell).__name__} instead.")
    check_one_of(level, LEVELS, "The 'level'")
    if target is not None and level not in OF_A_TARGET:
        raise ArgumentError(f"A 'target' is for the levels {together(OF_A_TARGET)}. Leave it out for '{level}'.")
    chosen, own = _sizes(cell, sizes or {}), targets.named(target) if target else None
    if level == "equations":
        return str(cell)
    if level == "graph":
        return cell.graph.listing()
    if level in ("step", "program"):
        return _listing(lower(cell.graph, chosen, None), level)
    own = own or targets.host()
    write = build.llvm_ir if level == "llvm" else build.assembly
    return write(own, compile(cell.graph, chosen, 32, own).emit(*_KERNELS))


_KERNELS = ("project", "infer", "train", "back", "input_gradient")


def _sizes(cell: Cell, given: Mapping[str, int]) -> dict[str, int]:
    numbers = dict.fromkeys(cell.sizes, DEFAULT_SIZE) | dict.fromkeys(cell.divisors, 1)
    numbers |= {"x": DEFAULT_SIZE, "h": DEFAULT_SIZE}
    for name in given:
        if name not in numbers:
            known = ", ".join(sorted(numbers))
            raise ArgumentError(f"The cell '{cell.name}' has no size '{name}'; its sizes are {known}.")
    numbers |= given
    return cell.bind(numbers.pop("x"), numbers.pop("h"), numbers)


def _listing(lowered: Lowered, level: str) -> str:
    parts: dict[str, Step | Program | None] = {
        "forward, for inference": lowered.infer,
        "forward, for training": lowered.train,
        "backward": lowered.back,
        "gradient of the input": lowered.input_gradient,
    }
    if level == "step":
        parts = {
            "forward; without residuals for inference": lowered.training,
            "backward": lowered.backward,
            "gradient of the input": lowered.input_gradient and lowered.input_gradient.step,
        }
    text = [f"# {title}\n{part}" for title, part in parts.items() if part]
    gradients = "\n".join(
        f"d{g.matrix} += cotangent {g.cotangent}[:{g.rows}] ⊗ {g.argument}[:{g.columns}]"
        for g in lowered.weight_gradients
    )
    return "\n\n".join([*text, f"# gradients of matrices, over all steps\n{gradients}"])
