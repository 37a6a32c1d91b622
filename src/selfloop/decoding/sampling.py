"""Greedy decoding and sampling, a token at a time, for a batch of sequences."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfloop.errors import ArgumentError

Own = TypeVar("Own")


@runtime_checkable
class DecodingState(Protocol):
    """What decoding needs of a state: of a `State`, and of a decoder's with its memory."""

    def select(self: Own, rows: Int[Tensor, " N"]) -> Own:
        """The sequences `rows`, in that order; a row may come several times, as beams need."""


S = TypeVar("S", bound=DecodingState)


@runtime_checkable
class StepModel(Protocol[S]):
    """What decoding needs of a model."""

    def step(self, tokens: Int[Tensor, " B"], state: S) -> tuple[Float[Tensor, "B V"], S]:
        """The logits of the next token after these, and the new state."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the logits.

    Attributes:
        temperature: the logits are divided by it, at least 0; 0 is greedy decoding, the most probable token.
        top_k: only the k most probable tokens can be drawn, at least 1 (Fan et al. 2018).
        top_p: only the most probable tokens whose probabilities reach p together can be drawn, in (0, 1] (Holtzman et
            al. 2020).

    Raises:
        ArgumentError: a value lies outside its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ArgumentError(
                f"The 'temperature' must be at least 0, which is greedy. Got {self.temperature} instead."
            )
        if self.top_k is not None and self.top_k < 1:
            raise ArgumentError(f"The 'top_k' must be at least 1. Got {self.top_k} instead.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ArgumentError(f"The 'top_p' must be above 0 and at most 1. Got {self.top_p} instead.")

    def probabilities(self, logits: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """What each token is drawn with; one token has all of it when greedy.

        >>> Sampling(top_k=2).probabilities(torch.tensor([[2.0, 2.0, 1.0]]))
        tensor([[0.5000, 0.5000, 0.0000]])
        """
        if self.temperature == 0:
            return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
        least = torch.finfo(logits.dtype).tiny  # what is smaller may become 0 in the tensor's dtype
        # Divided after the largest is taken off, so that a small temperature cannot overflow.
        logits = (logits - logits.amax(-1, keepdim=True)) / max(self.temperature, least)
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            kept = logits.topk(self.top_k, dim=-1)
            logits = torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)
        probabilities = logits.softmax(-1)
        if self.top_p is None or self.top_p == 1:
            return probabilities
        ordered, order = probabilities.sort(stable=True, dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        ordered = ordered.masked_fill(before >= max(self.top_p, least), 0)
        return torch.zeros_like(probabilities).scatter(-1, order, ordered / ordered.sum(-1, keepdim=True))

    def draw(self, logits: Float[Tensor, "B V"], generator: torch.Generator | None = None) -> Int[Tensor, " B"]:
        """One token a row."""
        if self.temperature == 0:
            return logits.argmax(-1)
        return torch.multinomial(self.probabilities(logits.float()), 1, generator=generator)[:, 0]


def generate(
    model: StepModel[S],
    logits: Float[Tensor, "B V"],
    state: S,
    *,
    max_tokens: int,
    sampling: Sampling = Sampling(),
    end: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]]:
    """Draw token after token.

    Args:
        model: gives the next logits.
        logits: of the first new token, after each prompt.
        state: after each prompt.
        max_tokens: how many tokens at the most.
        sampling: how a token is drawn.
        end: the token after which a sequence is over; None for sequences without an end.
        generator: the source of randomness, for results that can be repeated.

    Yields:
        At each step the new tokens, and which sequences were still going before it; the tokens of the others mean
        nothing. It stops when all are over.
    """
    going = torch.ones(logits.shape[0], dtype=torch.bool, device=logits.device)
    for left in reversed(range(max_tokens)):
        with torch.inference_mode():  # not around the loop: at the yield the caller's code runs
            tokens = sampling.draw(logits, generator)
        yield tokens, going
        if end is not None:
            going = going & (tokens != end)
            if not going.any():
                return
        if left:
            with torch.inference_mode():
                logits, state = model.step(tokens, state)
