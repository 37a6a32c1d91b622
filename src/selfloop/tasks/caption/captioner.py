"""A trained captioner: images in, sentences out."""

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from selfloop.data import Tokenizer
from selfloop.data.batches import in_order
from selfloop.data.examples import BadItems, Examples
from selfloop.data.media.image_files import Picture
from selfloop.data.readers.captioned import CaptionReader
from selfloop.data.text.token_kinds import UNKNOWN
from selfloop.decoding import Hypothesis, beam_search
from selfloop.errors import RunError
from selfloop.language import Cell
from selfloop.models.decoder import DecoderState
from selfloop.models.image_writer import ImageWriter
from selfloop.models.vision import Vision
from selfloop.options.caption import CaptionConfig, CaptionerOptions
from selfloop.tasks.caption.choose_vision import choose_vision
from selfloop.tasks.caption.gallery import IGNORED, Gallery, Sentences, gallery
from selfloop.tasks.caption.score import Score, Surprise
from selfloop.tasks.given import Takes, as_examples, one_image
from selfloop.tasks.opening import cell_of, read_config
from selfloop.tasks.reading import held_out, read, reading
from selfloop.training import Run
from selfloop.untrusted import written

BATCH = 64
"""Images in one call of a prediction; it changes the speed, not the captions."""

SHOWN = 16
"""Images on a contact sheet."""


@dataclass(frozen=True)
class Prediction:
    """What a captioner says of one image.

    Attributes:
        place: where the image stands.
        caption: the best that beam search found.
        log_probability: of the caption, in nats.
        picture: the image.
    """

    place: str
    caption: str
    log_probability: float
    picture: Picture

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"input": self.place, "caption": self.caption, "log_probability": round(self.log_probability, 4)}

    def rows(self) -> list[dict[str, Any]]:
        """One row, for CSV."""
        return [self.facts()]

    def line(self) -> str:
        """The caption alone."""
        return self.caption


