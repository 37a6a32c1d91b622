"""The processors that object files are made for, by the names that their users know.

Each row is a family of `cpu.targets` with what differs in object files: an object must run on every processor of its
name, so that it has no feature beside those of the name.
"""

from dataclasses import replace
from functools import cache

import llvmlite.binding as llvm

from selfloop.compiler.cpu.targets import Target, found
from selfloop.compiler.cpu.targets import host as host_family
from selfloop.compiler.cpu.targets import named as family

_V2 = replace(
    family("sse2"),
    name="x86-64-v2",
    about="x86-64 of 2009 and later, for Linux: SSE4.2",
    features=("sse4.2", "popcnt", "cx16", "sahf"),
    has_rounding=True,
    prefetch=2048,
)
_V3 = replace(
    family("avx2"),
    name="x86-64-v3",
    about="x86-64 of 2013 and later, for Linux: AVX2 and FMA",
    features=(*_V2.features, "avx2", "fma", "bmi", "bmi2", "f16c", "lzcnt", "movbe"),
    prefetch=2048,
)
_V4 = replace(
    family("avx512"),
    name="x86-64-v4",
    about="x86-64 with AVX-512, for Linux",
    features=(*_V3.features, *(f"avx512{part}" for part in ("f", "bw", "cd", "dq", "vl"))),
    prefetch=2048,
)
_WINDOWS = "x86_64-pc-windows-gnu"

OBJECT_TARGETS: tuple[Target, ...] = (
    _V4,
    _V3,
    _V2,
    replace(family("neon"), name="aarch64", about="64-bit Arm, for Linux: servers, Raspberry Pi"),
    replace(family("rv64gcv"), about="64-bit RISC-V with the extension V, for Linux"),
    replace(family("rv64gc"), about="64-bit RISC-V, for Linux"),
    replace(
        family("rv64gc"),
        name="rv32imafc",
        about="32-bit RISC-V microcontrollers with single-precision floats (ilp32f)",
        triple="riscv32-unknown-none-elf",
        features=("m", "a", "f", "c"),
        abi="ilp32f",
        index_bits=32,
        has_float64=False,
        has_threads=False,
    ),
    replace(family("cortex-m55"), about="Arm Cortex-M55, M85: vectors of MVE (Helium)"),
    replace(
        family("cortex-m7"),
        about="Arm Cortex-M7, with an FPU of single or double precision",
        options=("-fp64",),
        has_float64=False,
    ),
    replace(
        family("cortex-m4f"),
        name="cortex-m33",
        about="Arm Cortex-M33, M35P with an FPU",
        triple="thumbv8m.main-unknown-none-eabihf",
        features=("fp-armv8d16sp",),
        cpu="cortex-m33",
        has_rounding=True,
    ),
    replace(family("cortex-m4f"), name="cortex-m4", about="Arm Cortex-M4 with an FPU (M4F)"),
    replace(
        family("neon"),
        name="apple-arm64",
        about="Macs and iPhones of 64-bit Arm (Mach-O)",
        triple="arm64-apple-macosx11.0.0",
        cpu="apple-m1",
    ),
    replace(_V3, name="apple-x86-64-v3", about="Macs of Intel with AVX2 (Mach-O)", triple="x86_64-apple-macosx11.0.0"),
    replace(_V3, name="windows-x86-64-v3", about="Windows on x86-64 of 2013 and later (COFF)", triple=_WINDOWS),
    replace(_V2, name="windows-x86-64", about="Windows on x86-64 of 2009 and later (COFF)", triple=_WINDOWS),
    replace(family("wasm32"), about="WebAssembly with SIMD, for the linkers of clang and Emscripten"),
)
"""Of one architecture and system the widest first."""


def target_table() -> dict[str, str]:
    """What each target is, in a line, by its name.

    >>> target_table()["cortex-m4"]
    'Arm Cortex-M4 with an FPU (M4F)'
    """
    return {target.name: target.about for target in OBJECT_TARGETS}


def object_target(name: str) -> Target:
    """The target of this name.

    Raises:
        BackendError: there is none.
    """
    return found(name, OBJECT_TARGETS)


def host_object_target() -> Target:
    """The target of this processor and system: the widest whose features it has."""
    return _host(host_family())


def is_of_host(target: Target) -> bool:
    """Whether object files of a target run in this process."""
    has = llvm.get_host_cpu_features()
    is_here = _system(target.triple) == _system(llvm.get_default_triple())
    return is_here and all(has.get(feature) for feature in target.features)


@cache
def _host(own: Target) -> Target:
    fitting = (t for t in OBJECT_TARGETS if is_of_host(t) and t.vector_bytes <= own.vector_bytes)
    return next(fitting, own)


def _system(triple: str) -> tuple[str, str]:
    """The architecture and the system of a triple."""
    architecture = triple.partition("-")[0].replace("arm64", "aarch64")
    return architecture, next((name for name in ("apple", "windows", "linux") if name in triple), "")
