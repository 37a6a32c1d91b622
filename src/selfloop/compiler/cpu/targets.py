"""What a processor offers, as data: all that the code generator asks about it.

A row of TARGETS is a family of processors. Adding one is adding a row: the tests then compile every kernel for it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import llvmlite.binding as llvm

from selfloop.errors import BackendError, nearest

MOST_ROWS = 8
"""Of a register tile."""

GEMV_ROWS = 4
"""The vectors that a matrix multiplies at a time where it lies. They share what is read, which for one alone takes as
long as the multiplications."""

GEMV_COLUMNS = 8
"""Vectors of results that such products have at a time: as many cache lines, side by side, are read of a row of a
matrix that is multiplied transposed (the backward step of an RNN of 256 units takes 82 µs with 4, 47 with 8 or 16)."""


@dataclass(frozen=True)
class Intrinsic:
    """An instruction that LLVM does not choose by itself.

    Attributes:
        name: of LLVM's intrinsic.
        operands: what it takes, in order: the name of an operand, a number (an int32), or `lanes`, a mask with all of
            its bits set, one for each lane.
    """

    name: str
    operands: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class PairProducts:
    """How a processor multiplies numbers that are rounded to bfloat16, two adjacent ones of a sum at a time.

    Attributes:
        features: those of LLVM that it takes.
        depth: the elements that a sum is padded to a multiple of.
        has_tiles: whether it multiplies tiles of AMX; else vectors of pairs, as an FMA multiplies vectors of numbers.
    """

    features: tuple[str, ...]
    depth: int = 2
    has_tiles: bool = False


@dataclass(frozen=True, eq=False)
class Target:
    """A family of processors.

    Attributes:
        name: how it is called here.
        about: what it is, in a line; of what object files are made for.
        triple: LLVM's, for object files; kernels for this process use the process's own.
        features: those of LLVM that it has, of which the processor of this process must have all to be of this family.
        options: what LLVM is told beside them.
        cpu: LLVM's name of a processor whose scheduling is assumed in object files; empty for a generic one.
        abi: LLVM's name of the calling convention where a triple has several.
        vector_bytes: the width of a vector register. One element, where it has no vectors.
        registers: the number of vector registers.
        columns: the most vectors of outputs that a register tile has.
        index_bits: the width of an address, and of the numbers in an argument block.
        prefetch: how many bytes ahead of the weights of a step its memory is asked for; 0 for never.
        has_fma: whether it multiplies and adds with one rounding.
        has_rounding: whether it has an instruction that rounds to whole numbers.
        has_float64: whether it computes in float64.
        has_threads: whether several threads can share a kernel, and meet at a barrier.
        bfloat16: the ways in which some of the family multiply bfloat16, the fastest first.
        intrinsics: the instructions that LLVM does not choose by itself, by what they do and the bits of an element.
    """

    name: str
    triple: str
    features: tuple[str, ...]
    vector_bytes: int
    registers: int
    columns: int
    options: tuple[str, ...] = ()
    about: str = ""
    cpu: str = ""
    abi: str = ""
    index_bits: int = 64
    prefetch: int = 0
    has_fma: bool = True
    has_rounding: bool = True
    has_float64: bool = True
    has_threads: bool = True
    bfloat16: tuple[PairProducts, ...] = ()
    intrinsics: Mapping[str, Intrinsic] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        """The first part of the triple, such as x86_64."""
        return self.triple.partition("-")[0]

    def lanes(self, element_bytes: int) -> int:
        """How many elements of this size a vector has."""
        return max(1, self.vector_bytes // element_bytes)

    def rows(self, columns: int) -> int:
        """How many rows of so many accumulators the registers hold, beside a vector of weights for each column."""
        return max(1, min(MOST_ROWS, (self.registers - columns - 2) // columns))


TILE_ROWS, TILE_DEPTH = 16, 32
"""A product of AMX is of 16 rows by 16 columns, over 32 elements at a time."""

_AMX = {
    "tile_config": Intrinsic("llvm.x86.ldtilecfg"),
    "tile_release": Intrinsic("llvm.x86.tilerelease"),
    "tile_zero": Intrinsic("llvm.x86.tilezero"),
    "tile_load": Intrinsic("llvm.x86.tileloadd64"),
    "tile_store": Intrinsic("llvm.x86.tilestored64"),
    "tile_multiply": Intrinsic("llvm.x86.tdpbf16ps"),
}

TARGETS = (
    Target(
        name="avx512",
        triple="x86_64-unknown-linux-gnu",
        features=("avx512f", "avx512dq", "avx512bw", "avx512vl", "fma"),
        options=("-prefer-256-bit",),
        vector_bytes=64,
        registers=32,
        columns=4,
        bfloat16=(
            PairProducts(("amx-tile", "amx-bf16", "avx512bf16"), TILE_DEPTH, has_tiles=True),
            PairProducts(("avx512bf16",)),
        ),
        intrinsics={
            "reciprocal32": Intrinsic("llvm.x86.avx512.rcp14.ps.512", ("x", "x", "all_lanes")),
            "scale32": Intrinsic("llvm.x86.avx512.mask.scalef.ps.512", ("x", "n", "x", "all_lanes", 4)),
            "scale64": Intrinsic("llvm.x86.avx512.mask.scalef.pd.512", ("x", "n", "x", "all_lanes", 4)),
            "pair_products32": Intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", ("c", "a", "b")),
            "rounded_both32": Intrinsic("llvm.x86.avx512bf16.cvtne2ps2bf16.512", ("b", "a")),
            **_AMX,
        },
    ),
    Target(
        name="avx2",
        triple="x86_64-unknown-linux-gnu",
        features=("avx2", "fma"),
        options=("-avx512f",),
        vector_bytes=32,
        registers=16,
        columns=2,
    ),
    Target(
        name="sse2",
        triple="x86_64-unknown-linux-gnu",
        features=("sse2",),
        options=("-avx",),
        vector_bytes=16,
        registers=16,
        columns=2,
        has_fma=False,
        has_rounding=False,
    ),
    Target(
        name="neon",
        triple="aarch64-unknown-linux-gnu",
        features=("neon",),
        vector_bytes=16,
        registers=32,
        columns=4,
        # bfdot takes the same pairs as vdpbf16ps; bfmmla would take squares of two rows, and weights in another order.
        bfloat16=(PairProducts(("bf16",)),),
        intrinsics={"pair_products32": Intrinsic("llvm.aarch64.neon.bfdot.v4f32.v8bf16", ("c", "a", "b"))},
    ),
    Target(
        name="rv64gcv",
        triple="riscv64-unknown-linux-gnu",
        features=("m", "a", "f", "d", "c", "v"),
        abi="lp64d",
        vector_bytes=16,  # which every processor with the extension V has at least
        registers=32,
        columns=4,
        has_rounding=False,
    ),
    Target(
        name="rv64gc",
        triple="riscv64-unknown-linux-gnu",
        features=("m", "a", "f", "d", "c"),
        abi="lp64d",
        vector_bytes=4,
        registers=32,
        columns=4,
        has_rounding=False,
    ),
    Target(
        name="wasm32",
        triple="wasm32-unknown-unknown",
        features=("simd128",),
        vector_bytes=16,
        registers=16,
        columns=2,
        index_bits=32,
        has_fma=False,
        has_threads=False,
    ),
    Target(
        name="cortex-m55",
        triple="thumbv8.1m.main-unknown-none-eabihf",
        features=("mve.fp",),
        cpu="cortex-m55",
        vector_bytes=16,
        registers=8,
        columns=1,
        index_bits=32,
        has_float64=False,
        has_threads=False,
    ),
    Target(
        name="cortex-m7",
        triple="thumbv7em-unknown-none-eabihf",
        features=("fp-armv8d16",),
        cpu="cortex-m7",
        vector_bytes=4,
        registers=32,
        columns=4,
        index_bits=32,
        has_threads=False,
    ),
    Target(
        name="cortex-m4f",
        triple="thumbv7em-unknown-none-eabihf",
        features=("vfp4d16sp",),
        cpu="cortex-m4",
        vector_bytes=4,
        registers=32,
        columns=4,
        index_bits=32,
        has_rounding=False,
        has_float64=False,
        has_threads=False,
    ),
)
"""Of one architecture the widest first."""

AnyTarget = TypeVar("AnyTarget", bound=Target)

VARIABLE = "SELFLOOP_TARGET"
"""The environment variable that names a narrower target than the processor's own."""


