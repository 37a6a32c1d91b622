"""A trained classifier: says what an example is, and how sure it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from selfloop.data.batches import in_order, pad
from selfloop.data.examples import BadItems, Examples
from selfloop.data.media.images import as_image, coloured, resized, sequences
from selfloop.data.media.series import as_series
from selfloop.data.readers.classified import ClassReader
from selfloop.language import Cell
from selfloop.layers import Recurrent
from selfloop.metrics import Confusion
from selfloop.models import ManyToOne
from selfloop.options.classify import ClassifierOptions, ClassifyConfig
from selfloop.tasks.classify.score import Score
from selfloop.tasks.given import TEXTS, Takes, as_examples, one_image, one_series
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.look_inside import recurrent_inputs
from selfloop.tasks.opening import cell_of, read_config
from selfloop.tasks.reading import held_out, read, reading
from selfloop.training import Run

BATCH = 128
"""Examples in one call of a prediction; it changes the speed, not the figures."""


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one example.

    Attributes:
        place: where the example stands.
        label: the most probable class.
        probabilities: of each class.
        text: the example itself, where it is a text.
    """

    place: str
    label: str
    probabilities: Mapping[str, float]
    text: str | None = None

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**self._example(), "label": self.label, "probabilities": dict(self.probabilities)}

    def rows(self) -> list[dict[str, Any]]:
        """One row, for CSV: the example, and its most probable class."""
        return [{**self._example(), "label": self.label, "probability": f"{self.probabilities[self.label]:.4f}"}]

    def _example(self) -> dict[str, str]:
        return {"input": self.place, **({} if self.text is None else {"text": self.text})}

    def line(self) -> str:
        """The class alone."""
        return self.label


