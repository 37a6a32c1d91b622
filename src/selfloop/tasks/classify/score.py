"""How well a classifier does."""

from dataclasses import dataclass
from typing import Any

from selfloop.metrics import Confusion


@dataclass(frozen=True)
class Score:
    """What a classifier made of examples whose class is known.

    Attributes:
        nats: the sum of -log p(true class) over the examples.
        confusion: which classes were taken for which.
    """

    nats: float
    confusion: Confusion

    @property
    def count(self) -> int:
        """The examples."""
        return int(self.confusion.counts.sum())

    @property
    def loss(self) -> float:
        """Nats an example: the cross-entropy."""
        return self.nats / self.count

    @property
    def accuracy(self) -> float:
        """The share of the examples whose class was found, from 0 to 1."""
        return self.confusion.accuracy

    def metrics(self) -> dict[str, float]:
        """The figures by name."""
        return {"loss": self.loss, "accuracy": self.accuracy, "macro_f1": self.confusion.macro_f1}

    def details(self) -> list[dict[str, Any]]:
        """A row a class: precision, recall, F1 and support."""
        return [row._asdict() for row in self.confusion.per_class()]
