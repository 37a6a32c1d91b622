"""A model as an object file of any processor."""

from collections.abc import Callable

from llvmlite import ir

from selfloop.compiler.cpu.build import Code, object_file, of_object
from selfloop.compiler.cpu.targets import Target, host
from selfloop.compiler.native.llvm import Llvm
from selfloop.compiler.native.model import Model, structs
from selfloop.compiler.native.weights import WeightLayout
from selfloop.compiler.native.write_model import ModelWriter

PASSES = ("sroa", "simplify_cfg", "instruction_combine", "new_gvn", "instruction_combine", "simplify_cfg")
"""LLVM's, for straight code that is vectorised already; variables become registers first."""


def native_object(
    model: Model, target: Target, show: Callable[[ir.Module], None] = lambda _: None
) -> tuple[bytes, WeightLayout]:
    """The functions of a model as a relocatable object file (ELF, Mach-O, COFF or WebAssembly's), and where its weights
    lie. It calls no library.

    Args:
        model: what is written.
        target: the processor's family.
        show: is called with LLVM's module.
    """
    layout = WeightLayout(model.form)

    def emit(module: ir.Module, floats: int = 0) -> None:
        ModelWriter(model, Llvm(module, target, structs(model, floats)), layout).write()
        show(module)

    if model.form != "f32":  # shorter weights lie behind the floats: how many, the first writing tells
        emit(ir.Module())
        first, layout = layout, WeightLayout(model.form)
        return object_file(target, lambda module: emit(module, first.floats), PASSES), layout
    return object_file(target, emit, PASSES), layout


def object_stack(model: Model, target: Target) -> int:
    """Bytes of stack that a call of any function of the object needs, at most."""
    writer = Llvm(ir.Module(), target, structs(model))
    ModelWriter(model, writer, WeightLayout(model.form)).write()
    return writer.stack.most


def data_object(name: str, content: bytes, target: Target) -> bytes:
    """Bytes as a constant of this name in an object file, aligned to 64."""

    def emit(module: ir.Module) -> None:
        kind = ir.ArrayType(ir.IntType(8), len(content))
        constant = ir.GlobalVariable(module, kind, name)
        constant.global_constant, constant.align = True, 64
        constant.initializer = ir.Constant(kind, bytearray(content))

    return object_file(target, emit)


def loaded(model: Model) -> tuple[Code, WeightLayout]:
    """The functions of a model in this process."""
    target = host()
    code, layout = native_object(model, target)
    return of_object(code), layout
