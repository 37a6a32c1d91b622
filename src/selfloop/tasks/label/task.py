"""Training a labeller: what the loop asks of it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from selfloop.data.batches import pad
from selfloop.data.examples import Dataset
from selfloop.data.text.vocabulary import Vocabulary
from selfloop.layers import State
from selfloop.tasks.examples_learner import ExamplesLearner
from selfloop.tasks.inputs import Inputs, in_natural_order
from selfloop.tasks.label.labeller import Labeller, reader
from selfloop.tasks.label.score import Score
from selfloop.tasks.reading import read


class Labelling(ExamplesLearner):
    """Sequences, each with a label a step."""

    UNITS = "sequences"
    OPENED = Labeller

    def summary(self) -> str:
        """The sequences to train on and to validate with."""
        (train, _), (valid, _) = self._train, self._valid
        return (
            f"{len(train):,} sequences to train on, {sum(map(len, train)):,} steps; {len(valid):,} to validate with, "
            f"{sum(map(len, valid)):,} steps; {len(self.inputs.classes)} labels"
        )

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, None]:
        """The mean cross-entropy of the judged steps of one batch; nothing is carried."""
        rows, (arrays, labels) = self._rows(step, share), self._train
        device = next(model.parameters()).device
        batch, lengths = pad([arrays[row] for row in rows])
        truth, _ = pad([labels[row] + 1 for row in rows])  # beyond the end 0, which becomes -1
        logits, _ = model(batch.to(device), lengths=None if lengths is None else lengths.to(device))
        targets = int((truth > 0).sum())
        loss = F.cross_entropy(
            logits.flatten(0, 1).float(),
            truth.flatten().to(device) - 1,
            self._weights_on(device),
            ignore_index=-1,
            label_smoothing=self.config.loss.label_smoothing,
        )
        return loss if targets else logits.sum() * 0, targets, None

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """All validation sequences."""
        score: Score = self.opened().judge(*self._valid, self.dataset.valid.places)
        return score.metrics()

    def _read(self) -> Dataset:
        return read(reader(self.config, self.bad), self.config)

    def _learn_inputs(self) -> Inputs:
        train, kind = self.dataset.train, self.dataset.kind
        classes = in_natural_order(name for names in train.labels for name in names if name is not None)
        if kind == "words":
            return Inputs("words", (), classes, vocabulary=Vocabulary.of(train.inputs))
        return Inputs(kind, tuple(train.inputs[0].shape[1:]), classes)

    def _truth(self, labels: Any) -> Any:
        return [self.inputs.indices(names) for names in labels]
