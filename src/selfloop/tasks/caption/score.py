"""What a captioner says of images, and how well it does."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

from selfloop.data.media.image_files import Picture
from selfloop.metrics import caption_bleu, cider
from selfloop.tasks.answer import Answer
from selfloop.tasks.caption.gallery import plain
from selfloop.tasks.score import ContactSheet, Drawing, TokenScore

SHOWN = 16
"""Images on a contact sheet."""


@dataclass(frozen=True)
class Prediction(Answer):
    """What a captioner says of one image.

    Attributes:
        place: where the image stands.
        caption: the best that beam search found.
        log_probability: of the caption, in nats.
        picture: the image.
        truth: what people said of it, where that is known.
    """

    caption: str
    log_probability: float
    picture: Picture
    truth: Sequence[str] = ()

    def facts(self) -> dict[str, object]:
        """All of it, for JSON."""
        return {**self.example(), "caption": self.caption, "log_probability": round(self.log_probability, 4)}

    def judged_rows(self) -> list[dict[str, object]]:
        """The same row, with what people said, and whether one of them said the same."""
        said = {plain(text) for text in self.truth}
        return [{**row, "references": " | ".join(self.truth), "correct": self.caption in said} for row in self.rows()]

    def line(self) -> str:
        """The caption alone."""
        return self.caption


@dataclass(frozen=True)
class Score(TokenScore):
    """What a model made of images whose captions are known.

    Attributes:
        nats: the sum of -log p over the tokens of the captions that people wrote, the end of each among them.
        tokens: how many there are.
        predictions: a caption of each image, with what people said of it.
    """

    predictions: Sequence[Prediction] = field(default=(), kw_only=True, repr=False)

    @property
    def predicted(self) -> list[str]:
        """A caption of each image."""
        return [one.caption for one in self.predictions]

    @property
    def references(self) -> list[Sequence[str]]:
        """What people said of each."""
        return [one.truth for one in self.predictions]

    def metrics(self) -> dict[str, float]:
        """The surprise, BLEU-1 to 4 from 0 to 100, and CIDEr from 0 to 10."""
        return {**super().metrics(), **self._of_captions}

    def drawings(self) -> Sequence[Drawing]:
        """Some of the images."""
        pictures = [one.picture for one in self.predictions[:SHOWN]]
        return [ContactSheet(pictures, self.predicted[:SHOWN], self.references[:SHOWN])]

    @functools.cached_property
    def _of_captions(self) -> dict[str, float]:
        bleu = caption_bleu(self.predicted, self.references)
        return {
            **{f"bleu_{n}": value for n, value in enumerate(bleu, 1)},
            "cider": cider(self.predicted, self.references),
        }
