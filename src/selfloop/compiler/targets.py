"""What a processor offers, as data: everything that the emitter asks of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import llvmlite.binding as llvm

from selfloop.errors import BackendError


@dataclass(frozen=True, eq=False)
class Target:
    """A family of processors.

    Attributes:
        name: how it is called here.
        architecture: the first part of LLVM's triple.
        needs: the features of LLVM without which it is not this family.
        features: what LLVM is told beside them.
        vector_bytes: the width of a vector register.
        registers: how many vector registers there are.
        columns: how many vectors of outputs a tile of products holds at most.
        rounds: whether it has an instruction that rounds to whole numbers.
        bfloat16: the features of LLVM with which it multiplies tiles of bfloat16; none if it never does.
        intrinsics: the instructions that LLVM does not choose by itself, by what they do and the element's bits.
    """

    name: str
    architecture: str
    needs: tuple[str, ...]
    features: str
    vector_bytes: int
    registers: int
    columns: int
    rounds: bool = True
    bfloat16: tuple[str, ...] = ()
    intrinsics: Mapping[str, str] = field(default_factory=dict)

    def lanes(self, element_bytes: int) -> int:
        """How many elements of this size a vector holds."""
        return self.vector_bytes // element_bytes

    def rows(self, columns: int) -> int:
        """How many rows of so many vectors of sums the registers hold, beside a vector of weights for each column."""
        return min(8, (self.registers - columns - 2) // columns)


TARGETS = (
    Target(
        name="avx512",
        architecture="x86_64",
        needs=("avx512f", "avx512dq", "avx512bw", "avx512vl", "fma"),
        features="-prefer-256-bit",
        vector_bytes=64,
        registers=32,
        columns=4,
        bfloat16=("amx-tile", "amx-bf16", "avx512bf16"),
        intrinsics={
            "reciprocal32": "llvm.x86.avx512.rcp14.ps.512",
            "scale32": "llvm.x86.avx512.mask.scalef.ps.512",
            "scale64": "llvm.x86.avx512.mask.scalef.pd.512",
        },
    ),
    Target(
        name="avx2",
        architecture="x86_64",
        needs=("avx2", "fma"),
        features="-avx512f",
        vector_bytes=32,
        registers=16,
        columns=2,
        intrinsics={"reciprocal32": "llvm.x86.avx.rcp.ps.256"},
    ),
    Target(
        name="sse2",
        architecture="x86_64",
        needs=("sse2",),
        features="-avx",
        vector_bytes=16,
        registers=16,
        columns=2,
        rounds=False,
    ),
    Target(
        name="neon",
        architecture="aarch64",
        needs=("neon",),
        features="",
        vector_bytes=16,
        registers=32,
        columns=4,
    ),
)
"""The widest first."""

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
    fitting = [t for t in TARGETS if t.architecture == architecture and all(has.get(f) for f in t.needs)]
    for target in fitting:
        if wanted in (None, "", target.name):
            return target
    if wanted:
        names = ", ".join(t.name for t in fitting) or "none"
        raise BackendError(f"{VARIABLE} must be one of {names} on this processor. Got '{wanted}' instead.")
    raise BackendError(f"There is no target for this processor ({architecture}).")


def multiplies_bfloat16(target: Target) -> bool:
    """Whether this processor multiplies tiles of bfloat16."""
    has = llvm.get_host_cpu_features()
    return bool(target.bfloat16) and all(has.get(f) for f in target.bfloat16)


def processor() -> str:
    """What LLVM calls this processor."""
    return str(llvm.get_host_cpu_name())
