"""The dropouts of recurrent networks that lie outside the recurrence."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from selfloop.errors import ArgumentError
from selfloop.kernels.dropout import dropout
from selfloop.layers.typed_call import typed_as


def check_rate(name: str, rate: object) -> float:
    """The rate, if it is a number in [0, 1).

    Raises:
        ArgumentError: it is not.
    """
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise ArgumentError(f"The '{name}' must be a share of at least 0 and below 1. Got {rate!r} instead.")
    return float(rate)


class Dropout(nn.Dropout):
    """As torch's, with draws that a counter makes on the CPU: fourteen times as fast where there are many numbers, the
    same bits for any number of threads, reproducible with `torch.manual_seed`.

    >>> Dropout(0.5)(torch.ones(2, 3)).unique().tolist() in ([0.0, 2.0], [0.0], [2.0])
    True
    """

    def forward(self, input: Tensor) -> Tensor:
        """The input, with some elements off; the same input when not training."""
        if not self.training or self.p == 0:
            return input
        return super().forward(input) if self.inplace else dropout(input, self.p)


class VariationalDropout(nn.Module):
    """Dropout with one mask for all steps of a sequence (Gal & Ghahramani 2016; "locked" in Merity et al. 2018).

    Args:
        rate: the share of the features that are zeroed while training; the others grow by 1 / (1 - rate).

    >>> out = VariationalDropout(0.5)(torch.ones(3, 2, 4))
    >>> bool((out[0] == out[2]).all())
    True
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = check_rate("rate", rate)

    def forward(self, x: Float[Tensor, "T B N"]) -> Float[Tensor, "T B N"]:
        """The sequence, with some features off at all steps; the same sequence when not training."""
        if not self.training or self.rate == 0:
            return x
        return x * dropout(torch.ones_like(x[:1]), self.rate)

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:
            """As `forward`."""

    def extra_repr(self) -> str:
        """The rate, for printing."""
        return f"rate={self.rate}"


class EmbeddingDropout(nn.Module):
    """An embedding that drops whole words, each type with one mask a batch (Gal & Ghahramani 2016, section 4.2).

    Args:
        embedding: the table.
        rate: the share of the types whose vectors are zeroed while training; the others grow by 1 / (1 - rate).
    """

    def __init__(self, embedding: nn.Embedding, rate: float) -> None:
        super().__init__()
        if not isinstance(embedding, nn.Embedding):
            raise ArgumentError(
                f"The 'embedding' of EmbeddingDropout must be an nn.Embedding. Got {type(embedding).__name__} instead."
            )
        self.embedding = embedding
        self.rate = check_rate("rate", rate)

    def forward(self, tokens: Tensor) -> Tensor:
        """The vectors of the tokens, of shape `(*tokens.shape, embedding_dim)`."""
        vectors: Tensor = self.embedding(tokens)
        if not self.training or self.rate == 0:
            return vectors
        kept = dropout(torch.ones(self.embedding.num_embeddings, device=vectors.device), self.rate)
        return vectors * kept[tokens][..., None].to(vectors.dtype)

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:
            """As `forward`."""
