"""A trained captioner: images in, sentences out."""

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from selfloop.data import Tokenizer
from selfloop.data.batches import Report, in_order
from selfloop.data.examples import BadItems, Examples
from selfloop.data.media.image_files import Picture
from selfloop.data.readers.captioned import CaptionReader
from selfloop.decoding import Hypothesis, beam_search
from selfloop.errors import RunError
from selfloop.language import Cell
from selfloop.layers.read_out import cross_entropy
from selfloop.models.image_writer import ImageWriter
from selfloop.models.vision import Vision
from selfloop.options.caption import CaptionConfig, CaptionerOptions
from selfloop.tasks.caption.choose_vision import choose_vision
from selfloop.tasks.caption.gallery import IGNORED, Gallery, Sentences, gallery
from selfloop.tasks.caption.score import Prediction, Score
from selfloop.tasks.caption.speaker import Speaker
from selfloop.tasks.given import AnImage, Takes, as_examples, one_image
from selfloop.tasks.predictor import Draws, FromExamples, Inspectable
from selfloop.tasks.reading import bad_items, reading
from selfloop.tasks.run_config import load_tokenizer, save_tokenizer
from selfloop.tasks.score import ContactSheet, Drawing, TokenScore
from selfloop.tasks.watched import Watched, check_steps, of_decoder
from selfloop.training import Run
from selfloop.untrusted import written

BATCH = 64
"""Images in one call of a prediction; it changes the speed, not the captions."""

WATCHED = 128
"""Images whose caption is looked at to see what the decoder does."""

SHEET = 30
"""Images of a prediction that are drawn."""


@dataclass(frozen=True)
class Sight:
    """What sees images, and what spells captions.

    Attributes:
        vision: the image encoder.
        tokenizer: between captions and tokens.
    """

    vision: Vision
    tokenizer: Tokenizer

    def save(self, run: Run) -> None:
        """Keep the tokenizer; the encoder is known by its name."""
        save_tokenizer(run, self.tokenizer)