class Classifier:
    """A classifier that was trained on examples.

    Attributes:
        model: the network, in evaluation mode.
        inputs: how examples are read, and the classes.
        config: what was chosen when it was trained.
    """

    def __init__(self, model: ManyToOne, inputs: Inputs, config: ClassifyConfig) -> None:
        self.model, self.inputs, self.config = model.eval(), inputs, config

    @classmethod
    def open(cls, run: Run, cell: Cell | str | None = None, device: str = "cpu") -> "Classifier":
        """The best weights of a run; see `selfloop.load`."""
        config = read_config(run, ClassifyConfig)
        inputs = Inputs.load(run)
        cell = cell_of(run, config.model, cell)
        model = run.open_model(partial(cls.build, config.model, inputs, cell))
        return cls(model.to(device), inputs, config)

    @staticmethod
    def build(options: ClassifierOptions, inputs: Inputs, cell: Cell) -> ManyToOne:
        """The network, with fresh weights."""
        given = options.model_dump(exclude={"cell", "embedding_size"})
        return ManyToOne(inputs.encoder(options.embedding_size), cell, len(inputs.classes), **given)

    def predict(self, examples: Any) -> list[Prediction]:
        """The class of each example.

        Args:
            examples: an example, which gives a list of one, or several, or what `read` gives. Of a model of texts, an
                example is a string. Of a model of series, it is an array or a tensor (T, C) or (T,), or the path of a
                ``.npy`` or ``.csv`` file. Of a model of images, also an image: its path, a PIL image, or bytes (H, W)
                or (H, W, 3); it is brought to the size of those that the model was trained on. A path of another file
                or folder stands for all examples in it.

        Raises:
            ArgumentError: something is no example of the model's kind.
            DataError: an example cannot be used, or does not fit.
        """
        examples = as_examples(examples, self._takes(), partial(self.read, bad=BadItems()))
        found: dict[int, npt.NDArray[Any]] = {}
        arrays = self.inputs.arrays(examples)
        for rows, logits in self._logits(arrays):
            found |= zip(rows.tolist(), logits.softmax(-1).numpy(), strict=True)
        classes = self.inputs.classes
        return [
            Prediction(
                place,
                classes[int(found[row].argmax())],
                dict(zip(classes, found[row].tolist(), strict=True)),
                examples.inputs[row] if self.inputs.kind == "text" else None,
            )
            for row, place in enumerate(examples.places)
        ]

    def read(self, source: str, bad: BadItems) -> Examples:
        """The examples of a file or folder, whose classes need not be known, to predict."""
        return reader(self.config, bad, self.inputs).predict(source)

    def parts(self, source: str | None = None, column: str | None = None) -> Mapping[str, Examples]:
        """Examples to score, by name: all of a source, or the run's own validation and test examples.

        Args:
            source: as in `selfloop train classify`.
            column: of a table; None for the run's own.

        Raises:
            DataError: the source cannot be read, or an example is of no class that the model knows.
        """
        bad = BadItems(self.config.data.skip_bad)
        if source is not None:
            return {Path(source).name: reader(self.config, bad, self.inputs, column).score(source)}
        return held_out(read(reader(self.config, bad), self.config))

    def _takes(self) -> Takes:
        if self.inputs.kind == "text":
            return TEXTS
        image = self.inputs.image
        if image is None:
            return Takes("series (arrays (T, C), or paths)", self._series, one_series)
        what = "images (paths, PIL images, arrays of bytes (H, W) or (H, W, 3)) or series (arrays (T, C))"
        return Takes(what, self._series, lambda value: one_series(value) or one_image(value, colour=len(image) == 3))

    def _series(self, value: Any) -> npt.NDArray[np.float32] | None:
        """An array as a series (T, C), also of an image."""
        if not isinstance(value, list | tuple | np.ndarray):
            return None
        image, scan = self.inputs.image, self.config.data.scan
        if image is not None and isinstance(value, np.ndarray):
            steps = sequences([np.zeros(image, np.uint8)], scan)[0].shape
            if value.dtype == np.uint8 and value.shape != steps:
                value = coloured(resized(as_image(value), (image[0], image[1])), len(image) == 3)
            if value.shape == image:
                (value,) = sequences([value], scan)
        return as_series(value)

    def score(self, part: Examples, *, sample: int | None = None) -> Score:
        """How well the model does on examples whose classes are known.

        Args:
            part: the examples.
            sample: judge about so many of them, evenly chosen; None judges all.
        """
        rows = np.arange(len(part))[:: max(1, len(part) // sample) if sample else 1]
        examples = part.select(rows.tolist())
        return self.judge(self.inputs.arrays(examples), self.inputs.indices(examples.labels))

    def judge(self, arrays: Sequence[npt.NDArray[Any]], truth: npt.NDArray[np.int64]) -> Score:
        """The score of arrays whose classes are known by number."""
        nats, predicted = 0.0, np.zeros_like(truth)
        for rows, logits in self._logits(arrays):
            nats += float(F.cross_entropy(logits, torch.from_numpy(truth[rows]), reduction="sum").double())
            predicted[rows] = logits.argmax(-1).numpy()
        return Score(nats, Confusion.of(self.inputs.classes, truth, predicted))

    def recurrent_inputs(self, steps: int, *, fresh: bool = False) -> tuple[Recurrent, torch.Tensor]:
        """To look inside: the recurrent stack, before its training if `fresh`, and what it reads, (T, B, I)."""
        return recurrent_inputs(self, steps, fresh)

    def sample(self) -> Mapping[str, str]:
        """Nothing beyond the scores."""
        return {}

    @torch.inference_mode()
    def _logits(self, arrays: Sequence[npt.NDArray[Any]]) -> Iterator[tuple[npt.NDArray[Any], torch.Tensor]]:
        device = next(self.model.parameters()).device
        for rows in in_order([len(array) for array in arrays], BATCH):
            batch, lengths = pad([arrays[row] for row in rows])
            logits = self.model(batch.to(device), None if lengths is None else lengths.to(device))
            yield rows, logits.float().cpu()


def reader(
    config: ClassifyConfig, bad: BadItems, inputs: Inputs | None = None, column: str | None = None
) -> ClassReader:
    """What reads the examples of a configuration, for a model that is trained already if its inputs are given."""
    how = reading(config.data, bad)
    how = replace(how, input=column or how.input)
    if inputs is None:
        return ClassReader(how, scan=config.data.scan)
    how = replace(how, kind=inputs.kind)
    return ClassReader(how, scan=config.data.scan, image=inputs.image, classes=inputs.classes)
