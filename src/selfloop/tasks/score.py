"""How well a model does, and what there is to draw of it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from selfloop.data.media.image_files import Picture
from selfloop.metrics import Confusion
from selfloop.tasks.answer import Answer, Mistake


@dataclass(frozen=True)
class Timeline:
    """Labels along sequences.

    Attributes:
        places: where each sequence stands.
        true, predicted: the labels of each; a true one of None is not known.
        words: the sequences themselves, if they are sentences.
    """

    places: Sequence[str]
    true: Sequence[Sequence[str | None]]
    predicted: Sequence[Sequence[str]]
    words: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class ContactSheet:
    """Images with the captions that a model gives them, and those that people gave, where they are known."""

    pictures: Sequence[Picture]
    captions: Sequence[str]
    references: Sequence[Sequence[str]] | None = None


class Alignment(NamedTuple):
    """What a translation attended to; the first arguments of `selfloop.inspect.draw_attention`.

    Attributes:
        weights: (T, S), from 0 to 1; row t holds the weights with which target token t attends to the source.
        source_tokens: the S source tokens.
        target_tokens: the T target tokens, the end among them.
    """

    weights: npt.NDArray[np.float32]
    source_tokens: list[str]
    target_tokens: list[str]


@dataclass(frozen=True)
class Attention:
    """What some translations attended to."""

    alignments: Sequence[Alignment]


Drawing = Confusion | Timeline | ContactSheet | Attention
"""What can be drawn."""


@dataclass(frozen=True)
class Score(ABC):
    """How well a model does on some data.

    Attributes:
        predictions: what it said of each example, with what is true; none where nothing is said of examples.
    """

    predictions: Sequence[Answer] = field(default=(), kw_only=True, repr=False)

    @property
    @abstractmethod
    def count(self) -> int:
        """How many targets were judged."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """The figures by name; the first is the loss, a target's mean, in the unit that the task's row names."""

    def details(self) -> Sequence[Mapping[str, str | float]]:
        """A row a class, where there are classes."""
        return []

    def judged_rows(self) -> Iterator[dict[str, object]]:
        """The rows of a table of the predictions, with what is true."""
        return (row for one in self.predictions for row in one.judged_rows())

    def mistakes(self) -> list[Mistake]:
        """The classes that were predicted and are wrong, the most confident first."""
        return sorted((mistake for one in self.predictions for mistake in one.mistakes()), reverse=True)

    @property
    def signatures(self) -> Mapping[str, str]:
        """How figures were computed, where that is not one and the same everywhere, by name."""
        return {}

    def drawings(self) -> Sequence[Drawing]:
        """What there is to draw."""
        return []


@dataclass(frozen=True)
class ClassScore(Score):
    """What a model made of examples or steps whose class is known.

    Attributes:
        nats: the sum of -log p(true class) over those that are judged.
        confusion: which classes were taken for which.
    """

    nats: float
    confusion: Confusion

    @property
    def count(self) -> int:
        """The examples or steps that were judged."""
        return int(self.confusion.counts.sum())

    @property
    def loss(self) -> float:
        """Nats a target: the cross-entropy."""
        return self.nats / self.count

    @property
    def accuracy(self) -> float:
        """The share of the targets whose class was found, from 0 to 1."""
        return self.confusion.accuracy

    def metrics(self) -> dict[str, float]:
        """The figures by name."""
        return {"loss": self.loss, "accuracy": self.accuracy, "macro_f1": self.confusion.macro_f1}

    def details(self) -> list[dict[str, str | float]]:
        """A row a class: precision, recall, F1 and support."""
        return [row._asdict() for row in self.confusion.per_class()]

    def drawings(self) -> Sequence[Drawing]:
        """The confusion matrix."""
        return [self.confusion]


@dataclass(frozen=True)
class TokenScore(Score):
    """The surprise of a model at texts, each token given the true ones before it.

    Attributes:
        nats: the sum of -log p over the tokens.
        tokens: how many were scored.
    """

    nats: float
    tokens: int

    @property
    def count(self) -> int:
        """The tokens, which are what is judged."""
        return self.tokens

    @property
    def loss(self) -> float:
        """Nats a token: the cross-entropy."""
        return self.nats / max(1, self.tokens)

    @property
    def perplexity(self) -> float:
        """Exp of the loss: as if so many tokens were equally likely at each step."""
        return math.exp(min(self.loss, 700.0))

    def metrics(self) -> dict[str, float]:
        """The figures by name."""
        return {"loss": self.loss, "perplexity": self.perplexity}
