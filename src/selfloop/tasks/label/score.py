"""How well a labeller does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selfloop.metrics import Confusion, are_spans, edit_score, f1_at, span_scores


@dataclass(frozen=True)
class Score:
    """What a labeller made of sequences whose labels are known.

    Attributes:
        nats: the sum of -log p(true label) over the steps that are judged.
        confusion: which labels were taken for which.
        true, predicted: the labels of each sequence; a true one of None is not judged.
        places: where each sequence stands.
    """

    nats: float
    confusion: Confusion
    true: Sequence[Sequence[str | None]]
    predicted: Sequence[Sequence[str]]
    places: Sequence[str]

    @property
    def count(self) -> int:
        """The steps that were judged."""
        return int(self.confusion.counts.sum())

    @property
    def loss(self) -> float:
        """Nats a step: the cross-entropy."""
        return self.nats / self.count

    @property
    def accuracy(self) -> float:
        """The share of the steps whose label was found, from 0 to 1."""
        return self.confusion.accuracy

    def metrics(self) -> dict[str, float]:
        """The figures by name: of tags in BIO form those of their spans, from 0 to 1, else those of action
        segmentation, from 0 to 100.
        """
        figures = {"loss": self.loss, "accuracy": self.accuracy, "macro_f1": self.confusion.macro_f1}
        if are_spans(self.confusion.classes):
            return {**figures, **span_scores(self.true, self.predicted)}
        segmentation = {
            "edit": edit_score(self.true, self.predicted),
            "f1_at_50": f1_at(self.true, self.predicted, overlap=0.5),
        }
        return {**figures, **segmentation}

    def details(self) -> list[dict[str, Any]]:
        """A row a label: precision, recall, F1 and support."""
        return [row._asdict() for row in self.confusion.per_class()]
