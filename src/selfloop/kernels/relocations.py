"""Addresses that are known but for where a tensor lies: *base + offset*, with the base's number in the upper bits."""

from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array

Numbers = Int[Array, " N"]
One = TypeVar("One", int, Numbers)

OFFSET_BITS = 48
"""Bits of a relocation's offset, its sign included. Base 0 is for plain numbers, which must be below 2^47 as the
addresses of user space are."""


class Split(NamedTuple):
    """Numbers as offsets and the indices of their bases."""

    offsets: Numbers
    bases: Int[Array, " N"]


def split_one(number: One) -> tuple[One, One]:
    """The offset and the base of a relocation or a plain number; of an array of them, two arrays."""
    base = (number + (1 << OFFSET_BITS - 1)) >> OFFSET_BITS
    return number - (base << OFFSET_BITS), base


def split(numbers: Numbers) -> Split:
    """Those of an array, as `patch` reads them."""
    offsets, bases = split_one(numbers)
    return Split(offsets, bases.astype(np.int32))
