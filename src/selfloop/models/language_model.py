"""A language model: at every step, the distribution of the next token given all before it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from jaxtyping import Float, Int
from torch import Tensor, nn

from selfloop.errors import ArgumentError
from selfloop.language import Cell
from selfloop.layers import EmbeddingDropout, Recurrent, State, VariationalDropout
from selfloop.layers.dropout import Dropout, check_rate
from selfloop.layers.read_out import ReadOut, read_out
from selfloop.layers.typed_call import typed_as


class LanguageModel(nn.Module):
    r"""Embedding, recurrent stack and readout: $\log p(w_t \mid w_{<t})$ at each step t.

    Args:
        vocab_size: how many types the vocabulary has.
        cell: the recurrence.
        embedding_size: features of a token's vector.
        hidden_size: the cell's ``h``.
        num_layers: how many cells stand on one another.
        tied: the readout uses the embedding's table (Press & Wolf 2017; Inan et al. 2017), through a projection where
            the sizes differ.
        embedding_dropout: the share of the types whose vectors are off in a batch (Gal & Ghahramani 2016).
        input_dropout: dropout on the vectors.
        hidden_dropout: dropout between layers.
        output_dropout: dropout before the readout.
        variational: these three use one mask for all steps (Gal & Ghahramani 2016); else a new mask each step
            (Zaremba et al. 2014).
        weight_drop: the share of the recurrent weights that is off in a batch (Merity et al. 2018).
        sizes: a number for each further size that the cell names.
        backend: as in `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    >>> import torch
    >>> from selfloop import cells
    >>> model = LanguageModel(65, cells.lstm, embedding_size=16, hidden_size=32)
    >>> logits, state = model(torch.zeros(7, 2, dtype=torch.long))
    >>> logits.shape, state
    (torch.Size([7, 2, 65]), State(h=(1, 2, 32), c=(1, 2, 32)))
    """

    def __init__(
        self,
        vocab_size: int,
        cell: Cell,
        *,
        embedding_size: int,
        hidden_size: int,
        num_layers: int = 1,
        tied: bool = False,
        embedding_dropout: float = 0.0,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        output_dropout: float = 0.0,
        variational: bool = False,
        weight_drop: float = 0.0,
        sizes: Mapping[str, int] | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        for name, size in (("vocab_size", vocab_size), ("embedding_size", embedding_size)):
            if size < 1:
                raise ArgumentError(f"The '{name}' of LanguageModel must be at least 1. Got {size} instead.")
        own_sizes: dict[str, Any] = {**(sizes or {})}
        dropout = VariationalDropout if variational else Dropout
        table = nn.Embedding(vocab_size, embedding_size)
        self.embedding = EmbeddingDropout(table, check_rate("embedding_dropout", embedding_dropout))
        self.input_dropout = dropout(check_rate("input_dropout", input_dropout))
        self.rnn = Recurrent(
            cell,
            embedding_size,
            hidden_size,
            num_layers,
            dropout=dropout(check_rate("hidden_dropout", hidden_dropout)),
            weight_drop=weight_drop,
            backend=backend,
            **own_sizes,
        )
        self.output_dropout = dropout(check_rate("output_dropout", output_dropout))
        self.projection = (
            nn.Linear(self.rnn.output_size, embedding_size)
            if tied and self.rnn.output_size != embedding_size
            else nn.Identity()
        )
        self.readout = nn.Linear(embedding_size if tied else self.rnn.output_size, vocab_size)
        nn.init.zeros_(self.readout.bias)
        if tied:  # one scale that suits both: torch's own for a table would make logits too large
            nn.init.normal_(table.weight, std=embedding_size**-0.5)
            self.readout.weight = table.weight

    @overload
    def forward(
        self,
        tokens: Int[Tensor, "T B"],
        state: State | None = ...,
        lengths: Int[Tensor, " B"] | None = ...,
        *,
        outputs: Literal[False] = ...,
        loss: ReadOut | None = ...,
    ) -> tuple[Float[Tensor, "*steps"], State]: ...

    @overload
    def forward(
        self,
        tokens: Int[Tensor, "T B"],
        state: State | None = ...,
        lengths: Int[Tensor, " B"] | None = ...,
        *,
        outputs: Literal[True],
        loss: ReadOut | None = ...,
    ) -> tuple[Float[Tensor, "*steps"], State, Float[Tensor, "T B H"], Float[Tensor, "T B H"]]: ...

    def forward(
        self,
        tokens: Int[Tensor, "T B"],
        state: State | None = None,
        lengths: Int[Tensor, " B"] | None = None,
        *,
        outputs: bool = False,
        loss: ReadOut | None = None,
    ) -> Any:
        """The logits of the token after each step, and the state after the last.

        Args:
            tokens: indices below vocab_size.
            state: where to start; zeros if None.
            lengths: how many steps each sequence has; all of them if None.
            outputs: return the outputs of the stack, too, before their dropout and after it, for losses on them.
            loss: made of what is read out and returned in place of the logits, such as `cross_entropy` of `layers`.
        """
        vectors = self.input_dropout(self.embedding(tokens))
        y, state = self.rnn(vectors, state, lengths=lengths)
        dropped = self.output_dropout(y)
        read = self.projection(dropped)
        found = read_out(read, self.readout, loss)
        return (found, state, y, dropped) if outputs else (found, state)

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:
            """As `forward`."""

    def step(self, tokens: Int[Tensor, " B"], state: State | None = None) -> tuple[Float[Tensor, "B V"], State]:
        """The logits of the next token, one step at a time."""
        logits, state = self(tokens[None], state)
        return logits[0], state

    @property
    def vocab_size(self) -> int:
        """How many types the vocabulary has."""
        return self.readout.out_features

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained; a tied table counts once."""
        return sum(p.numel() for p in self.parameters())
