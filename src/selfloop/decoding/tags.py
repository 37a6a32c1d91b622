"""Tags of spans: the most probable sequence in which each span begins before it continues."""

import functools
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def is_begun(before: str | None, tag: str | None) -> bool:
    """Whether a tag may follow another: I-KIND and E-KIND follow B-KIND or I-KIND alone; None may be any tag.

    >>> is_begun("B-city", "I-city"), is_begun("O", "I-city"), is_begun("O", "B-city"), is_begun(None, "I-city")
    (True, False, True, True)
    """
    if before is None or tag is None or tag[:2] not in ("I-", "E-"):
        return True
    return before in (f"B-{tag[2:]}", f"I-{tag[2:]}")


def are_begun(sentences: Iterable[Sequence[str | None]]) -> bool:
    """Whether all spans of sentences begin before they continue, so that what a model predicts shall too.

    >>> are_begun([["O", "B-city", "I-city"]]), are_begun([["O", "I-city", "I-city"]])
    (True, False)
    """
    return all(is_begun(*pair) for tags in sentences for pair in zip(["O", *tags], tags, strict=False))


def best_tags(logits: Float[Tensor, "T K"], tags: Sequence[str]) -> Int[Tensor, " T"]:
    """The most probable sequence of tags whose spans all begin before they continue (Viterbi 1967), by number.

    Args:
        logits: of each tag at each step, T of one at least.
        tags: the K tags.

    >>> best_tags(torch.tensor([[2.0, 1.5, 0.0], [0.0, 0.0, 2.0]]), ["O", "B-city", "I-city"])
    tensor([1, 2])
    """
    first, later = _forbidden(tuple(tags))
    first, later = first.to(logits), later.to(logits)
    score, *others = logits.log_softmax(-1)
    score, best_before = score + first, list[Tensor]()
    for step in others:
        score, before = (score[:, None] + later).max(0)
        score = score + step
        best_before.append(before)
    path = [int(score.argmax())]
    for before in reversed(best_before):
        path.append(int(before[path[-1]]))
    return torch.tensor(path[::-1], device=logits.device)


@functools.lru_cache(maxsize=8)
def _forbidden(tags: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """What is added to the scores of tags: -inf where one may not be the first, (K,), or not follow another, (K, K)."""
    allowed = torch.tensor([[is_begun(before, tag) for tag in tags] for before in ("O", *tags)])
    scores = torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)
    return scores[0], scores[1:]
