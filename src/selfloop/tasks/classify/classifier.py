"""A trained classifier: says what an example is, and how sure it is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from selfloop.data.examples import BadItems, Examples
from selfloop.data.media.images import as_image, coloured, resized, sequences
from selfloop.data.media.series import as_series
from selfloop.data.readers.classified import ClassReader
from selfloop.metrics import Confusion
from selfloop.models import ManyToOne
from selfloop.options.classify import ClassifyConfig
from selfloop.tasks.answer import Answer, Mistake
from selfloop.tasks.examples_predictor import ExamplesPredictor
from selfloop.tasks.given import TEXTS, Example, Takes, as_examples, one_image, one_series
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.reading import reading
from selfloop.tasks.results import some
from selfloop.tasks.score import ClassScore
from selfloop.tasks.watched import CLASSES, Facts, class_facts


@dataclass(frozen=True)
class Prediction(Answer):
    """What a classifier says of one example.

    Attributes:
        place: where the example stands.
        label: the most probable class.
        probabilities: of each class.
        text: the example itself, where it is a text.
        truth: the true class, where it is known.
    """

    label: str
    probabilities: Mapping[str, float]
    text: str | None = None
    truth: str | None = None

    def facts(self) -> dict[str, object]:
        """All of it, for JSON."""
        return {**self.example(), "label": self.label, "probabilities": dict(self.probabilities)}

    def rows(self) -> list[dict[str, object]]:
        """One row, for CSV: the example, and its most probable class."""
        return [{**self.example(), "label": self.label, "probability": f"{self.probabilities[self.label]:.4f}"}]

    def judged_rows(self) -> list[dict[str, object]]:
        """The same row, with the true class, and whether it was found."""
        return [{**row, "true_label": self.truth, "correct": self.label == self.truth} for row in self.rows()]

    def mistakes(self) -> list[Mistake]:
        """The class, if it is wrong."""
        if self.truth in (None, self.label):
            return []
        return [Mistake(self.probabilities[self.label], self.label, str(self.truth), self.place, self.text or "")]

    def example(self) -> dict[str, object]:
        """Which example it is of, with its text."""
        return {**super().example(), **({} if self.text is None else {"text": self.text})}

    def line(self) -> str:
        """The class alone."""
        return self.label


class Classifier(ExamplesPredictor[ManyToOne, ClassifyConfig, Prediction, ClassScore]):
    """A classifier that was trained on examples.

    Attributes:
        model: the network, in evaluation mode.
        inputs: how examples are read, and the classes.
        config: what was chosen when it was trained.
    """

    NETWORK = ManyToOne
    BATCH = 128

    def predict(self, examples: Examples | Example | Iterable[Example]) -> list[Prediction]:
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
        return self.said(examples, self.answers(self.inputs.arrays(examples)))

    def said(self, examples: Examples, answers: Sequence[torch.Tensor]) -> list[Prediction]:
        """The class of each example, by its logits."""
        classes, found = self.inputs.classes, [logits.softmax(-1) for logits in answers]
        texts = examples.inputs if self.inputs.kind == "text" else [None] * len(examples)
        truths = examples.labels or [None] * len(examples)
        return [
            Prediction(place, classes[int(p.argmax())], dict(zip(classes, p.tolist(), strict=True)), text, truth)
            for place, p, text, truth in zip(examples.places, found, texts, truths, strict=True)
        ]

    def knows(self) -> str:
        """The classes."""
        return some(self.inputs.classes, "classes")

    @classmethod
    def reader(
        cls, config: ClassifyConfig, bad: BadItems, inputs: Inputs | None = None, column: str | None = None
    ) -> ClassReader:
        """What reads the examples of a configuration."""
        how, scan = reading(config.data, bad, column), config.data.scan
        if inputs is None:
            return ClassReader(how, scan=scan)
        how = replace(how, kind=inputs.kind, columns=inputs.columns)
        return ClassReader(how, scan=scan, image=inputs.image, classes=inputs.classes)

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

    @classmethod
    def truth(cls, inputs: Inputs, labels: Sequence[str]) -> npt.NDArray[np.int64]:
        """The number of the class of each example."""
        return inputs.indices(labels)

    def judge(self, answers: Sequence[torch.Tensor], truth: npt.NDArray[np.int64], examples: Examples) -> ClassScore:
        """The score of examples whose classes are known by number, by their logits."""
        logits = torch.stack([*answers])
        nats = F.cross_entropy(logits.double(), torch.from_numpy(truth), reduction="sum")
        return ClassScore(float(nats), Confusion.of(self.inputs.classes, truth, logits.argmax(-1).numpy()))

    def targets(self, part: Examples, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Facts]:
        """The last step of each example, its class, and whether it is of one of the most frequent classes.

        This is known in the last quarter of its steps: at the first ones no model could tell.
        """
        classes = torch.from_numpy(self.truth(self.inputs, part.labels))
        last = torch.stack([torch.arange(len(part)), lengths - 1], dim=1)
        step = np.arange(int(lengths.max()))[:, None]
        late = (step < lengths.numpy()) & (step >= lengths.numpy() * 3 // 4)
        facts = class_facts(part.labels, "class", CLASSES)
        return last, classes, {name: np.where(late, values, np.nan) for name, values in facts.items()}

    def read_out(self, model: ManyToOne, y: torch.Tensor, lengths: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """The logits of each sequence."""
        logits: torch.Tensor = model.readout(model.pooling(y, lengths))
        return logits

    def answer(self, batch: torch.Tensor, lengths: torch.Tensor | None) -> Sequence[torch.Tensor]:
        """The logits of each example."""
        logits: torch.Tensor = self.model(batch, lengths)
        return logits.float().cpu().unbind()
