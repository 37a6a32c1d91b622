"""From the outputs at every step to one vector: the last valid step, the mean, the largest, or a learned attention."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from selfloop.errors import check_one_of


def last(y: Tensor, lengths: Tensor, forward_size: int) -> Tensor:
    """Where each direction ends: forwards at the last valid step, backwards at the first."""
    end = y[(lengths - 1).clamp(min=0), torch.arange(y.shape[1], device=y.device), :forward_size]
    return torch.cat([end, y[0, :, forward_size:]], dim=-1) if forward_size < y.shape[-1] else end


def mean(y: Tensor, lengths: Tensor, forward_size: int) -> Tensor:
    """Over the valid steps; the outputs beyond are zero."""
    return y.sum(0) / lengths.clamp(min=1)[:, None]


def largest(y: Tensor, lengths: Tensor, forward_size: int) -> Tensor:
    """Of each feature over the valid steps."""
    highest = y.masked_fill(~_valid(y, lengths)[..., None], -torch.inf).amax(0)
    return torch.where((lengths > 0)[:, None], highest, 0.0)


POOLINGS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {"last": last, "mean": mean, "max": largest}


class Pooling(nn.Module):
    """One vector of a sequence's outputs.

    Args:
        kind: ``last``, ``mean``, ``max``, or ``attention``: a weighted mean whose weights are the softmax over the
            steps of u · tanh(W y + b) (Yang et al. 2016, eq. 5 to 7).
        size: features of an output, of both directions.
        forward_size: how many of them are of the forward direction.

    Raises:
        ArgumentError: there is no such kind.

    >>> Pooling("mean", size=2, forward_size=2)(torch.ones(3, 1, 2), torch.tensor([3]))
    tensor([[1., 1.]])
    """

    def __init__(self, kind: str, size: int, forward_size: int) -> None:
        super().__init__()
        check_one_of(kind, (*POOLINGS, "attention"), "The 'kind' of Pooling")
        self.kind, self.forward_size = kind, forward_size
        if kind == "attention":
            self.score = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1, bias=False))

    def forward(self, y: Float[Tensor, "T B H"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B H"]:
        """The vectors.

        Args:
            y: the outputs, zero beyond each sequence's end.
            lengths: how many steps each sequence has; one without any gives zeros.
        """
        if self.kind != "attention":
            return POOLINGS[self.kind](y, lengths, self.forward_size)
        scores = self.score(y)[..., 0].masked_fill(~_valid(y, lengths), torch.finfo(y.dtype).min)
        return torch.einsum("tb,tbh->bh", scores.softmax(0), y)

    def extra_repr(self) -> str:
        """The kind, for printing."""
        return self.kind


def _valid(y: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(y.shape[0], device=y.device)[:, None] < lengths
