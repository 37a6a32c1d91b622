"""Object files: the kernels of a cell for any processor, without this one having a say."""

from collections.abc import Mapping

from selfloop.compiler.cpu.build import object_file
from selfloop.compiler.cpu.kernels import compile
from selfloop.compiler.cpu.targets import Target
from selfloop.language.graph import Graph


def emit_object(
    graph: Graph, sizes: Mapping[str, int], target: Target, bits: int = 32, kernels: tuple[str, ...] = ("infer",)
) -> bytes:
    r"""The kernels of a cell as a relocatable object file: ELF, or WebAssembly's form of it.

    Each kernel is a function ``void NAME(intptr_t *block)`` of the kernel's name, which calls no library and needs no
    unwind tables. The argument block is that of `KernelLayout.arguments`.

    Args:
        graph: the cell.
        sizes: the number of each of its named sizes, as ``{"x": 64, "h": 128}``.
        target: the processor's family.
        bits: of an element, 32 or 64.
        kernels: which, of `infer`, `train`, `back`, `project`, `input_gradient`.

    Raises:
        BackendError: the target cannot do what the cell asks for.

    >>> from selfloop import cells
    >>> from selfloop.compiler import emit_object, named_target
    >>> emit_object(cells.lstm.graph, {"x": 3, "h": 8}, named_target("neon"))[:4]
    b'\x7fELF'
    """
    own = compile(graph, sizes, bits, target, most_rows=1, hoist_above=None)
    return object_file(target, own.emit(*kernels))
