"""Scheduled sampling: to train on the model's own words, in two passes of one kernel each."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from selfloop.errors import ArgumentError


def scheduled_inputs(
    logits: Float[Tensor, "T B V"],
    target: Int[Tensor, "T B"],
    probability: float,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "T B"]:
    """The target with some of its tokens drawn from what the model would have written there.

    Bengio et al. (2015) choose at each step between the true last token and the model's. Here the model has read the
    true tokens in a first pass, and reads this mixture in a second (Mihaylova & Martins 2019, section 3), so that
    each pass runs over whole sequences. No gradient flows through the choice.

    Args:
        logits: of the first pass, those of the token after each of the target's.
        target: the inputs of the first pass; the start tokens, its first row, are never replaced.
        probability: of each token to be replaced, from 0 to 1; raised while training goes on.
        generator: the source of randomness, for results that can be repeated.

    Raises:
        ArgumentError: the probability lies outside its range.

    >>> certain = torch.tensor([[[0.0, 9e9, 0.0]], [[0.0, 0.0, 9e9]]])  # 1 after the first, 2 after the second
    >>> scheduled_inputs(certain, torch.tensor([[0], [0]]), probability=1.0)
    tensor([[0],
            [1]])
    """
    if not 0 <= probability <= 1:
        raise ArgumentError(
            f"The 'probability' of scheduled_inputs must lie between 0 and 1. Got {probability} instead."
        )
    p = logits[:-1].detach().float().softmax(-1)
    if not p.numel():
        return target
    drawn = torch.multinomial(p.flatten(0, 1), 1, generator=generator).view(p.shape[:2])
    replaced = torch.rand(drawn.shape, device=p.device, generator=generator) < probability
    return torch.cat([target[:1], torch.where(replaced, drawn, target[1:])])
