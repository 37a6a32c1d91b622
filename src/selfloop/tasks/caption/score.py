"""How well images are captioned."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from selfloop.data.media.image_files import Picture
from selfloop.metrics import caption_bleu, cider


@dataclass(frozen=True)
class Surprise:
    """Of a model at captions that people wrote, each token given those before it.

    Attributes:
        nats: the sum of -log p over the tokens, the end of each caption among them.
        tokens: how many there are.
    """

    nats: float
    tokens: int

    def metrics(self) -> dict[str, float]:
        """The loss, in nats a token, and its exponential."""
        loss = self.nats / max(1, self.tokens)
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}


@dataclass(frozen=True)
class Score:
    """What a model made of images whose captions are known.

    Attributes:
        surprise: at the captions.
        predicted: a caption of each image.
        references: what people said of each.
        shown: some of the images.
    """

    surprise: Surprise
    predicted: Sequence[str]
    references: Sequence[Sequence[str]]
    shown: Sequence[Picture]

    @property
    def count(self) -> int:
        """The tokens of the captions that people wrote."""
        return self.surprise.tokens

    def metrics(self) -> dict[str, float]:
        """The surprise, BLEU-1 to 4 from 0 to 100, and CIDEr from 0 to 10."""
        return {**self.surprise.metrics(), **self._of_captions}

    @functools.cached_property
    def _of_captions(self) -> dict[str, float]:
        bleu = caption_bleu(self.predicted, self.references)
        return {
            **{f"bleu_{n}": value for n, value in enumerate(bleu, 1)},
            "cider": cider(self.predicted, self.references),
        }

    def details(self) -> list[dict[str, float]]:
        """None: there are no classes."""
        return []
