"""What `ManyToOne` and `ManyToMany` share: a sequence is encoded, and read by a recurrent stack."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from selfloop.errors import ArgumentError
from selfloop.language import Cell
from selfloop.layers import Recurrent, State
from selfloop.layers.dropout import Dropout, check_rate


class SequenceModel(nn.Module):
    """Encoder, recurrent stack and readout; when there is an answer is for those who derive from it to say.

    Args:
        encoder: from the inputs (T, B, …) to vectors (T, B, I); its ``output_size`` is I.
        cell: the recurrence.
        num_outputs: how many numbers an answer has, such as one logit a class.
        hidden_size: the cell's ``h``.
        num_layers: how many cells stand on one another.
        bidirectional: a second stack reads from the end.
        input_dropout: dropout on the vectors.
        hidden_dropout: dropout between layers.
        output_dropout: dropout before the readout.
        sizes: a number for each further size that the cell names.
        backend: as in `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.
    """

    def __init__(
        self,
        encoder: nn.Module,
        cell: Cell,
        num_outputs: int,
        *,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        output_dropout: float = 0.0,
        sizes: Mapping[str, int] | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if num_outputs < 1:
            raise ArgumentError(
                f"The 'num_outputs' of {type(self).__name__} must be at least 1. Got {num_outputs} instead."
            )
        own_sizes: dict[str, Any] = {**(sizes or {})}
        self.encoder = encoder
        self.input_dropout = Dropout(check_rate("input_dropout", input_dropout))
        self.rnn = Recurrent(
            cell,
            int(encoder.output_size),  # type: ignore[arg-type]
            hidden_size,
            num_layers,
            dropout=hidden_dropout,
            bidirectional=bidirectional,
            backend=backend,
            **own_sizes,
        )
        self.output_dropout = Dropout(check_rate("output_dropout", output_dropout))
        self.readout = nn.Linear(self.rnn.output_size, num_outputs)

    def _read(
        self, inputs: Shaped[Tensor, "T B ..."], state: State | None, lengths: Int[Tensor, " B"] | None
    ) -> tuple[Float[Tensor, "T B H"], State]:
        """The outputs of the stack at each step, and its state after the last."""
        y, after = self.rnn(self.input_dropout(self._encoded(inputs, lengths)), state, lengths=lengths)
        return y, after

    def _encoded(self, inputs: Shaped[Tensor, "T B ..."], lengths: Int[Tensor, " B"] | None) -> Float[Tensor, "T B I"]:
        """The vectors of all steps; beyond a sequence's end nothing is seen, so no batch statistics know of it.

        In an exported graph all is seen, since it has no batch statistics, and no sizes that depend on numbers.
        """
        if lengths is None or torch.compiler.is_exporting():
            vectors: Tensor = self.encoder(inputs)
            return vectors
        there = torch.arange(len(inputs), device=inputs.device)[:, None] < lengths.to(inputs.device)
        rows = there.flatten().nonzero()[:, 0]  # by which torch gathers five times as fast as by a mask
        seen: Tensor = self.encoder(inputs.flatten(0, 1).index_select(0, rows)[:, None])[:, 0]
        return seen.new_zeros(there.numel(), seen.shape[-1]).index_copy(0, rows, seen).view(*there.shape, -1)
