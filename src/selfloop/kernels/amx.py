"""Whether this process may use AMX tiles, which multiply bfloat16."""

import ctypes
import platform
import sys
from functools import lru_cache

from selfloop import compiler
from selfloop.errors import BackendError

_ARCH_PRCTL, _REQUEST, _TILES = 158, 0x1023, 18


@lru_cache(maxsize=1)
def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies tiles of bfloat16 and the system, once asked, lets this process.

    Linux saves the tiles of a process only if it has asked with arch_prctl(ARCH_REQ_XCOMP_PERM).
    """
    try:
        target = compiler.host_target()
    except BackendError:
        return False
    if not compiler.multiplies_bfloat16(target) or not sys.platform.startswith("linux"):
        return False
    return platform.machine() == "x86_64" and ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILES) == 0
