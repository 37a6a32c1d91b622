"""From an image to a text: an encoder of images before a decoder that writes."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from selfloop.language import Cell
from selfloop.layers import Recurrent
from selfloop.layers.dropout import Dropout, check_rate
from selfloop.layers.read_out import ReadOut
from selfloop.models.decoder import Decoder, DecoderState
from selfloop.models.one_to_many import OneToMany
from selfloop.models.vision import Vision


class ImageWriter(nn.Module):
    """`OneToMany` about what an image encoder sees.

    Each place of the encoder's grid is brought to `feature_size` features, relu(W v + b), and where the decoder attends
    to the grid, a learned vector of the place is added, so that it knows what stands where. Else the decoder is given
    the grid's mean.

    Args:
        vision: the encoder. If it is to be trained, it is a part of this model, which then takes images; if it is
            frozen, this model takes what it has seen.
        vocab_size: how many types the vocabulary has.
        cell: the recurrence.
        feature_size: features of a place.
        image_dropout: dropout on what the encoder sees.
        place_dropout: the share of the places that are left out in training, others of each image at each call
            (PatchDropout, Liu et al. 2023); one is left.
        condition: as in `OneToMany`.
        options: others of `OneToMany`.

    >>> from selfloop import cells
    >>> from selfloop.models.vision import SmallVision
    >>> vision = Vision("small", SmallVision(), (32, 32))
    >>> model = ImageWriter(vision, 65, cells.lstm, feature_size=24, embedding_size=16, hidden_size=32)
    >>> images = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    >>> model(images, torch.ones(7, 2, dtype=torch.long)).shape
    torch.Size([7, 2, 65])
    """

    def __init__(
        self,
        vision: Vision,
        vocab_size: int,
        cell: Cell,
        *,
        feature_size: int,
        image_dropout: float = 0.0,
        place_dropout: float = 0.0,
        condition: str = "attend",
        **options: Any,
    ) -> None:
        super().__init__()
        places, features = vision.shape
        self._vision = vision
        self.vision = None if vision.frozen else vision.network
        self.place_dropout = check_rate("place_dropout", place_dropout)
        self.project = nn.Sequential(Dropout(image_dropout), nn.Linear(features, feature_size), nn.ReLU())
        self.places = nn.Parameter(torch.zeros(places, 1, feature_size)) if condition == "attend" else None
        self.writer = OneToMany(feature_size, vocab_size, cell, condition=condition, **options)

    def forward(
        self,
        seen: Shaped[Tensor, "B ..."],
        target: Int[Tensor, "T B"],
        target_lengths: Int[Tensor, " B"] | None = None,
        where: Bool[Tensor, "T B"] | None = None,
        loss: ReadOut | None = None,
    ) -> Float[Tensor, "*steps"]:
        """The logits of the token after each of the target's, which starts with the start token (teacher forcing).

        Args:
            seen: images, bytes (B, H, W, 3), or what a frozen encoder has seen in them, (B, S, F).
            target: indices below vocab_size.
            target_lengths: how many steps each target has; all of them if None. Logits beyond mean nothing.
            where: as of `OneToMany`.
            loss: likewise.
        """
        logits: Tensor = self.writer(self.features(seen), target, target_lengths, where, loss)
        return logits

    def features(self, seen: Shaped[Tensor, "B ..."]) -> Float[Tensor, "*S B F"]:
        """What the decoder is given."""
        grid = seen if self.vision is None else self._vision.grid(seen)
        grid = grid.transpose(0, 1).to(self.writer.decoder.embedding.weight.dtype)
        at: Tensor | None = self.places
        if self.training and self.place_dropout:
            count, batch, _ = grid.shape
            left = max(1, round(count * (1 - self.place_dropout)))
            chosen = torch.rand(count, batch, device=grid.device).topk(left, dim=0).indices
            grid = grid.gather(0, chosen.unsqueeze(-1).expand(-1, -1, grid.shape[-1]))
            at = at if at is None else at[chosen].squeeze(2)
        features: Tensor = self.project(grid.mean(0) if at is None else grid)
        return features if at is None else features + at

    def encode(self, seen: Shaped[Tensor, "B ..."]) -> DecoderState:
        """Take in images: what `step` starts from."""
        return self.writer.encode(self.features(seen))

    def step(self, tokens: Int[Tensor, " B"], state: DecoderState) -> tuple[Float[Tensor, "B V"], DecoderState]:
        """The logits of the next token, one step at a time, and the new state."""
        return self.writer.step(tokens, state)

    @property
    def decoder(self) -> Decoder:
        """What writes."""
        return self.writer.decoder

    @property
    def rnn(self) -> Recurrent:
        """The recurrent stack."""
        return self.decoder.rnn
