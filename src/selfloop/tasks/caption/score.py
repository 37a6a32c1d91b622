"""How well images are captioned."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from selfloop.data.media.image_files import Picture
from selfloop.metrics import caption_bleu, cider
from selfloop.tasks.score import ContactSheet, Drawing, TokenScore

SHOWN = 16
"""Images on a contact sheet."""


@dataclass(frozen=True)
class Score(TokenScore):
    """What a model made of images whose captions are known.

    Attributes:
        nats: the sum of -log p over the tokens of the captions that people wrote, the end of each among them.
        tokens: how many there are.
        predicted: a caption of each image.
        references: what people said of each.
        pictures: the images.
    """

    predicted: Sequence[str]
    references: Sequence[Sequence[str]]
    pictures: Sequence[Picture]

    def metrics(self) -> dict[str, float]:
        """The surprise, BLEU-1 to 4 from 0 to 100, and CIDEr from 0 to 10."""
        return {**super().metrics(), **self._of_captions}

    def drawings(self) -> Sequence[Drawing]:
        """Some of the images."""
        return [ContactSheet(self.pictures[:SHOWN], self.predicted[:SHOWN], self.references[:SHOWN])]

    @functools.cached_property
    def _of_captions(self) -> dict[str, float]:
        bleu = caption_bleu(self.predicted, self.references)
        return {
            **{f"bleu_{n}": value for n, value in enumerate(bleu, 1)},
            "cider": cider(self.predicted, self.references),
        }
