"""What models return: logits, or the loss, for which the logits of all steps need never be held."""

from collections.abc import Callable
from typing import TypeAlias, TypeGuard

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from selfloop.kernels.cross_entropy import check_labels, linear_cross_entropy, of_logits
from selfloop.kernels.readout import linear
from selfloop.kernels.torch_internals import is_only_its_class

ReadOut: TypeAlias = Callable[[Tensor, nn.Module], Tensor]
"""What a model returns in place of its logits: made of what its readout would read, (..., K), and of the readout."""


def read_out(read: Float[Tensor, "... K"], readout: nn.Module, loss: ReadOut | None = None) -> Tensor:
    """The logits, (..., V), or what is returned in place of them.

    Args:
        read: what the readout reads.
        readout: of the model; kernels write the logits of one that is nothing but an `nn.Linear`.
        loss: what is returned in place of the logits.

    >>> import torch
    >>> read_out(torch.ones(7, 2, 32), nn.Linear(32, 65)).shape
    torch.Size([7, 2, 65])
    """
    if loss is not None:
        return loss(read, readout)
    if _is_linear(readout):
        return linear(read, readout.weight, readout.bias)
    logits: Tensor = readout(read)
    return logits


def _is_linear(readout: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether it is nothing but its weight and bias: no class of its own, no hook."""
    return type(readout) is nn.Linear and is_only_its_class(readout)


def cross_entropy(
    labels: Int[Tensor, "..."],
    where: Bool[Tensor, "..."] | None = None,
    *,
    class_weights: Float[Tensor, " V"] | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    divisor: float | int | None = None,
) -> ReadOut:
    """The cross-entropy of the logits at labels, as `linear_cross_entropy` has it.

    Args:
        labels: of each vector that is read, or of those that `where` has chosen.
        where: the vectors that have a label; all if None.
        class_weights: as for `linear_cross_entropy`, like the others.
        ignore_index: likewise.
        label_smoothing: likewise.
        divisor: likewise.

    >>> import torch
    >>> from selfloop import LanguageModel, cells
    >>> model = LanguageModel(65, cells.lstm, embedding_size=16, hidden_size=32)
    >>> tokens = torch.zeros(7, 2, dtype=torch.long)
    >>> loss, state = model(tokens, loss=cross_entropy(tokens))
    >>> loss.shape
    torch.Size([])
    """

    def loss(read: Tensor, readout: nn.Module) -> Tensor:
        rows = read.flatten(0, -2)
        if where is not None:  # by numbers torch gathers five times as fast as by a mask
            rows = rows.index_select(0, where.flatten().nonzero()[:, 0])
        flat, options = labels.flatten(), (ignore_index, label_smoothing, divisor)
        if not _is_linear(readout):
            logits = readout(rows)
            check_labels(flat, logits.shape[-1], ignore_index)
            return of_logits(logits, flat, class_weights, *options)
        return linear_cross_entropy(
            rows,
            readout.weight,
            readout.bias,
            flat,
            class_weights=class_weights,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            divisor=divisor,
        )

    return loss