class Captioner:
    """A captioner that was trained on images.

    Attributes:
        model: the network, in evaluation mode.
        vision: the image encoder.
        tokenizer: between captions and tokens.
        config: what was chosen when it was trained.
    """

    def __init__(self, model: ImageWriter, vision: Vision, tokenizer: Tokenizer, config: CaptionConfig) -> None:
        self.model, self.vision, self.tokenizer, self.config = model.eval(), vision, tokenizer, config

    @classmethod
    def open(
        cls, run: Run, cell: Cell | str | None = None, device: str = "cpu", encoder: str | None = None
    ) -> "Captioner":
        """The best weights of a run; see `selfloop.load`.

        Raises:
            RunError: as there, or the run was trained with the user's own encoder, and none is given.
        """
        config = read_config(run, CaptionConfig)
        if config.model.is_own_encoder and encoder is None:
            name = written(config.model.encoder)
            raise RunError(
                f"{run.path} was trained with the encoder '{name}', and code is never loaded from a run. "
                f"Give the encoder: --encoder {shlex.quote(name)}, or load(…, encoder=…)."
            )
        cell = cell_of(run, config.model, cell)
        tokenizer = Tokenizer.load(run.path / "tokenizer.json")
        vision = choose_vision(encoder or config.model.encoder, config.data.size)
        vision.shape  # noqa: B018  (what is wrong with the user's own encoder is not said of config.json)
        model = run.open_model(partial(cls.build, config.model, vision, tokenizer.vocab_size, cell))
        return cls(model.to(device), vision, tokenizer, config)

    @staticmethod
    def build(options: CaptionerOptions, vision: Vision, vocab_size: int, cell: Cell) -> ImageWriter:
        """The network, with fresh weights but for the encoder's."""
        given = options.model_dump(exclude={"cell", "encoder", "scheduled_sampling"})
        return ImageWriter(vision, vocab_size, cell, **given)

    def predict(self, images: Any) -> list[Prediction]:
        """A caption of each image.

        Args:
            images: an image, which gives a list of one, or several, or what `read` gives. An image is a path, a PIL
                image, or an array or a tensor of bytes (H, W) or (H, W, 3); the path of a folder, a .zip or a table
                stands for all images in it.

        Raises:
            ArgumentError: something is no image.
            DataError: an image cannot be read.
        """
        if not isinstance(images, Gallery):
            found = as_examples(images, IMAGES, reader(self.config, BadItems()).predict)
            if not len(found):
                return []
            pictures = [
                replace(picture, place=place) for picture, place in zip(found.inputs, found.places, strict=True)
            ]
            images = gallery(Examples(pictures, [], found.places), self.vision, "The list", BadItems())
        return [
            Prediction(picture.place, self.tokenizer.decode(best.tokens).strip(), best.log_probability, picture)
            for picture, best in zip(images.captioned.inputs, self._write(images), strict=True)
        ]

    def read(self, source: str, bad: BadItems) -> Gallery:
        """An image, or those of a folder, a .zip or a table, to predict."""
        return gallery(reader(self.config, bad).predict(source), self.vision, source, bad)

    def parts(self, source: str | None = None, column: str | None = None) -> Mapping[str, Examples]:
        """Images with captions to score, by name: of a source, or the run's own validation and test images.

        Args:
            source: as in `selfloop train caption`; of one with parts the test part, else the validation part.
            column: that holds the captions; None for the run's own.

        Raises:
            DataError: the source cannot be read.
        """
        bad = BadItems(self.config.data.skip_bad)
        if source is None:
            return held_out(read(reader(self.config, bad), self.config))
        how = reading(self.config.data, bad)
        how = replace(how, images=None, label=column or how.label)
        return {Path(source).name: CaptionReader(how).score(source)}

    def score(self, part: Examples | Gallery, *, sample: int | None = None) -> Score:
        """How well the model does on images whose captions are known.

        Args:
            part: the images.
            sample: judge so many images that their captions have about so many tokens; None judges all.
        """
        if not isinstance(part, Gallery):
            part = gallery(part, self.vision, "The images to score", BadItems(self.config.data.skip_bad))
        if sample is not None:
            tokens = sum(map(len, Sentences.of(part, self.tokenizer).tokens))
            part = part.select(range(0, len(part), max(1, min(len(part), tokens // sample))))
        predicted = [self.tokenizer.decode(best.tokens).strip() for best in self._write(part)]
        surprise = self.surprise(Sentences.of(part, self.tokenizer))
        return Score(surprise, predicted, part.captioned.labels, part.captioned.inputs[:SHOWN])

    @torch.inference_mode()
    def surprise(self, sentences: Sentences) -> Surprise:
        """How much captions surprise the model, each token given those before it."""
        nats, device = 0.0, next(self.model.parameters()).device
        for rows in in_order([len(tokens) for tokens in sentences.tokens], 2 * BATCH):
            seen, inputs, targets, lengths = sentences.batch(rows)
            logits = self.model(seen.to(device), inputs.to(device), None if lengths is None else lengths.to(device))
            options: dict[str, Any] = {"ignore_index": IGNORED, "reduction": "sum"}
            losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten().to(device), **options)
            nats += float(losses.double())
        return Surprise(nats, sum(map(len, sentences.tokens)))

    def sample(self) -> Mapping[str, str]:
        """Nothing beyond the contact sheet."""
        return {}

    @torch.inference_mode()
    def _write(self, images: Gallery) -> Iterator[Hypothesis]:
        """The best caption of each image."""
        device, end = next(self.model.parameters()).device, self.tokenizer.start_id
        speaker = Speaker(self.model, self.tokenizer)
        chosen = self.config.decoding.model_dump()
        for rows in np.array_split(np.arange(len(images)), math.ceil(len(images) / BATCH)):
            state = self.model.encode(images.seen(rows).to(device))
            logits, state = speaker.step(torch.full((len(rows),), end, device=device), state)
            logits[:, end] = -torch.inf  # a caption has a word
            for found in beam_search(speaker, logits, state, end=end, **chosen):
                yield found[0]


IMAGES = Takes(
    "images (paths, PIL images, arrays of bytes (H, W) or (H, W, 3))",
    lambda value: Picture.of_array(value) if isinstance(value, np.ndarray) else None,
    lambda value: one_image(value, colour=True),
    unit="image",
    argument="images",
)


class Speaker:
    """A model that never says ``<unk>``."""

    def __init__(self, model: ImageWriter, tokenizer: Tokenizer) -> None:
        unknown = tokenizer.encode(UNKNOWN) if tokenizer.kind == "word" else []
        self._model, self._never = model, unknown

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """The logits of the next token, and the new state."""
        logits, state = self._model.step(tokens, state)
        logits[:, self._never] = -torch.inf
        return logits, state


def reader(config: CaptionConfig, bad: BadItems) -> CaptionReader:
    """What reads the images of a configuration."""
    return CaptionReader(reading(config.data, bad))
