"""Training a classifier: what the loop asks of it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfloop.data import Tokenizer
from selfloop.data.batches import pad
from selfloop.data.examples import Dataset
from selfloop.layers import State
from selfloop.tasks.classify.classifier import Classifier, reader
from selfloop.tasks.classify.score import Score
from selfloop.tasks.examples_learner import ExamplesLearner
from selfloop.tasks.inputs import Inputs, in_natural_order
from selfloop.tasks.reading import read


class Classification(ExamplesLearner):
    """Examples, each of a class."""

    UNITS = "examples"
    OPENED = Classifier

    def summary(self) -> str:
        """The examples to train on and to validate with."""
        (train, _), (valid, _) = self._train, self._valid
        return (
            f"{len(train):,} examples to train on, {len(valid):,} to validate with, "
            f"{len(self.inputs.classes)} classes; at most {max(map(len, train)):,} steps"
        )

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, None]:
        """The cross-entropy of the classes of one batch; nothing is carried."""
        rows, (arrays, classes) = self._rows(step, share), self._train
        device = next(model.parameters()).device
        batch, lengths = pad([arrays[row] for row in rows])
        logits = model(batch.to(device), None if lengths is None else lengths.to(device))
        truth = torch.from_numpy(classes[rows]).to(device)
        smoothing = self.config.loss.label_smoothing
        loss = F.cross_entropy(logits.float(), truth, self._weights_on(device), label_smoothing=smoothing)
        return loss, len(rows), None

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """All validation examples."""
        score: Score = self.opened().judge(*self._valid)
        return score.metrics()

    def _read(self) -> Dataset:
        return read(reader(self.config, self.bad), self.config)

    def _learn_inputs(self) -> Inputs:
        dataset, data = self.dataset, self.config.data
        classes = in_natural_order(dataset.train.labels)
        if dataset.kind == "text":
            tokenizer = Tokenizer.train(data.tokenizer, dataset.train.inputs, data.vocab_size)
            return Inputs("text", (), classes, tokenizer)
        return Inputs(dataset.kind, tuple(dataset.train.inputs[0].shape[1:]), classes, image=dataset.image)

    def _truth(self, labels: Any) -> Any:
        return self.inputs.indices(labels)
