"""Training a classifier: what the loop asks of it."""

import torch
from torch import Tensor, nn

from selfloop.data import Tokenizer
from selfloop.layers import State
from selfloop.options.classify import ClassifyConfig
from selfloop.tasks.classify.classifier import Classifier
from selfloop.tasks.examples_learner import ClassesLearner
from selfloop.tasks.inputs import Inputs, in_natural_order


class Classification(ClassesLearner[ClassifyConfig, Classifier]):
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
        rows, batch, lengths = self._batch(step, share, next(model.parameters()).device)
        return self.cross_entropy(model(batch, lengths), torch.from_numpy(self._train[1][rows])), len(rows), None

    def learn_inputs(self) -> Inputs:
        """The classes, and the tokens of texts."""
        dataset, data = self.dataset, self.config.data
        classes = in_natural_order(dataset.train.labels)
        if dataset.kind == "text":
            tokenizer = Tokenizer.train(data.tokenizer, dataset.train.inputs, data.vocab_size)
            return Inputs("text", (), classes, tokenizer)
        return Inputs(dataset.kind, tuple(dataset.train.inputs[0].shape[1:]), classes, image=dataset.image)
