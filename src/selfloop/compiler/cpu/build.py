"""LLVM -> machine code: in this process, by way of the cache on disk; or as an object file, for any processor."""

import gc
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import llvmlite.binding as llvm
from llvmlite import ir

from selfloop.compiler.cpu import cache
from selfloop.compiler.cpu.targets import Target, host

Emit = Callable[[ir.Module], None]
"""What writes functions into a module."""

_OWN_MEMORY_MANAGER = True if sys.platform == "linux" else None
"""Whether llvmlite's memory manager holds the code, in one block. LLVM's own may put constants, and the table of
functions from elsewhere, more than 2 GB from the code, which then cannot address them, and LLVM aborts. None, on
platforms where this was not tried, is llvmlite's choice."""


class Code:
    """Functions of machine code, and their addresses. They stay as long as this object."""

    def __init__(self, engine: llvm.ExecutionEngine) -> None:
        self._engine = engine
        self._known: dict[str, int] = {}

    def address(self, name: str) -> int:
        """Where a function starts."""
        if name not in self._known:
            self._known[name] = int(self._engine.get_function_address(name))
        return self._known[name]


def build(
    key: str,
    target: Target,
    emit: Emit,
    called: Iterable[tuple[str, Emit]] = (),
    patience: AbstractContextManager[None] | None = None,
) -> Code:
    """Machine code for this processor.

    Args:
        key: what the functions are, so that they need not be emitted again where the cache has them.
        target: the processor's family.
        emit: what writes them.
        called: keys of the functions that they call, and what writes those.
        patience: entered while something is compiled.
    """
    patience = patience or nullcontext()
    objects = [_object(own, target, write, patience) for own, write in ((key, emit), *called)]
    return _in_process(objects, _machine(llvm.get_process_triple(), *_processor(target)))


def _object(key: str, target: Target, emit: Emit, patience: AbstractContextManager[None]) -> bytes:
    """An object file for this processor, from the cache or made now."""
    name = hashlib.sha256("\n".join((key, *_surroundings(target))).encode()).hexdigest()
    code = cache.load(name)
    if code is None:
        with patience:
            triple = llvm.get_process_triple()
            machine = _machine(triple, *_processor(target))
            code = bytes(machine.emit_object(_optimised(machine, triple, emit)))
        cache.store(name, code)
    return code


def of_object(code: bytes) -> Code:
    """An object file for this processor, in this process."""
    return _in_process([code], _machine(llvm.get_process_triple(), *_processor(host())))


def _in_process(objects: Iterable[bytes], machine: llvm.TargetMachine) -> Code:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=_OWN_MEMORY_MANAGER)
    for code in objects:
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Code(engine)


def object_file(target: Target, emit: Emit, passes: Sequence[str] | None = None) -> bytes:
    """The functions as a relocatable object file for any processor of the target's family.

    It depends on nothing of this processor, and calls no library.

    Args:
        target: the processor's family.
        emit: what writes them.
        passes: of LLVM; None for those of kernels.
    """
    machine = _machine_of(target)
    optimised = _optimised(machine, target.triple, emit, is_freestanding=True, names=passes or _PASSES)
    return bytes(machine.emit_object(optimised))


def assembly(target: Target, emit: Emit) -> str:
    """The functions of `object_file` as assembly."""
    machine = _machine_of(target)
    return str(machine.emit_assembly(_optimised(machine, target.triple, emit, is_freestanding=True)))


def llvm_ir(target: Target, emit: Emit) -> str:
    """The functions as LLVM's assembly, before LLVM has optimised them."""
    with _collector_paused():
        return str(_module(target.triple, emit))


def _module(triple: str, emit: Emit) -> ir.Module:
    module = ir.Module("selfloop")
    module.triple = triple
    emit(module)
    return module


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Without Python's garbage collector. A module is thousands of objects that are all in use, and going over them
    again and again takes four fifths of the time in which they are made.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _optimised(
    machine: llvm.TargetMachine, triple: str, emit: Emit, is_freestanding: bool = False, names: Sequence[str] = ()
) -> llvm.ModuleRef:
    with _collector_paused():
        module = _module(triple, emit)
        module.data_layout = str(machine.target_data)
        if is_freestanding:
            for function in module.functions:
                if not function.is_declaration:  # else LLVM makes calls of memset of some loops
                    set.add(function.attributes, '"no-builtins"')  # which llvmlite does not know
        else:  # memset is called by way of the table of addresses, whose size is known before it is filled
            module.add_named_metadata("llvm.module.flags", [ir.IntType(32)(7), "RtLibUseGOT", ir.IntType(32)(1)])
        text = str(module)
    parsed = llvm.parse_assembly(text)
    parsed.verify()
    passes = llvm.create_new_module_pass_manager()
    for name in names or _PASSES:
        getattr(passes, f"add_{name}_pass")()
    passes.run(parsed, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    return parsed


_PASSES = ("simplify_cfg", "instruction_combine", "new_gvn", "instruction_combine", "simplify_cfg")
"""LLVM's passes. Its pipeline -O2 takes three times as long, and its code is no faster: kernels are emitted in SSA,
unrolled and vectorised."""


def _machine(triple: str, cpu: str, features: str, abi: str = "") -> llvm.TargetMachine:
    _initialize()
    found = llvm.Target.from_triple(triple)
    return found.create_target_machine(cpu=cpu, features=features, opt=2, reloc="pic", codemodel="default", abiname=abi)


@lru_cache(maxsize=1)
def _initialize() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def _machine_of(target: Target) -> llvm.TargetMachine:
    features = ",".join([*(f"+{feature}" for feature in target.features), *target.options])
    return _machine(target.triple, target.cpu, features, target.abi)


@lru_cache(maxsize=8)
def _surroundings(target: Target) -> tuple[str, ...]:
    """What machine code in this process depends on beside what is emitted."""
    return repr(target), *_versions(), *_processor(target)


def _processor(target: Target) -> tuple[str, str]:
    features = llvm.get_host_cpu_features().flatten()
    return llvm.get_host_cpu_name(), ",".join(part for part in (features, *target.options) if part)


@lru_cache(maxsize=1)
def _versions() -> tuple[str, ...]:
    """What the machine code depends on beside its key: the compilers, ours by its text."""
    own = hashlib.sha256()
    for package in ("compiler", "language"):
        for path in sorted((Path(__file__).parents[2] / package).rglob("*.py")):
            own.update(path.read_bytes())
    return version("llvmlite"), ".".join(map(str, llvm.llvm_version_info)), own.hexdigest()