def host() -> Target:
    """The target of this processor.

    Raises:
        BackendError: no target fits, or the one that SELFLOOP_TARGET names.
    """
    return _host(os.environ.get(VARIABLE))


@cache
def _host(wanted: str | None) -> Target:
    architecture = llvm.get_default_triple().partition("-")[0].replace("arm64", "aarch64")
    has = llvm.get_host_cpu_features()
    fitting = [t for t in TARGETS if t.architecture == architecture and all(has.get(f) for f in t.features)]
    for target in fitting:
        if wanted in (None, "", target.name):
            return target
    if wanted:
        names = ", ".join(t.name for t in fitting) or "none"
        raise BackendError(f"{VARIABLE} must be one of {names} on this processor. Got '{wanted}' instead.")
    raise BackendError(f"There is no target for this processor ({architecture}).")


def named(name: str) -> Target:
    """The target of this name, which need not be this processor's.

    Raises:
        BackendError: there is none.
    """
    return found(name, TARGETS)


def found(name: str, targets: Sequence[AnyTarget]) -> AnyTarget:
    """The one of these targets that has this name; a BackendError names those that there are."""
    for target in targets:
        if target.name == name:
            return target
    names = [target.name for target in targets]
    raise BackendError(f"There is no target '{name}'{nearest(name, names) or '; there are ' + ', '.join(names) + '.'}")


def pair_products(target: Target) -> list[PairProducts]:
    """The ways in which this processor multiplies bfloat16, the fastest first."""
    has = llvm.get_host_cpu_features()
    return [way for way in target.bfloat16 if all(has.get(feature) for feature in way.features)]


def processor() -> str:
    """LLVM's name of this processor."""
    return str(llvm.get_host_cpu_name())
