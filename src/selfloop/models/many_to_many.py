"""Many to many, step by step: an answer at each step of the input."""

from typing import TYPE_CHECKING

from jaxtyping import Float, Int, Shaped
from torch import Tensor

from selfloop.layers import State
from selfloop.layers.read_out import ReadOut, read_out
from selfloop.layers.typed_call import typed_as
from selfloop.models.sequence_model import SequenceModel


class ManyToMany(SequenceModel):
    """Encoder, recurrent stack and readout at every step.

    Args:
        encoder: from the inputs (T, B, …) to vectors (T, B, I); its ``output_size`` is I.
        cell: the recurrence.
        num_outputs: how many numbers an answer has, such as one logit a class.
        hidden_size: the cell's ``h``.
        num_layers: how many cells stand on one another.
        bidirectional: a second stack reads from the end, so an answer knows what comes after it; without it the model
            can `step`, with constant memory.
        input_dropout: dropout on the vectors.
        hidden_dropout: dropout between layers.
        output_dropout: dropout before the readout.
        sizes: a number for each further size that the cell names.
        backend: as in `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    >>> import torch
    >>> from selfloop import cells
    >>> from selfloop.models import NumberEncoder
    >>> model = ManyToMany(NumberEncoder(3), cells.lstm, num_outputs=5, hidden_size=16)
    >>> logits, state = model(torch.zeros(9, 2, 3), lengths=torch.tensor([9, 4]))
    >>> logits.shape, state
    (torch.Size([9, 2, 5]), State(h=(1, 2, 16), c=(1, 2, 16)))
    """

    def forward(
        self,
        inputs: Shaped[Tensor, "T B ..."],
        state: State | None = None,
        lengths: Int[Tensor, " B"] | None = None,
        loss: ReadOut | None = None,
    ) -> tuple[Float[Tensor, "..."], State]:
        """The answers at each step, and the state after the last.

        Args:
            inputs: what the encoder takes.
            state: where to start; zeros if None.
            lengths: how many steps each sequence has; all of them if None.
            loss: made of what is read out and returned in place of the answers, such as `cross_entropy` of `layers`.
        """
        y, state = self._read(inputs, state, lengths)
        read = self.output_dropout(y)
        return read_out(read, self.readout, loss), state

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:
            """As `forward`."""

    def step(self, inputs: Shaped[Tensor, "B ..."], state: State | None = None) -> tuple[Float[Tensor, "B K"], State]:
        """The answer to one more step of each sequence.

        Raises:
            ArgumentError: the stack is bidirectional.
        """
        y, state = self.rnn.step(self.encoder(inputs[None])[0], state)
        return read_out(y, self.readout), state
