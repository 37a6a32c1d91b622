"""LLVM -> machine code in this process, by way of the cache on disk."""

import hashlib
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import llvmlite.binding as llvm
from llvmlite import ir

from selfloop.compiler import cache
from selfloop.compiler.targets import Target

_IN_ONE_BLOCK = True if sys.platform == "linux" else None
"""Whether llvmlite's own memory holds the code. LLVM's may put constants, and the table of functions outside, more than
2 GB from the code: it cannot reach them, and aborts. None, on platforms where this was not tried, is llvmlite's choice.
"""


class Code:
    """Functions of machine code, and where they are. They stay as long as this object."""

    def __init__(self, engine: llvm.ExecutionEngine) -> None:
        self._engine = engine
        self._known: dict[str, int] = {}

    def address(self, name: str) -> int:
        """Where a function starts."""
        if name not in self._known:
            self._known[name] = int(self._engine.get_function_address(name))
        return self._known[name]


def build(key: str, target: Target, write: Callable[[ir.Module], None]) -> Code:
    """Machine code for what `write` writes; `key` says what that is, so that it need not be written again."""
    name = hashlib.sha256("\n".join((key, repr(target), *_versions(), *_processor(target))).encode()).hexdigest()
    machine = _machine(target)
    code = cache.load(name)
    if code is None:
        code = _compile(target, machine, write)
        cache.store(name, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=_IN_ONE_BLOCK)
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Code(engine)


def assembly(target: Target, write: Callable[[ir.Module], None], triple: str | None = None) -> str:
    """What `write` writes, as the assembly of a processor, which need not be this one."""
    machine = _machine(target, triple)
    return str(machine.emit_assembly(_optimised(machine, write)))


def _compile(target: Target, machine: llvm.TargetMachine, write: Callable[[ir.Module], None]) -> bytes:
    return bytes(machine.emit_object(_optimised(machine, write)))


def _optimised(machine: llvm.TargetMachine, write: Callable[[ir.Module], None]) -> llvm.ModuleRef:
    module = ir.Module("selfloop")
    module.triple = machine.triple
    # LLVM makes memset of some loops. Called by way of the table of addresses, whose room is known before it is made.
    use_table = [ir.IntType(32)(7), "RtLibUseGOT", ir.IntType(32)(1)]
    module.add_named_metadata("llvm.module.flags", use_table)
    write(module)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(parsed, builder)
    return parsed


def _machine(target: Target, triple: str | None = None) -> llvm.TargetMachine:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    cpu, features = _processor(target) if triple is None else ("", target.features)
    found = llvm.Target.from_triple(triple or llvm.get_process_triple())
    return found.create_target_machine(cpu=cpu, features=features, opt=2, reloc="pic", codemodel="default")


def _processor(target: Target) -> tuple[str, str]:
    features = llvm.get_host_cpu_features().flatten()
    return llvm.get_host_cpu_name(), ",".join(part for part in (features, target.features) if part)


@lru_cache(maxsize=1)
def _versions() -> tuple[str, ...]:
    """What the machine code depends on beside its key: the compilers, ours by its text."""
    own = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        own.update(path.read_bytes())
    return version("llvmlite"), ".".join(map(str, llvm.llvm_version_info)), own.hexdigest()
