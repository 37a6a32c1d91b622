"""What cells draw, in torch: the formula is that of `selfloop.language.random`."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from selfloop.language.random import ELEMENT, MIX, ROW, STREAM, threshold

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
    return (word >> 8 < threshold(rate)).expand(steps, -1, -1)


def _mix(word: Tensor) -> Tensor:
    for shift, factor in MIX:
        word = (word ^ (word >> shift)) * factor & _WORD
    return word
