"""Training a classifier: what the loop asks of it."""

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfloop.data import Tokenizer
from selfloop.data.batches import Batches, pad
from selfloop.data.examples import BadItems, Dataset, Examples
from selfloop.language import Cell
from selfloop.layers import State
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.classify.classifier import Classifier, read_dataset
from selfloop.tasks.classify.config import ClassifyConfig
from selfloop.tasks.inputs import Inputs, class_weights, fingerprint, fit_scale, in_natural_order
from selfloop.training import Run


class Classification:
    """Examples, classes and model for one run.

    Args:
        config: what was chosen.
        inputs: of a run that is resumed; None learns the classes, and the tokenizer, from the training examples.
        cell: the cell, where it is not to be found by its name.

    Raises:
        DataError: the examples cannot be read, or there is nothing to tell apart.
        ConfigError: the cell does not exist.
    """

    def __init__(self, config: ClassifyConfig, inputs: Inputs | None = None, cell: Cell | None = None) -> None:
        data, training = config.data, config.training
        self.config = config
        cell = cell or choose_cell(config.model.cell)
        self.bad = BadItems(data.skip_bad)
        self.dataset = read_dataset(data, self.bad)
        self.name = self.dataset.name
        self.inputs = inputs or learn_inputs(self.dataset, data.tokenizer, data.vocab_size)
        self._arrays, self._classes = self._of(self.dataset.train)
        self._valid = self._of(self.dataset.valid)
        self._batches = Batches([len(a) for a in self._arrays], training.batch_size, training.seed)
        self.steps_per_epoch = self._batches.per_epoch
        torch.manual_seed(training.seed)
        self.model = config.model.build(self.inputs, cell)
        fit_scale(self.model.encoder, self._arrays)
        self._weights = class_weights(config.loss.class_weights, self._classes, len(self.inputs.classes))

    @classmethod
    def resume(cls, config: ClassifyConfig, run: Run, cell: Cell | None) -> "Classification":
        """The same, with the classes and the tokenizer that a run has kept."""
        return cls(config, Inputs.load(run), cell)

    def save(self, run: Run) -> None:
        """Keep the classes and the tokenizer."""
        self.inputs.save(run)

    def summary(self) -> str:
        """The examples to train on and to validate with."""
        train, valid = self.dataset.train, self.dataset.valid
        longest = max(len(array) for array in self._arrays)
        return (
            f"{len(train):,} examples to train on, {len(valid):,} to validate with, "
            f"{len(self.inputs.classes)} classes; at most {longest:,} steps"
        )

    def parts(self) -> Mapping[str, Examples]:
        """The validation and the test examples."""
        return {"valid": self.dataset.valid, **({"test": self.dataset.test} if self.dataset.test else {})}

    def opened(self) -> Classifier:
        """The model as it stands."""
        return Classifier(self.model, self.inputs, self.config)

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, None]:
        """The cross-entropy of the classes of one batch; nothing is carried."""
        rows = self._batches.rows(*divmod(step, self.steps_per_epoch))[share]
        device = next(model.parameters()).device
        batch, lengths = pad([self._arrays[row] for row in rows])
        logits = model(batch.to(device), None if lengths is None else lengths.to(device))
        weights = None if self._weights is None else self._weights.to(device)
        truth = torch.from_numpy(self._classes[rows]).to(device)
        smoothing = self.config.loss.label_smoothing
        return F.cross_entropy(logits.float(), truth, weights, label_smoothing=smoothing), len(rows), None

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """All validation examples."""
        return self.opened().judge(*self._valid).metrics()

    def facts(self) -> Mapping[str, Any]:
        """Hashes of the examples as the model reads them."""
        return self._hashes

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
        arrays, classes = self._valid
        return {
            "training examples": fingerprint(*self._arrays, self._classes),
            "validation examples": fingerprint(*arrays, classes),
        }

    def _of(self, examples: Examples) -> tuple[Any, Any]:
        return self.inputs.arrays(examples), self.inputs.indices(examples.labels)


def learn_inputs(dataset: Dataset, tokenizer: str, vocab_size: int | None) -> Inputs:
    """How to read the examples of a data set: its classes, and the shape of a step or the tokenizer."""
    classes = in_natural_order(dataset.train.labels)
    if dataset.kind == "text":
        return Inputs("text", (), classes, Tokenizer.train(tokenizer, dataset.train.inputs, vocab_size))
    return Inputs(dataset.kind, tuple(dataset.train.inputs[0].shape[1:]), classes)
