"""Many to one: a sequence goes in, one answer comes out."""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from selfloop.language import Cell
from selfloop.layers.read_out import ReadOut, read_out
from selfloop.layers.typed_call import typed_as
from selfloop.models.pooling import Pooling
from selfloop.models.sequence_model import SequenceModel


class ManyToOne(SequenceModel):
    """Encoder, recurrent stack, pooling over the steps and readout.

    Args:
        encoder: from the inputs (T, B, …) to vectors (T, B, I); its ``output_size`` is I.
        cell: the recurrence.
        num_outputs: how many numbers the answer has, such as one logit a class.
        pooling: as in `Pooling`.
        options: as of `ManyToMany`: ``hidden_size``, ``num_layers``, ``bidirectional`` and so on.

    Raises:
        ArgumentError: an argument does not fit.

    >>> from selfloop import cells
    >>> from selfloop.models import NumberEncoder
    >>> model = ManyToOne(NumberEncoder(3), cells.gru, num_outputs=5, hidden_size=16)
    >>> model(torch.zeros(9, 2, 3), lengths=torch.tensor([9, 4])).shape
    torch.Size([2, 5])
    """

    def __init__(
        self, encoder: nn.Module, cell: Cell, num_outputs: int, *, pooling: str = "last", **options: Any
    ) -> None:
        super().__init__(encoder, cell, num_outputs, **options)
        size = self.rnn.output_size
        self.pooling = Pooling(pooling, size, size // 2 if self.rnn.bidirectional else size)

    def forward(
        self,
        inputs: Shaped[Tensor, "T B ..."],
        lengths: Int[Tensor, " B"] | None = None,
        loss: ReadOut | None = None,
    ) -> Float[Tensor, "..."]:
        """The answers.

        Args:
            inputs: what the encoder takes.
            lengths: how many steps each sequence has; all of them if None.
            loss: made of what is read out and returned in place of the answers, such as `cross_entropy` of `layers`.
        """
        y, _ = self._read(inputs, None, lengths)
        steps = torch.full((y.shape[1],), y.shape[0], device=y.device) if lengths is None else lengths
        read = self.output_dropout(self.pooling(y, steps))
        return read_out(read, self.readout, loss)

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:
            """As `forward`."""
