"""How the C library keeps memory that torch has freed."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)


def keep_freed_memory() -> None:
    """Tell glibc to keep large blocks that are freed; elsewhere do nothing.

    By default it returns blocks above 32 MB to the kernel and takes them anew at every update, page by page: on a
    language model of 10,000 words, whose logits are such a block, that was a quarter of the time (121 s an epoch of
    Penn Treebank instead of 90).
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl has none
            libc.mallopt(_MMAP_MAX, 0)
            libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
