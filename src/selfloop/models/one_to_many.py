"""One to many: from one vector, such as an image's, to a sequence."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from selfloop.errors import ArgumentError, check_one_of
from selfloop.language import Cell
from selfloop.layers.read_out import ReadOut
from selfloop.layers.typed_call import typed_as
from selfloop.models.bridge import Bridge
from selfloop.models.decoder import Decoder, DecoderState

CONDITIONS = ("state", "input", "attend")


class OneToMany(nn.Module):
    """A decoder that writes about one vector, or about a grid of them.

    Args:
        feature_size: features of a vector.
        vocab_size: how many types the vocabulary has.
        cell: the recurrence.
        embedding_size: features of a token's vector.
        hidden_size: the cell's ``h``.
        num_layers: how many cells stand on one another.
        condition: how the decoder learns of the features: ``"state"``, its first state is made from the vector;
            ``"input"``, the vector is its first input (Vinyals et al. 2015, eq. 10); ``"attend"``, it attends to a grid
            of vectors at each step, and its first state is made from their mean (Xu et al. 2015, sections 3.1.2 and
            4.2), with attention after the recurrent pass (Luong et al. 2015).
        attention: ``"dot"``, ``"general"`` or ``"additive"``, for ``"attend"`` alone.
        input_feeding: as in `Decoder`, for ``"attend"`` alone.
        tied: the readout uses the embedding's table (Press & Wolf 2017).
        input_dropout: dropout on the tokens' vectors.
        hidden_dropout: dropout between layers.
        output_dropout: dropout before the readout.
        sizes: a number for each further size that the cell names.
        backend: as in `Recurrent`.

    Raises:
        ArgumentError: an argument does not fit.

    >>> import torch
    >>> from selfloop import cells
    >>> from selfloop.decoding import beam_search
    >>> model = OneToMany(24, 65, cells.lstm, embedding_size=16, hidden_size=32, condition="attend")
    >>> grid = torch.zeros(49, 2, 24)  # 7 × 7 places of two images
    >>> model(grid, torch.ones(7, 2, dtype=torch.long)).shape
    torch.Size([7, 2, 65])
    >>> logits, state = model.step(torch.tensor([1, 1]), model.encode(grid))
    >>> [len(found) for found in beam_search(model, logits, state, max_tokens=3, beam=4, end=2)]
    [4, 4]
    """

    def __init__(
        self,
        feature_size: int,
        vocab_size: int,
        cell: Cell,
        *,
        embedding_size: int,
        hidden_size: int,
        num_layers: int = 1,
        condition: str = "state",
        attention: str = "general",
        input_feeding: bool = False,
        tied: bool = False,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        output_dropout: float = 0.0,
        sizes: Mapping[str, int] | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if feature_size < 1:
            raise ArgumentError(f"The 'feature_size' of OneToMany must be at least 1. Got {feature_size} instead.")
        check_one_of(condition, CONDITIONS, "The 'condition' of OneToMany")
        attends = condition == "attend"
        self.feature_size, self.condition = feature_size, condition
        self.decoder = Decoder(
            vocab_size,
            cell,
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            memory_size=feature_size,
            attention=attention if attends else None,
            input_feeding=input_feeding,
            tied=tied,
            input_dropout=input_dropout,
            hidden_dropout=hidden_dropout,
            output_dropout=output_dropout,
            sizes=sizes,
            backend=backend,
        )
        rnn = self.decoder.rnn
        self.condition_on: nn.Module = (
            nn.Linear(feature_size, embedding_size)
            if condition == "input"
            else Bridge(dict.fromkeys(rnn.zero_state(1).tensors, feature_size), rnn)
        )

    def forward(
        self,
        features: Float[Tensor, "*S B F"],
        target: Int[Tensor, "T B"],
        target_lengths: Int[Tensor, " B"] | None = None,
        where: Bool[Tensor, "T B"] | None = None,
        loss: ReadOut | None = None,
    ) -> Float[Tensor, "*steps"]:
        """The logits of the token after each of the target's, which starts with the start token (teacher forcing).

        Args:
            features: a vector of each, (B, F); for ``"attend"`` a grid of each, laid out as (S, B, F).
            target: indices below vocab_size.
            target_lengths: how many steps each target has; all of them if None. Logits beyond mean nothing.
            where: the N steps to give logits of, then (N, V), in the order of time; all, (T, B, V), if None.
            loss: made of what is read out and returned in place of the logits, such as `cross_entropy` of `layers`.

        Raises:
            ArgumentError: the features or lengths do not fit.
        """
        logits: Tensor = self.decoder(target, self.encode(features), target_lengths, where, loss)[0]
        return logits

    if TYPE_CHECKING:

        @typed_as(forward)
        def __call__(self) -> None:
            """As `forward`."""

    def encode(self, features: Float[Tensor, "*S B F"]) -> DecoderState:
        """Take in the features: what `step` starts from.

        Args:
            features: a vector of each, (B, F); for ``"attend"`` a grid of each, laid out as (S, B, F).

        Raises:
            ArgumentError: the features do not fit.
        """
        attends = self.condition == "attend"
        if features.dim() != (3 if attends else 2) or features.shape[-1] != self.feature_size:
            expected = "(S, B, {})" if attends else "(B, {})"
            advice = "" if attends or features.dim() != 3 else "; take a grid's mean, or condition='attend'"
            raise ArgumentError(
                f"The 'features' of OneToMany for condition='{self.condition}' must be of shape "
                f"{expected.format(self.feature_size)}. Got {tuple(features.shape)} instead{advice}."
            )
        rnn = self.decoder.rnn
        if self.condition == "input":
            _, first = rnn(self.condition_on(features)[None])
            return self.decoder.start(first)
        vector = features.mean(0) if attends else features
        each = vector.expand(rnn.num_layers, *vector.shape)
        first = self.condition_on(dict.fromkeys(rnn.zero_state(1).tensors, each))
        return self.decoder.start(first, features if attends else None)

    def step(self, tokens: Int[Tensor, " B"], state: DecoderState) -> tuple[Float[Tensor, "B V"], DecoderState]:
        """The logits of the next token, one step at a time, and the new state."""
        return self.decoder.step(tokens, state)

    def attention_weights(
        self, features: Float[Tensor, "*S B F"], target: Int[Tensor, "T B"]
    ) -> Float[Tensor, "T B S"]:
        """Which places of the grid are attended to where the token after each of the target's is chosen.

        Raises:
            ArgumentError: the model does not attend, or the features do not fit.
        """
        return self.decoder.attention_weights(target, self.encode(features))

    @property
    def vocab_size(self) -> int:
        """How many types the vocabulary has."""
        return self.decoder.vocab_size

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained; a tied table counts once."""
        return sum(p.numel() for p in self.parameters())
