"""Beam search: the most probable sequences, kept side by side."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from selfloop.decoding.sampling import S, StepModel
from selfloop.errors import ArgumentError


@dataclass(frozen=True)
class Hypothesis:
    """One sequence that beam search found.

    Attributes:
        tokens: without the end token.
        log_probability: of the sequence given its prompt, in nats, the end token included.
        score: what hypotheses are ranked by.
    """

    tokens: list[int]
    log_probability: float
    score: float


@torch.inference_mode()
def beam_search(
    model: StepModel[S],
    logits: Float[Tensor, "B V"],
    state: S,
    *,
    max_tokens: int,
    beam: int = 5,
    length_penalty: float = 0.0,
    end: int | None = None,
) -> list[list[Hypothesis]]:
    """For each prompt, up to `beam` hypotheses, the best first.

    Args:
        model: gives the next logits.
        logits: of the first new token, after each prompt.
        state: after each prompt.
        max_tokens: how many tokens a hypothesis has at the most, at least 1; without an end by then it stands as it is.
        beam: how many hypotheses are kept at each step, at least 1.
        length_penalty: the log-probability is divided by ((5 + length) / 6) ** length_penalty (Wu et al. 2016, eq. 14),
            the end token counted; 0 ranks by probability, more favours longer sequences.
        end: the token that ends a sequence; None for sequences that go on to max_tokens.

    Raises:
        ArgumentError: `beam` or `max_tokens` is below 1.
    """
    if beam < 1 or max_tokens < 1:
        raise ArgumentError(f"The 'beam' and 'max_tokens' must be at least 1. Got {beam} and {max_tokens} instead.")
    prompts, vocabulary = logits.shape
    state = state.select(torch.arange(prompts, device=logits.device).repeat_interleave(beam))
    logits = logits.repeat_interleave(beam, dim=0)
    # All beams of a prompt are the same at first: only the first may be continued.
    scores = torch.full((prompts, beam), -torch.inf, dtype=torch.float64, device=logits.device)
    scores[:, 0] = 0
    tokens = torch.zeros(prompts, beam, 0, dtype=torch.long, device=logits.device)
    finished: list[list[Hypothesis]] = [[] for _ in range(prompts)]
    searched = list(range(prompts))  # the prompts that may still find something better

    for length in range(1, max_tokens + 1):
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # bfloat16 is too coarse for a sum
        # Twice the beam, since at most one continuation of each hypothesis is its end; of a hypothesis as many at most.
        most, tokens_of = logits.topk(min(2 * beam, vocabulary))
        log_p = most.double() - logits.logsumexp(-1, keepdim=True).double()
        candidates = (scores.view(-1, 1) + log_p).view(len(searched), -1)  # prompts, beam · their continuations
        best, where = candidates.topk(min(2 * beam, candidates.shape[1]))
        parent, token = where // most.shape[1], tokens_of.view(len(searched), -1).gather(1, where)
        ended = token == end if end is not None else torch.zeros_like(token, dtype=torch.bool)
        for p, k in ended.nonzero().tolist():
            if k < beam and best[p, k] > -torch.inf:
                found = _hypothesis(tokens[p, parent[p, k]], best[p, k], length, length_penalty)
                finished[searched[p]].append(found)
        scores, kept = best.masked_fill(ended, -torch.inf).topk(beam)
        parent, token = parent.gather(1, kept), token.gather(1, kept)
        tokens = torch.cat([tokens.gather(1, parent[:, :, None].expand_as(tokens)), token[:, :, None]], dim=2)
        if length == max_tokens:
            break
        longest = max_tokens if length_penalty > 0 else length
        going = [
            p
            for p, alive in enumerate(scores.amax(dim=1).tolist())
            if _may_find_better(finished[searched[p]], beam, alive / _penalty(longest, length_penalty))
        ]
        searched = [searched[p] for p in going]
        if not searched:
            break
        at = torch.tensor(going, device=logits.device)
        scores, tokens = scores[at], tokens[at]
        logits, state = model.step(token[at].flatten(), state.select((at[:, None] * beam + parent[at]).flatten()))

    for p, prompt in enumerate(searched):
        for k in range(beam):
            if scores[p, k] > -torch.inf:
                finished[prompt].append(_hypothesis(tokens[p, k], scores[p, k], tokens.shape[2], length_penalty))
    return [sorted(found, key=lambda h: -h.score)[:beam] for found in finished]


def _penalty(length: int, length_penalty: float) -> float:
    return float(((5 + length) / 6) ** length_penalty)


def _hypothesis(tokens: Tensor, log_probability: Tensor, length: int, length_penalty: float) -> Hypothesis:
    value = float(log_probability)
    return Hypothesis(tokens.tolist(), value, value / _penalty(length, length_penalty))


def _may_find_better(found: list[Hypothesis], beam: int, possible: float) -> bool:
    """Whether what the best of a prompt's beams can become beats one of the `beam` that are to be given."""
    best = sorted((h.score for h in found), reverse=True)[:beam]
    return possible > -torch.inf and (len(best) < beam or best[-1] < possible)
