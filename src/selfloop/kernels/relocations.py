"""Addresses that are known but for where a tensor lies: *base + offset*, with the base's number in the upper bits."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array

Numbers = Int[Array, " N"]

OFFSET_BITS = 48
"""Bits of a relocation's offset, its sign included. Base 0 is for plain numbers, which must be below 2^47 as the
addresses of user space are."""


class Split(NamedTuple):
    """Numbers as offsets and the indices of their bases."""

    offsets: Numbers
    bases: Int[Array, " N"]


def split(numbers: Numbers) -> Split:
    """Relocations and plain numbers as both."""
    bases = (numbers + (1 << OFFSET_BITS - 1)) >> OFFSET_BITS
    return Split(numbers - (bases << OFFSET_BITS), bases.astype(np.int32))
