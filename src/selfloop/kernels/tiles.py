"""Whether products in bfloat16 can be made here."""

import ctypes
import platform
import sys
from functools import lru_cache

from selfloop.compiler import targets
from selfloop.errors import BackendError

_ARCH_PRCTL, _REQUEST, _TILES = 158, 0x1023, 18


@lru_cache(maxsize=1)
def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies tiles of bfloat16 and the system, once asked, lets this process.

    Linux keeps room for the tiles of a process only if it has asked with arch_prctl(ARCH_REQ_XCOMP_PERM).
    """
    try:
        target = targets.host()
    except BackendError:
        return False
    if not targets.multiplies_bfloat16(target) or not sys.platform.startswith("linux"):
        return False
    return platform.machine() == "x86_64" and ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILES) == 0
