"""How this process multiplies numbers that are rounded to bfloat16."""

import ctypes
import platform
import sys
from functools import lru_cache

from selfloop import compiler
from selfloop.compiler import PairProducts
from selfloop.errors import BackendError

_ARCH_PRCTL, _REQUEST, _TILES = 158, 0x1023, 18


@lru_cache(maxsize=1)
def pair_products() -> PairProducts | None:
    """The fastest way that the processor has and the system lets this process take; None if there is none."""
    try:
        ways = compiler.pair_products(compiler.host_target())
    except BackendError:
        return None
    return next((way for way in ways if not way.has_tiles or _may_use_tiles()), None)


def _may_use_tiles() -> bool:
    """Whether the system, once asked, lets this process use AMX.

    Linux saves the tiles of a process only if it has asked with arch_prctl(ARCH_REQ_XCOMP_PERM).
    """
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return False
    return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILES) == 0)
