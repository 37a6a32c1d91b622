"""How well a labeller does."""

from collections.abc import Sequence
from dataclasses import dataclass

from selfloop.metrics import are_spans, edit_score, f1_at, span_scores
from selfloop.tasks.score import ClassScore, Drawing, Timeline

SHOWN = 6
"""Sequences that are drawn one below the other."""


@dataclass(frozen=True)
class Score(ClassScore):
    """What a labeller made of sequences whose labels are known.

    Attributes:
        nats: the sum of -log p(true label) over the steps that are judged.
        confusion: which labels were taken for which.
        true, predicted: the labels of each sequence; a true one of None is not judged.
        places: where each sequence stands.
        words: the sequences themselves, where they are of words.
    """

    true: Sequence[Sequence[str | None]]
    predicted: Sequence[Sequence[str]]
    places: Sequence[str]
    words: Sequence[Sequence[str]] = ()

    def metrics(self) -> dict[str, float]:
        """The figures by name: of tags in BIO form those of their spans, from 0 to 1, else those of action
        segmentation, from 0 to 100.
        """
        figures = super().metrics()
        if are_spans(self.confusion.classes):
            return {**figures, **span_scores(self.true, self.predicted)}
        segmentation = {
            "edit": edit_score(self.true, self.predicted),
            "f1_at_50": f1_at(self.true, self.predicted, overlap=0.5),
        }
        return {**figures, **segmentation}

    def drawings(self) -> Sequence[Drawing]:
        """The confusion matrix, and the first sequences that have more than one label, as far as there are any."""
        plain = [len({*true, *predicted}) < 2 for true, predicted in zip(self.true, self.predicted, strict=True)]
        rows = sorted(range(len(plain)), key=plain.__getitem__)[:SHOWN]
        places, true = [self.places[k] for k in rows], [self.true[k] for k in rows]
        predicted = [self.predicted[k] for k in rows]
        words = [self.words[k] for k in rows] if self.words else ()
        return [self.confusion, Timeline(places, true, predicted, words)]
