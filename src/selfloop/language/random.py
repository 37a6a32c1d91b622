"""The random draws of cells: a counter-based generator, so that every kernel draws the same bits, and can again.

Element j of stream s, at step t of row b, is 1 where

    mix(mix(mix(mix(seed + STREAM (s + 1)) ^ (t + 1)) ^ ROW (b + 1)) ^ ELEMENT (j + 1)) >> 8  <  rate 2^24

in unsigned 32-bit arithmetic, with `mix` the finaliser of MurmurHash3 (Appleby 2011); where one draw serves the whole
sequence, the mix of t is left out. Steps and rows are counted in the layout that the user gave.
"""

STREAM, ROW, ELEMENT = 0x9E3779B9, 0x85EBCA77, 0xC2B2AE3D

MIX = ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1))
"""The rounds of `mix`: word = (word ^ (word >> shift)) * factor, for each shift and factor."""


def threshold(rate: float) -> int:
    """What the upper 24 bits of a word are compared with."""
    return int(rate * 2**24)
