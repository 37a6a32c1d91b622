"""Many to one to many: a sequence is read, and another is written about it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from selfloop.errors import ArgumentError
from selfloop.language import Cell
from selfloop.layers import Recurrent, State
from selfloop.layers.dropout import Dropout, check_rate
from selfloop.layers.read_out import ReadOut
from selfloop.layers.typed_call import typed_as
from selfloop.models.bridge import Bridge
from selfloop.models.decoder import Decoder, DecoderState


class EncoderDecoder(nn.Module):
    """A bidirectional encoder, a bridge, and a decoder with attention (Sutskever et al. 2014; Luong et al. 2015).

    The encoder's directions have half of `hidden_size` each, so that its outputs are as wide as the decoder's and any
    attention fits.

    Args:
        source_vocab_size: how many types the source's vocabulary has.
        target_vocab_size: how many the target's has.
        cell: the recurrence of both.
        embedding_size: features of a token's vector.
        hidden_size: the decoder's ``h``, even.
        num_layers: how many cells stand on one another, in the encoder and in the decoder.
        attention: ``"dot"``, ``"general"`` or ``"additive"``, as in `Attention`; None for none, where all that is
            known of the source passes through the first state.
        input_feeding: as in `Decoder`: the last attentional vector is part of the input. Training then goes step by
            step as well.
        shared_embedding: source and target are of one vocabulary and have one table.
        tied: the readout uses the target's table (Press & Wolf 2017).
        input_dropout: dropout on the vectors.
        hidden_dropout: dropout between layers.
        output_dropout: dropout before the readout.
        sizes: a number for each further size that the cell names.
        backend: as in `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    A model steps as decoding asks for, so a translation is found by beam search:

    >>> import torch
    >>> from selfloop import cells
    >>> from selfloop.decoding import beam_search
    >>> model = EncoderDecoder(50, 65, cells.lstm, embedding_size=16, hidden_size=32)
    >>> source, lengths, start = torch.ones(9, 2, dtype=torch.long), torch.tensor([9, 4]), torch.tensor([1, 1])
    >>> model(source, torch.ones(7, 2, dtype=torch.long), lengths).shape
    torch.Size([7, 2, 65])
    >>> logits, state = model.step(start, model.encode(source, lengths))
    >>> [len(found) for found in beam_search(model, logits, state, max_tokens=3, beam=4, end=2)]
    [4, 4]
    """

    def __init__(
        self,
        source_vocab_size: int,
        target_vocab_size: int,
        cell: Cell,
        *,
        embedding_size: int,
        hidden_size: int,
        num_layers: int = 1,
        attention: str | None = "general",
        input_feeding: bool = False,
        shared_embedding: bool = False,
        tied: bool = False,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        output_dropout: float = 0.0,
        sizes: Mapping[str, int] | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        counts = {
            "source_vocab_size": source_vocab_size,
            "target_vocab_size": target_vocab_size,
            "embedding_size": embedding_size,
        }
        for name, number in counts.items():
            if number < 1:
                raise ArgumentError(f"The '{name}' of EncoderDecoder must be at least 1. Got {number} instead.")
        if hidden_size < 2 or hidden_size % 2:
            raise ArgumentError(
                "The 'hidden_size' of EncoderDecoder must be even and at least 2, since each direction of the encoder "
                f"has half of it. Got {hidden_size} instead."
            )
        if shared_embedding and source_vocab_size != target_vocab_size:
            raise ArgumentError(
                "The 'shared_embedding' of EncoderDecoder needs one vocabulary for source and target. "
                f"Got {source_vocab_size} and {target_vocab_size} types instead."
            )
        own_sizes: dict[str, Any] = {**(sizes or {})}
        self.source_embedding = nn.Embedding(source_vocab_size, embedding_size)
        self.input_dropout = Dropout(check_rate("input_dropout", input_dropout))
        self.encoder = Recurrent(
            cell,
            embedding_size,
            hidden_size // 2,
            num_layers,
            dropout=hidden_dropout,
            bidirectional=True,
            backend=backend,
            **own_sizes,
        )
        self.decoder = Decoder(
            target_vocab_size,
            cell,
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            memory_size=self.encoder.output_size,
            attention=attention,
            input_feeding=input_feeding,
            tied=tied,
            embedding=self.source_embedding if shared_embedding else None,
            input_dropout=input_dropout,
            hidden_dropout=hidden_dropout,
            output_dropout=output_dropout,
            sizes=sizes,
            backend=backend,
        )
        both = _by_layer(self.encoder.zero_state(1))
        self.bridge = Bridge({name: t.shape[-1] for name, t in both.items()}, self.decoder.rnn)

    def forward(
        self,
        source: Int[Tensor, "S B"],
        target: Int[Tensor, "T B"],
        source_lengths: Int[Tensor, " B"] | None = None,
        target_lengths: Int[Tensor, " B"] | None = None,
        where: Bool[Tensor, "T B"] | None = None,
        loss: ReadOut | None = None,
    ) -> Float[Tensor, "*steps"]:
        """The logits of the token after each of the target's, which starts with the start token (teacher forcing).

        Args:
            source: indices below source_vocab_size.
            target: indices below target_vocab_size.
            source_lengths: how many steps each source has, zero allowed; all of them if None.
            target_lengths: how many steps each target has; all of them if None. Logits beyond mean nothing.
            where: the N steps to give logits of, then (N, V), in the order of time; all, (T, B, V), if None.
            loss: made of what is read out and returned in place of the logits, such as `cross_entropy` of `layers`.

        Raises:
            ArgumentError: lengths do not fit.
        """
        logits: Tensor = self.decoder(target, self.encode(source, source_lengths), target_lengths, where, loss)[0]
        return logits

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:
            """As `forward`."""

    def encode(self, source: Int[Tensor, "S B"], lengths: Int[Tensor, " B"] | None = None) -> DecoderState:
        """Read the sources: what `step` starts from.

        Args:
            source: indices below source_vocab_size.
            lengths: how many steps each source has, zero allowed; all of them if None.

        Raises:
            ArgumentError: lengths do not fit.
        """
        memory, state = self.encoder(self.input_dropout(self.source_embedding(source)), lengths=lengths)
        return self.decoder.start(self.bridge(_by_layer(state)), memory, lengths)

    def step(self, tokens: Int[Tensor, " B"], state: DecoderState) -> tuple[Float[Tensor, "B V"], DecoderState]:
        """The logits of the next token, one step at a time, and the new state."""
        return self.decoder.step(tokens, state)

    def attention_weights(
        self,
        source: Int[Tensor, "S B"],
        target: Int[Tensor, "T B"],
        source_lengths: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "T B S"]:
        """What of the source is attended to where the token after each of the target's is chosen: a picture's rows.

        Raises:
            ArgumentError: the model has no attention, or lengths do not fit.
        """
        return self.decoder.attention_weights(target, self.encode(source, source_lengths))

    @property
    def rnn(self) -> Recurrent:
        """The recurrent stack that writes."""
        return self.decoder.rnn

    @property
    def vocab_size(self) -> int:
        """How many types the target's vocabulary has."""
        return self.decoder.vocab_size

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained; a shared table counts once."""
        return sum(p.numel() for p in self.parameters())


def _by_layer(state: State) -> dict[str, Tensor]:
    """Of a bidirectional stack, both directions side by side: (layers, B, 2 · size)."""
    return {
        name: t.flatten(2).unflatten(0, (-1, 2)).transpose(1, 2).flatten(2)  # layers · 2, B, size
        for name, t in state.tensors.items()
    }
