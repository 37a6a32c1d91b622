"""Training a captioner: what the loop asks of it."""

import time
from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from selfloop.data import Tokenizer
from selfloop.data.batches import Batches
from selfloop.errors import DataError
from selfloop.language import Cell
from selfloop.layers import State
from selfloop.layers.read_out import cross_entropy
from selfloop.models.scheduled_sampling import scheduled_inputs
from selfloop.models.vision import Vision
from selfloop.options.caption import CaptionConfig, ImageOptions
from selfloop.tasks.caption.captioner import Captioner, Sight
from selfloop.tasks.caption.choose_vision import choose_vision
from selfloop.tasks.caption.gallery import IGNORED, Gallery, Sentences, gallery, plain
from selfloop.tasks.inputs import fingerprint
from selfloop.tasks.learner import Learner
from selfloop.tasks.predictor import held_out
from selfloop.training import Run, read_progress
from selfloop.training.schedule import Budget

MANY = 10_000
"""Captions of which a word must be among five to be known, where nothing else is asked for."""


class Captioning(Learner[Sight, CaptionConfig, Captioner]):
    """Images, captions and model for one run."""

    OPENED = Captioner

    _galleries: Mapping[str, Gallery] = {}
    _started = _elapsed = 0.0  # seconds by the clock at the first update, and those that a resumed run had taken

    @classmethod
    def resume(cls, config: CaptionConfig, run: Run, cell: Cell | None) -> "Captioning":
        """The same, with the tokenizer that a run has kept."""
        learner = cls(config, Captioner.load_inputs(run, config, config.model.encoder), cell)
        learner._elapsed = read_progress(run).elapsed
        return learner

    def learn_inputs(self) -> Sight:
        """The image encoder, and the tokenizer of the training captions."""
        data = self.config.data
        vision = choose_vision(self.config.model.encoder, data.size)
        self._galleries = self._look(vision)
        said = self._galleries["train"].labels
        return Sight(vision, learn_tokens(data, [plain(caption) for captions in said for caption in captions]))

    def prepare(self) -> int:
        """What the model takes in of the images, the captions as tokens, and the batches."""
        training = self.config.training
        self._galleries = self._galleries or self._look(self.inputs.vision)
        tokenizer = self.inputs.tokenizer
        self._train, self._valid = (Sentences.of(self._galleries[part], tokenizer) for part in ("train", "valid"))
        self._batches = Batches([len(tokens) for tokens in self._train.tokens], training.batch_size, training.seed)
        self._budget = Budget.of(training, self._batches.per_epoch)
        return self._batches.per_epoch

    def _look(self, vision: Vision) -> dict[str, Gallery]:
        """The images of each part, as the model takes them in."""
        return {
            part: gallery(
                found,
                vision,
                f"The {part} part of {self.name}",
                self.bad,
                mirrored=self.config.data.mirror and part == "train",
            )
            for part, found in {"train": self.dataset.train, **held_out(self.dataset)}.items()
        }

    def summary(self) -> str:
        """The images to train on and to validate with."""
        train, valid = self._galleries["train"], self._galleries["valid"]
        vision, tokenizer = self.inputs.vision, self.inputs.tokenizer
        (height, width), types = vision.size, f"{tokenizer.vocab_size:,} types ({tokenizer.kind})"
        return (
            f"{len(train):,} images with {len(self._train.tokens):,} captions to train on, {len(valid):,} images to "
            f"validate with, {types}; {height} × {width} pixels, seen by {vision.name}"
        )

    def parts(self) -> Mapping[str, Gallery]:
        """The validation and the test images."""
        return {part: found for part, found in self._galleries.items() if part != "train"}

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, None]:
        """The cross-entropy of the tokens of one batch of captions; nothing is carried."""
        rows = self._batches.rows(*divmod(step, self.steps_per_epoch))[share]
        device = next(model.parameters()).device
        mirror = torch.rand(len(rows)).numpy() < 0.5 if self.config.data.mirror else None
        seen, inputs, targets, lengths = self._train.batch(rows, mirror)
        seen, inputs, targets = seen.to(device), inputs.to(device), targets.to(device)
        lengths = None if lengths is None else lengths.to(device)
        if own := self._own_words(step):
            with torch.no_grad():
                inputs = scheduled_inputs(model(seen, inputs, lengths), inputs, own)
        judged = targets != IGNORED
        truth, smoothing = targets[judged], self.config.loss.label_smoothing
        loss = model(seen, inputs, lengths, judged, cross_entropy(truth, label_smoothing=smoothing))
        return loss, len(truth), None

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """All captions of the validation images, each token given those before it."""
        return self.opened().surprise(self._valid).metrics()

    def hashes(self) -> dict[str, str]:
        """Hashes of the images and of the captions."""
        return {
            f"{name} {what}": value
            for name, part in (("training", self._train), ("validation", self._valid))
            for what, value in (
                ("images", part.gallery.key),
                ("captions", fingerprint(np.concatenate(part.tokens), part.images)),
            )
        }

    def _own_words(self, step: int) -> float:
        """The share of words that are to be the model's own; it grows with the share of the budget that is spent."""
        now = time.perf_counter()
        self._started = self._started or now
        return self.config.model.scheduled_sampling * self._budget.spent(step, self._elapsed + now - self._started)


def learn_tokens(data: ImageOptions, captions: list[str]) -> Tokenizer:
    """The tokenizer of captions: the words that are said often enough, or pieces of words.

    Raises:
        DataError: no word is.
    """
    size = data.vocab_size
    if data.tokenizer == "word":
        at_least = data.min_count or (5 if len(captions) >= MANY else 1)
        counts = Counter(word for caption in captions for word in caption.split())
        known = sum(count >= at_least for count in counts.values())
        if not known:
            raise DataError(
                f"No word is said {at_least} times in the training captions: give more, or lower data.min_count."
            )
        size = 2 + known if size is None else min(size, 2 + known)  # <unk> and <eos>
    return Tokenizer.train(data.tokenizer, [caption + "\n" for caption in captions], size)
