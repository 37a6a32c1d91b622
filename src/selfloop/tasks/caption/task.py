"""Training a captioner: what the loop asks of it."""

import functools
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfloop.data import Tokenizer
from selfloop.data.batches import Batches
from selfloop.data.examples import BadItems
from selfloop.errors import DataError
from selfloop.language import Cell
from selfloop.layers import State
from selfloop.models.scheduled_sampling import scheduled_inputs
from selfloop.options.caption import CaptionConfig, ImageOptions
from selfloop.tasks.caption.captioner import Captioner, reader
from selfloop.tasks.caption.choose_vision import choose_vision
from selfloop.tasks.caption.gallery import IGNORED, Gallery, Sentences, gallery, plain
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.inputs import fingerprint
from selfloop.tasks.reading import held_out, read
from selfloop.training import Run, read_progress
from selfloop.training.checkpoint import writing
from selfloop.training.schedule import Budget

MANY = 10_000
"""Captions of which a word must be among five to be known, where nothing else is asked for."""


class Captioning:
    """Images, captions and model for one run.

    Args:
        config: what was chosen.
        tokenizer: of a run that is resumed; None learns one from the training captions.
        cell: the cell, where it is not to be found by its name.
        elapsed: seconds that a run which is resumed has taken.

    Raises:
        DataError: the images or captions cannot be read.
        ConfigError: the cell or the encoder does not exist.
    """

    def __init__(
        self,
        config: CaptionConfig,
        tokenizer: Tokenizer | None = None,
        cell: Cell | None = None,
        elapsed: float = 0.0,
    ) -> None:
        data, training = config.data, config.training
        self.config = config
        cell = cell or choose_cell(config.model.cell)
        torch.manual_seed(training.seed)
        self.vision = choose_vision(config.model.encoder, data.size)
        self.bad = BadItems(data.skip_bad)
        dataset = read(reader(config, self.bad), config)
        self.name, self.origin = dataset.name, dataset.origin
        self._galleries = {
            part: gallery(
                found,
                self.vision,
                f"The {part} part of {self.name}",
                self.bad,
                mirrored=data.mirror and part == "train",
            )
            for part, found in {"train": dataset.train, **held_out(dataset)}.items()
        }
        said = [plain(caption) for captions in self._galleries["train"].captioned.labels for caption in captions]
        self.tokenizer = tokenizer or learn_tokens(data, said)
        self._train, self._valid = (Sentences.of(self._galleries[part], self.tokenizer) for part in ("train", "valid"))
        self._batches = Batches([len(tokens) for tokens in self._train.tokens], training.batch_size, training.seed)
        self.steps_per_epoch = self._batches.per_epoch
        self.model = Captioner.build(config.model, self.vision, self.tokenizer.vocab_size, cell)
        self._budget = Budget.of(training, self.steps_per_epoch)
        self._started, self._elapsed = 0.0, elapsed

    @classmethod
    def resume(cls, config: CaptionConfig, run: Run, cell: Cell | None) -> "Captioning":
        """The same, with the tokenizer that a run has kept."""
        return cls(config, Tokenizer.load(run.path / "tokenizer.json"), cell, read_progress(run).elapsed)

    def save(self, run: Run) -> None:
        """Keep the tokenizer."""
        with writing(run.path / "tokenizer.json"):
            self.tokenizer.save(run.path / "tokenizer.json")

    def summary(self) -> str:
        """The images to train on and to validate with."""
        train, valid = self._galleries["train"], self._galleries["valid"]
        (height, width), types = self.vision.size, f"{self.tokenizer.vocab_size:,} types ({self.tokenizer.kind})"
        return (
            f"{len(train):,} images with {len(self._train.tokens):,} captions to train on, {len(valid):,} images to "
            f"validate with, {types}; {height} × {width} pixels, seen by {self.vision.name}"
        )

    def parts(self) -> Mapping[str, Gallery]:
        """The validation and the test images."""
        return {part: found for part, found in self._galleries.items() if part != "train"}

    def opened(self) -> Captioner:
        """The model as it stands."""
        return Captioner(self.model, self.vision, self.tokenizer, self.config)

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
        logits = model(
            seen, inputs, lengths
        )  # captions of like length share a batch: of Flickr8k's logits 6 % mean nothing
        smoothing = self.config.loss.label_smoothing
        loss = F.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
        )
        return loss, int((targets != IGNORED).sum()), None

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """All captions of the validation images, each token given those before it."""
        return self.opened().surprise(self._valid).metrics()

    def facts(self) -> Mapping[str, Any]:
        """Hashes of the images and of the captions."""
        return self._hashes

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
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
