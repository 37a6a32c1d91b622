"""Many to one: a sequence goes in, one answer comes out."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from selfloop.errors import ArgumentError
from selfloop.language import Cell
from selfloop.layers import Recurrent
from selfloop.layers.dropout import check_rate
from selfloop.models.pooling import Pooling


class ManyToOne(nn.Module):
    """Encoder, recurrent stack, pooling over the steps and readout.

    Args:
        encoder: from the inputs (T, B, …) to vectors (T, B, I); its ``output_size`` is I.
        cell: the recurrence.
        num_outputs: how many numbers the answer has, such as one logit a class.
        hidden_size: the cell's ``h``.
        num_layers: how many cells stand on one another.
        bidirectional: a second stack reads from the end.
        pooling: as in `Pooling`.
        input_dropout, hidden_dropout, output_dropout: dropout on the vectors, between layers, and before the readout.
        sizes: a number for each further size that the cell names.
        backend: as in `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    >>> from selfloop import cells
    >>> from selfloop.models import NumberEncoder
    >>> model = ManyToOne(NumberEncoder(3), cells.gru, num_outputs=5, hidden_size=16)
    >>> model(torch.zeros(9, 2, 3), lengths=torch.tensor([9, 4])).shape
    torch.Size([2, 5])
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
        pooling: str = "last",
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        output_dropout: float = 0.0,
        sizes: Mapping[str, int] | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if num_outputs < 1:
            raise ArgumentError(f"The 'num_outputs' of ManyToOne must be at least 1. Got {num_outputs} instead.")
        own_sizes: dict[str, Any] = {**(sizes or {})}
        self.encoder = encoder
        self.input_dropout = nn.Dropout(check_rate("input_dropout", input_dropout))
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
        size = self.rnn.output_size
        self.pooling = Pooling(pooling, size, size // 2 if bidirectional else size)
        self.output_dropout = nn.Dropout(check_rate("output_dropout", output_dropout))
        self.readout = nn.Linear(size, num_outputs)

    def forward(
        self, inputs: Shaped[Tensor, "T B ..."], lengths: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B K"]:
        """The answers.

        Args:
            inputs: what the encoder takes.
            lengths: how many steps each sequence has; all of them if None.
        """
        y, _ = self.rnn(self.input_dropout(self.encoder(inputs)), lengths=lengths)
        steps = torch.full((y.shape[1],), y.shape[0], device=y.device) if lengths is None else lengths
        answers: Tensor = self.readout(self.output_dropout(self.pooling(y, steps)))
        return answers
