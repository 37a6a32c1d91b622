"""The decoder that translation and captioning share: from tokens and what they are about to the next token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from selfloop.errors import ArgumentError
from selfloop.language import Cell
from selfloop.layers import Attention, Recurrent, State
from selfloop.layers.attention import Memory
from selfloop.layers.dropout import Dropout, check_rate
from selfloop.layers.read_out import ReadOut, read_out


@dataclass(frozen=True)
class DecoderState:
    """What a decoder knows between two tokens.

    Attributes:
        recurrent: of its recurrent stack.
        memory: what it attends to; None without attention.
        attentional: its last attentional vector, which is fed to the next step; None without input feeding.
    """

    recurrent: State
    memory: Memory | None = None
    attentional: Float[Tensor, "B A"] | None = None

    @property
    def batch_size(self) -> int:
        """The number of sequences."""
        return self.recurrent.batch_size

    def select(self, rows: Int[Tensor, " N"]) -> "DecoderState":
        """The sequences `rows`, in that order, each with its memory; a row may come several times, as beams need."""
        return DecoderState(
            self.recurrent.select(rows),
            None if self.memory is None else self.memory.select(rows),
            None if self.attentional is None else self.attentional[rows.to(self.attentional.device)],
        )


class Decoder(nn.Module):
    r"""Embedding, recurrent stack, attention and readout: $\log p(w_t \mid w_{<t}, \text{memory})$ at each step t.

    The attention comes after the recurrent pass, so a whole sequence runs in one kernel: the output h and the context
    c become the attentional vector $\tilde h = \tanh(W [c; h])$ (Luong et al. 2015, eq. 5), which is read out.

    Args:
        vocab_size: how many types the vocabulary has.
        cell: the recurrence.
        embedding_size: features of a token's vector.
        hidden_size: the cell's ``h``.
        num_layers: how many cells stand on one another.
        memory_size: features of a step of the memory; needed for attention.
        attention: ``"dot"``, ``"general"`` or ``"additive"``, as in `Attention`; None for none.
        input_feeding: the attentional vector is part of the next step's input, so what was attended to is known
            (Luong et al. 2015, section 3.3). Training then goes step by step as well.
        tied: the readout uses the embedding's table (Press & Wolf 2017).
        embedding: a table to share; a new one if None.
        input_dropout: dropout on the vectors.
        hidden_dropout: dropout between layers.
        output_dropout: dropout before the readout.
        sizes: a number for each further size that the cell names.
        backend: as in `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    >>> from selfloop import cells
    >>> decoder = Decoder(65, cells.gru, embedding_size=16, hidden_size=32, memory_size=8, attention="general")
    >>> state = decoder.start(decoder.rnn.zero_state(2), torch.zeros(5, 2, 8))
    >>> logits, state = decoder(torch.zeros(7, 2, dtype=torch.long), state)
    >>> logits.shape, state.recurrent
    (torch.Size([7, 2, 65]), State(h=(1, 2, 32)))
    """

    def __init__(
        self,
        vocab_size: int,
        cell: Cell,
        *,
        embedding_size: int,
        hidden_size: int,
        num_layers: int = 1,
        memory_size: int | None = None,
        attention: str | None = None,
        input_feeding: bool = False,
        tied: bool = False,
        embedding: nn.Embedding | None = None,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        output_dropout: float = 0.0,
        sizes: Mapping[str, int] | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        for name, number in (("vocab_size", vocab_size), ("embedding_size", embedding_size)):
            if number < 1:
                raise ArgumentError(f"The '{name}' of a decoder must be at least 1. Got {number} instead.")
        if input_feeding and attention is None:
            raise ArgumentError(
                "The 'input_feeding' of a decoder feeds back what its attention found. "
                "Choose attention='general', or leave it out."
            )
        if attention is not None and memory_size is None:
            raise ArgumentError("The 'memory_size' of a decoder with attention must be given. Got None instead.")
        own_sizes: dict[str, Any] = {**(sizes or {})}
        self.embedding = nn.Embedding(vocab_size, embedding_size) if embedding is None else embedding
        self.input_dropout = Dropout(check_rate("input_dropout", input_dropout))
        self.attentional_size = (embedding_size if tied else hidden_size) if attention is not None else 0
        self.rnn = Recurrent(
            cell,
            embedding_size + (self.attentional_size if input_feeding else 0),
            hidden_size,
            num_layers,
            dropout=hidden_dropout,
            backend=backend,
            **own_sizes,
        )
        self.input_feeding, size = input_feeding, self.rnn.output_size
        self.attention: Attention | None = None
        self.combine: nn.Module = nn.Linear(size, embedding_size) if tied and size != embedding_size else nn.Identity()
        if attention is not None and memory_size is not None:
            self.attention = Attention(size, memory_size, attention)
            self.combine = nn.Sequential(nn.Linear(memory_size + size, self.attentional_size), nn.Tanh())
        self.output_dropout = Dropout(check_rate("output_dropout", output_dropout))
        self.readout = nn.Linear(embedding_size if tied else self.attentional_size or size, vocab_size)
        nn.init.zeros_(self.readout.bias)
        if tied:  # one scale that suits both: torch's own for a table would make logits too large
            nn.init.normal_(self.embedding.weight, std=embedding_size**-0.5)
            self.readout.weight = self.embedding.weight

    def start(
        self,
        recurrent: State,
        memory: Float[Tensor, "S B M"] | None = None,
        lengths: Int[Tensor, " B"] | None = None,
    ) -> DecoderState:
        """What decoding starts from.

        Args:
            recurrent: the first state of the stack.
            memory: what is attended to; ignored without attention.
            lengths: how many steps each memory has; all of them if None.

        Raises:
            ArgumentError: the memory is missing, or does not fit.
        """
        if self.attention is None:
            return DecoderState(recurrent)
        if memory is None:
            raise ArgumentError("The 'memory' of a decoder with attention must be given. Got None instead.")
        fed = memory.new_zeros(memory.shape[1], self.attentional_size) if self.input_feeding else None
        return DecoderState(recurrent, self.attention.remember(memory, lengths), fed)

    def forward(
        self,
        tokens: Int[Tensor, "T B"],
        state: DecoderState,
        lengths: Int[Tensor, " B"] | None = None,
        where: Bool[Tensor, "T B"] | None = None,
        loss: ReadOut | None = None,
    ) -> tuple[Float[Tensor, "*steps"], DecoderState]:
        """The logits of the token after each step, (T, B, V), and the state after the last.

        Args:
            tokens: indices below vocab_size.
            state: where to start.
            lengths: how many steps each sequence has; all of them if None. Logits beyond mean nothing.
            where: the N steps to read out, which may be most of the work; logits are then (N, V), in the order of time.
            loss: made of what is read out and returned in place of the logits, such as `cross_entropy` of `layers`.
        """
        read, _, state = self._run(tokens, state, lengths)
        read = self.output_dropout(read if where is None else read[where])
        return read_out(read, self.readout, loss), state

    def step(self, tokens: Int[Tensor, " B"], state: DecoderState) -> tuple[Float[Tensor, "B V"], DecoderState]:
        """The logits of the next token, one step at a time."""
        logits, state = self(tokens[None], state)
        return logits[0], state

    def attention_weights(self, tokens: Int[Tensor, "T B"], state: DecoderState) -> Float[Tensor, "T B S"]:
        """What is attended to after each of the tokens, where the next one is chosen.

        Raises:
            ArgumentError: the decoder has no attention.
        """
        _, weights, _ = self._run(tokens, state, None)
        if weights is None:
            raise ArgumentError("A decoder without attention has no weights. Make it with attention='general'.")
        return weights

    def attend(
        self, y: Float[Tensor, "T B H"], memory: Memory | None
    ) -> tuple[Float[Tensor, "T B A"], Float[Tensor, "T B S"] | None]:
        """What is read out of the stack's outputs, and what of the memory was attended to for it."""
        if self.attention is None or memory is None:
            return self.combine(y), None
        context, weights = self.attention.attend(y, memory)
        return self.combine(torch.cat([context, y], dim=-1)), weights

    def vectors(
        self, tokens: Int[Tensor, "T B"], state: DecoderState, lengths: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, "T B I"]:
        """What the stack reads while the decoder is told these tokens: their vectors, and beside them what is fed."""
        vectors: Tensor = self.input_dropout(self.embedding(tokens))
        if state.attentional is None:
            return vectors
        read, _, _ = self._run(tokens, state, lengths)
        return torch.cat([vectors, torch.cat([state.attentional[None], read[:-1]])], dim=-1)

    @property
    def vocab_size(self) -> int:
        """How many types the vocabulary has."""
        return self.readout.out_features

    def _run(
        self, tokens: Tensor, state: DecoderState, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """What is read out, the attention's weights, and the state after it."""
        vectors = self.input_dropout(self.embedding(tokens))
        if state.attentional is None:
            return self._advance(vectors, state, lengths)
        reads, looks = [], []
        for t, vector in enumerate(vectors.split(1)):  # of no step, one piece of none
            left = None if lengths is None else (lengths - t).clamp(0, len(vector))
            read, weights, state = self._advance(vector, state, left)
            reads.append(read)
            looks.append(weights)
        return torch.cat(reads), torch.cat([w for w in looks if w is not None]), state

    def _advance(
        self, vectors: Tensor, state: DecoderState, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """`_run` in one kernel: any number of steps, or one of them where the attentional vector is fed."""
        fed = state.attentional
        if fed is not None:
            vectors = torch.cat([vectors, fed.expand(len(vectors), *fed.shape)], dim=-1)
        y, recurrent = self.rnn(vectors, state.recurrent, lengths=lengths)
        read, weights = self.attend(y, state.memory)
        if fed is not None and len(read):
            fed = read[-1] if lengths is None else torch.where((lengths > 0).to(read.device)[:, None], read[-1], fed)
        return read, weights, DecoderState(recurrent, state.memory, fed)
