"""What cells draw: bits that are a function of a seed and a place, so that every kernel draws the same, and twice.

A bit of the stream s, at the step t of row b and the element j, is

    mix(mix(mix(mix(seed + A (s + 1)) ^ (t + 1)) ^ B (b + 1)) ^ C (j + 1)) / 2^8  <  rate 2^24

in whole numbers modulo 2^32, with the finaliser `mix` of MurmurHash3 (Appleby 2011); without the mix of t where one
draw serves the sequence. Steps and rows are those of the layout that the user gave.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from selfloop.compiler.emit.random import ELEMENT, MIX, ROW, STREAM

_WORD = 0xFFFFFFFF


def bernoulli(
    seed: Int[Tensor, ""], rate: float, stream: int, per_step: bool, steps: int, batch: int, size: int
) -> Bool[Tensor, "T B N"]:
    """1 with the probability `rate`, else 0."""
    word = _mix(seed + STREAM * (stream + 1) & _WORD).view(1, 1, 1)
    if per_step:
        word = _mix(word ^ torch.arange(1, steps + 1, device=seed.device)[:, None, None])
    word = _mix(word ^ (ROW * torch.arange(1, batch + 1, device=seed.device) & _WORD)[:, None])
    word = _mix(word ^ (ELEMENT * torch.arange(1, size + 1, device=seed.device) & _WORD))
    return (word >> 8 < int(rate * 2**24)).expand(steps, -1, -1)


def _mix(word: Tensor) -> Tensor:
    for shift, factor in MIX:
        word = (word ^ (word >> shift)) * factor & _WORD
    return word
