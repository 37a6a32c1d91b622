"""Training a labeller: what the loop asks of it."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfloop.data.batches import Batches, pad
from selfloop.data.examples import BadItems, Dataset, Examples
from selfloop.data.vocabulary import Vocabulary
from selfloop.language import Cell
from selfloop.layers import State
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.inputs import Inputs, class_weights, fingerprint, fit_scale, in_natural_order
from selfloop.tasks.label.config import LabelConfig
from selfloop.tasks.label.labeller import Labeller, read_dataset
from selfloop.training import Run


class Labelling:
    """Sequences, labels and model for one run.

    Args:
        config: what was chosen.
        inputs: of a run that is resumed; None learns the labels, and the vocabulary, from the training sequences.
        cell: the cell, where it is not to be found by its name.

    Raises:
        DataError: the sequences cannot be read, or there is nothing to tell apart.
        ConfigError: the cell does not exist.
    """

    def __init__(self, config: LabelConfig, inputs: Inputs | None = None, cell: Cell | None = None) -> None:
        data, training = config.data, config.training
        self.config = config
        cell = cell or choose_cell(config.model.cell)
        self.bad = BadItems(data.skip_bad)
        self.dataset = read_dataset(data, self.bad)
        self.name = self.dataset.name
        self.inputs = inputs or learn_inputs(self.dataset)
        self._train = self._of(self.dataset.train)
        self._valid = self._of(self.dataset.valid)
        self._batches = Batches([len(array) for array in self._train[0]], training.batch_size, training.seed)
        self.steps_per_epoch = self._batches.per_epoch
        torch.manual_seed(training.seed)
        self.model = config.model.build(self.inputs, cell)
        fit_scale(self.model.encoder, self._train[0])
        self._weights = class_weights(
            config.loss.class_weights, np.concatenate(self._train[1]), len(self.inputs.classes)
        )

    @classmethod
    def resume(cls, config: LabelConfig, run: Run, cell: Cell | None) -> "Labelling":
        """The same, with the labels and the vocabulary that a run has kept."""
        return cls(config, Inputs.load(run), cell)

    def save(self, run: Run) -> None:
        """Keep the labels and the vocabulary."""
        self.inputs.save(run)

    def summary(self) -> str:
        """The sequences to train on and to validate with."""
        (train, _), (valid, _) = self._train, self._valid
        return (
            f"{len(train):,} sequences to train on, {sum(map(len, train)):,} steps; {len(valid):,} to validate with, "
            f"{sum(map(len, valid)):,} steps; {len(self.inputs.classes)} labels"
        )

    def parts(self) -> Mapping[str, Examples]:
        """The validation and the test sequences."""
        return {"valid": self.dataset.valid, **({"test": self.dataset.test} if self.dataset.test else {})}

    def opened(self) -> Labeller:
        """The model as it stands."""
        return Labeller(self.model, self.inputs, self.config)

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, None]:
        """The mean cross-entropy of the judged steps of one batch; nothing is carried."""
        rows = self._batches.rows(*divmod(step, self.steps_per_epoch))[share]
        device = next(model.parameters()).device
        batch, lengths = pad([self._train[0][row] for row in rows])
        truth, _ = pad([self._train[1][row] + 1 for row in rows])  # beyond the end 0, which becomes -1
        logits, _ = model(batch.to(device), lengths=None if lengths is None else lengths.to(device))
        targets = int((truth > 0).sum())
        loss = F.cross_entropy(
            logits.flatten(0, 1).float(),
            truth.flatten().to(device) - 1,
            None if self._weights is None else self._weights.to(device),
            ignore_index=-1,
            label_smoothing=self.config.loss.label_smoothing,
        )
        return loss if targets else logits.sum() * 0, targets, None

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """All validation sequences."""
        return self.opened().judge(*self._valid, self.dataset.valid.places).metrics()

    def facts(self) -> Mapping[str, Any]:
        """Hashes of the sequences as the model reads them."""
        return self._hashes

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
        return {
            "training sequences": fingerprint(*self._train[0], *self._train[1]),
            "validation sequences": fingerprint(*self._valid[0], *self._valid[1]),
        }

    def _of(self, examples: Examples) -> tuple[Any, Any]:
        return self.inputs.arrays(examples), [self.inputs.indices(names) for names in examples.labels]


def learn_inputs(dataset: Dataset) -> Inputs:
    """How to read the sequences of a data set: its labels, and the shape of a step or the vocabulary."""
    train = dataset.train
    classes = in_natural_order(name for names in train.labels for name in names if name is not None)
    if dataset.kind == "words":
        return Inputs("words", (), classes, vocabulary=Vocabulary.of(train.inputs))
    return Inputs(dataset.kind, tuple(train.inputs[0].shape[1:]), classes)