class Captioner(FromExamples[ImageWriter, Sight, CaptionConfig, Prediction], Draws[Prediction], Inspectable):
    """A captioner that was trained on images.

    Attributes:
        model: the network, in evaluation mode.
        inputs: the image encoder, and the tokenizer of captions.
        config: what was chosen when it was trained.
    """

    takes_encoder = True

    _images: str | None = None  # of sources other than the run's own; None is where their list stands

    def change(self, assignments: Iterable[str]) -> None:
        """As of `Predictor`; ``data.images`` is then where those of other sources are, too."""
        assignments = [*assignments]
        super().change(assignments)
        if any(assignment.partition("=")[0].strip() == "data.images" for assignment in assignments):
            self._images = self.config.data.images

    @classmethod
    def load_inputs(cls, run: Run, config: CaptionConfig, encoder: str | None) -> Sight:
        """The tokenizer, and the image encoder of that name.

        Raises:
            RunError: the run was trained with the user's own encoder, and none is given.
        """
        if config.model.is_own_encoder and encoder is None:
            name = written(config.model.encoder)
            raise RunError(
                f"{run.path} was trained with the encoder '{name}', and code is never loaded from a run. "
                f"Give the encoder: --encoder {shlex.quote(name)}, or load(…, encoder=…)."
            )
        tokenizer = load_tokenizer(run)
        vision = choose_vision(encoder or config.model.encoder, config.data.size)
        vision.shape  # noqa: B018  (what is wrong with the user's own encoder is not said of config.json)
        return Sight(vision, tokenizer)

    @classmethod
    def build(cls, options: CaptionerOptions, inputs: Sight, cell: Cell) -> ImageWriter:
        """The network, with fresh weights but for the encoder's."""
        given = options.model_dump(exclude={"cell", "encoder", "scheduled_sampling"})
        return ImageWriter(inputs.vision, inputs.tokenizer.vocab_size, cell, **given)

    def made_anew(self) -> ImageWriter:
        """The network as it is made, with a new encoder: the one at hand may have been trained."""
        vision = choose_vision(self.vision.name, self.config.data.size)
        return self.build(self.config.model, Sight(vision, self.tokenizer), self.model.rnn.cell)

    def knows(self) -> str:
        """The tokens to write with, and what sees."""
        return f"{self.tokenizer.vocab_size:,} types of tokens ({self.tokenizer.kind}), encoder {self.vision.name}"

    @classmethod
    def reader(
        cls, config: CaptionConfig, bad: BadItems, inputs: Sight | None = None, column: str | None = None
    ) -> CaptionReader:
        """What reads the images of a configuration; a `column` is that of the captions."""
        how = reading(config.data, bad)
        return CaptionReader(replace(how, label=column or how.label))

    def read_known(self, source: str, column: str | None, bad: BadItems) -> Examples:
        """The images of a source with their captions; of one with parts the test part, else the validation part."""
        return self._reader_of_others(bad, column).score(source)

    def _reader_of_others(self, bad: BadItems, column: str | None = None) -> CaptionReader:
        """What reads sources other than the run's own."""
        data = self.config.data.model_copy(update={"images": self._images})
        return self.reader(self.config.model_copy(update={"data": data}), bad, self.inputs, column)

    @property
    def tokenizer(self) -> Tokenizer:
        """Between captions and tokens."""
        return self.inputs.tokenizer

    @property
    def vision(self) -> Vision:
        """The image encoder."""
        return self.inputs.vision

    def predict(self, images: Examples | AnImage | Iterable[AnImage]) -> list[Prediction]:
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
            found = as_examples(images, IMAGES, self._reader_of_others(BadItems()).predict)
            if not len(found):
                return []
            pictures = [
                replace(picture, place=place) for picture, place in zip(found.inputs, found.places, strict=True)
            ]
            images = gallery(Examples(pictures, [], found.places), self.vision, "The list", BadItems())
        return self._said(images)

    def read(self, source: str, bad: BadItems) -> Gallery:
        """An image, or those of a folder, a .zip or a table, to predict: a `Gallery`."""
        return gallery(self._reader_of_others(bad).predict(source), self.vision, source, bad)

    def drawing(self, predictions: Sequence[Prediction]) -> Drawing:
        """Some images with their captions."""
        shown = predictions[:SHEET]
        return ContactSheet([one.picture for one in shown], [one.caption for one in shown])

    def score(  # type: ignore[override]  # its own parts
        self, part: Examples, *, sample: int | None = None, report: Report | None = None
    ) -> Score:
        """How well the model does on images whose captions are known.

        Args:
            part: the images.
            sample: judge so many images that their captions have about so many tokens; None judges all.
            report: is told the share that is done, from 0 to 1.
        """
        if not isinstance(part, Gallery):
            part = gallery(part, self.vision, "The images to score", bad_items(self.config.data))
        if sample is not None:
            tokens = sum(map(len, Sentences.of(part, self.tokenizer).tokens))
            part = part.select(range(0, len(part), max(1, min(len(part), tokens // sample))))
        predictions = self._said(part, report)
        surprise = self.surprise(Sentences.of(part, self.tokenizer))
        return Score(surprise.nats, surprise.tokens, predictions=predictions)

    @torch.inference_mode()
    def surprise(self, sentences: Sentences) -> TokenScore:
        """How much captions surprise the model, each token given those before it."""
        nats, device = dict[int, float](), self.device
        images = range(len(sentences.gallery))
        for first in self.world.share(images[::BATCH]):  # an image is taken in once, for all its captions
            some = images[first : first + BATCH]
            state = self.model.encode(sentences.gallery.seen(some).to(device))
            about = np.flatnonzero((sentences.images >= some.start) & (sentences.images < some.stop))
            for part in in_order([len(sentences.tokens[row]) for row in about], 2 * BATCH):
                rows = about[part]
                inputs, targets, lengths = sentences.texts(rows)
                known, targets = None if lengths is None else lengths.to(device), targets.to(device)
                judged = targets != IGNORED
                loss = cross_entropy(targets[judged], divisor=1)
                image = torch.from_numpy(sentences.images[rows] - first)
                total, _ = self.model.decoder(inputs.to(device), state.select(image), known, judged, loss)
                nats[int(rows[0])] = float(total)
        return TokenScore(math.fsum(self.world.joined(nats).values()), sum(map(len, sentences.tokens)))

    @torch.no_grad()
    def watched(self, steps: int, source: str | None = None, *, fresh: bool = False) -> Watched:
        """What the decoder reads while it writes up to 128 of the true captions; see `Inspectable.watched`."""
        check_steps(steps)
        (part,) = [self.parts()["valid"]] if source is None else self.parts(source).values()
        part = part.select(range(0, len(part), -(-len(part) // WATCHED)))
        images = gallery(part, self.vision, "The images to look at", bad_items(self.config.data))
        sentences = Sentences.of(images, self.tokenizer)
        _, rows = np.unique(sentences.images, return_index=True)  # one caption of each image
        seen, tokens, targets, _ = sentences.batch(rows)
        model = self.before_training() if fresh else self.model
        return of_decoder(
            model.decoder,
            model.encode(seen.to(self.device)),
            tokens.to(self.device),
            targets.to(self.device),
            torch.tensor([len(sentences.tokens[row]) for row in rows]),
            [images.places[number] for number in sentences.images[rows]],
            lambda token: self.tokenizer.decode([token]) if token != self.tokenizer.start_id else "",
        )

    def _said(self, images: Gallery, report: Report | None = None) -> list[Prediction]:
        """A caption of each image."""
        truths, found = images.labels or [()] * len(images), self._write(images, report)
        return [
            Prediction(place, self.tokenizer.decode(best.tokens).strip(), best.log_probability, picture, truth)
            for place, picture, truth, best in zip(images.places, images.inputs, truths, found, strict=True)
        ]

    @torch.inference_mode()
    def _write(self, images: Gallery, report: Report | None) -> list[Hypothesis]:
        """The best caption of each image."""
        found: dict[int, Hypothesis] = {}
        device, end = self.device, self.tokenizer.start_id
        speaker = Speaker(self.model, self.tokenizer)
        chosen = self.config.decoding.model_dump()
        for rows in self.world.share(in_order([1] * len(images), BATCH, report)):
            logits, state = speaker.begin(images.seen(rows).to(device))
            hypotheses = beam_search(speaker, logits, state, end=end, **chosen)
            found |= {row: best for row, (best, *_) in zip(rows.tolist(), hypotheses, strict=True)}
        found = self.world.joined(found)
        return [found[row] for row in range(len(images))]


IMAGES = Takes(
    "images (paths, PIL images, arrays of bytes (H, W) or (H, W, 3))",
    lambda value: Picture.of_array(value) if isinstance(value, np.ndarray) else None,
    lambda value: one_image(value, colour=True),
    unit="image",
    argument="images",
)
