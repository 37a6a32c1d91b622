"""How object files of a target are linked and run here: by the own C compiler, or by a cross compiler and QEMU."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from selfloop.compiler import Target
from selfloop.compiler.native import is_of_host
from selfloop.exporting.native.templates import CORTEX_M_LINK, CORTEX_M_STARTUP

FLAGS = "-std=c99 -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math"
NATIVE = "-march=native"


@dataclass(frozen=True)
class Toolchain:
    """What makes a program of C and object files, and what runs it.

    Attributes:
        compiler: of C.
        flags: of it, beside `FLAGS`.
        runner: what the program's path is appended to; empty where the program runs by itself.
        files: of C and the linker, that a program needs beside its own, by name; those of C are compiled with it.
    """

    compiler: str = "cc"
    flags: str = ""
    runner: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Who runs it, for people."""
        return self.runner.partition(" ")[0].removesuffix("-static") or self.compiler

    @property
    def sources(self) -> tuple[str, ...]:
        """Its files of C."""
        return tuple(file for file in self.files if file.endswith(".c"))

    @property
    def missing(self) -> str | None:
        """The program that is not on this machine; None if none is missing."""
        needed = [self.compiler, *self.runner.split()[:1]]
        return next((program for program in needed if shutil.which(program) is None), None)


def _cortex_m(cpu: str, board: str, rom: int, ram: int, ram_bytes: int) -> Toolchain:
    """A board of QEMU's: where its code lies, and its variables."""
    places = " ".join(f"-Wl,--defsym={n}={v:#x}" for n, v in (("ROM", rom), ("RAM", ram), ("RAM_BYTES", ram_bytes)))
    return Toolchain(
        "arm-none-eabi-gcc",
        f"-mthumb -mcpu={cpu} -mfloat-abi=hard --specs=rdimon.specs -nostartfiles -T link.ld {places}",
        f"qemu-system-arm -M {board} -nographic -semihosting-config enable=on,target=native -kernel",
        {"startup.c": CORTEX_M_STARTUP, "link.ld": CORTEX_M_LINK},
    )


_RISCV = Toolchain("riscv64-linux-gnu-gcc", "-static", "qemu-riscv64-static")

EMULATED: Mapping[str, Toolchain] = {
    "aarch64": Toolchain("aarch64-linux-gnu-gcc", "-static", "qemu-aarch64-static"),
    "rv64gc": _RISCV,
    "rv64gcv": Toolchain(_RISCV.compiler, _RISCV.flags, f"{_RISCV.runner} -cpu rv64,v=true,vext_spec=v1.0"),
    "cortex-m4": _cortex_m("cortex-m4", "mps2-an386", 0, 0x20000000, 0x400000),
    "cortex-m7": _cortex_m("cortex-m7", "mps2-an500", 0, 0x20000000, 0x400000),
    "cortex-m33": _cortex_m("cortex-m33", "mps2-an505", 0x10000000, 0x38000000, 0x200000),
    "cortex-m55": _cortex_m("cortex-m55", "mps3-an547", 0x10000000, 0x30000000, 0x80000),
}
"""By the target's name. Debian's packages of them stand in .ci/run."""


def toolchain(target: Target) -> Toolchain | None:
    """What runs object files of a target; None where nothing does on a machine like this one."""
    return Toolchain(flags=NATIVE) if is_of_host(target) else EMULATED.get(target.name)
