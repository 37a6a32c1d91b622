"""What trains on labelled examples: the data, the model and the batches of one run, for classes and for labels."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from selfloop.data.batches import Batches
from selfloop.data.examples import BadItems, Dataset, Examples
from selfloop.language import Cell
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.inputs import Inputs, class_weights, fingerprint, fit_scale
from selfloop.training import Run

Learner = TypeVar("Learner", bound="ExamplesLearner")


class ExamplesLearner(ABC):
    """Labelled examples, how they are read, and the model, for one run.

    Args:
        config: what was chosen.
        inputs: of a run that is resumed; None learns the labels, and what texts are made of, from the training part.
        cell: the cell, where it is not to be found by its name.

    Raises:
        DataError: the examples cannot be read, or there is nothing to tell apart.
        ConfigError: the cell does not exist.
    """

    UNITS: ClassVar[str]
    """What examples are called, in errors."""

    OPENED: ClassVar[Any]
    """What its runs open as."""

    def __init__(self, config: Any, inputs: Inputs | None = None, cell: Cell | None = None) -> None:
        training = config.training
        self.config = config
        cell = cell or choose_cell(config.model.cell)
        self.bad = BadItems(config.data.skip_bad)
        self.dataset = self._read()
        self.name, self.origin = self.dataset.name, self.dataset.origin
        self.inputs = inputs or self._learn_inputs()
        self._train, self._valid = self._of(self.dataset.train), self._of(self.dataset.valid)
        arrays, truth = self._train
        self._batches = Batches([len(array) for array in arrays], training.batch_size, training.seed)
        self.steps_per_epoch = self._batches.per_epoch
        torch.manual_seed(training.seed)
        self.model = self.OPENED.build(config.model, self.inputs, cell)
        fit_scale(self.model.encoder, arrays)
        self._weights = class_weights(config.loss.class_weights, np.hstack(truth), len(self.inputs.classes))

    @abstractmethod
    def _read(self) -> Dataset:
        """The data set that the configuration names."""

    @abstractmethod
    def _learn_inputs(self) -> Inputs:
        """How to read its examples."""

    @abstractmethod
    def _truth(self, labels: Any) -> Any:
        """The labels of a part by number: a number an example, or an array of them, one a step."""

    @classmethod
    def resume(cls: type[Learner], config: Any, run: Run, cell: Cell | None) -> Learner:
        """The same, with the labels and what texts are made of as a run has kept them."""
        return cls(config, Inputs.load(run), cell)

    def save(self, run: Run) -> None:
        """Keep these."""
        self.inputs.save(run)

    def opened(self) -> Any:
        """The model as it stands."""
        return self.OPENED(self.model, self.inputs, self.config)

    def parts(self) -> Mapping[str, Examples]:
        """The validation and the test examples."""
        return {"valid": self.dataset.valid, **({"test": self.dataset.test} if self.dataset.test else {})}

    def facts(self) -> Mapping[str, Any]:
        """Hashes of the examples as the model reads them."""
        return self._hashes

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
        parts = {"training": self._train, "validation": self._valid}
        return {f"{name} {self.UNITS}": fingerprint(*arrays, *truth) for name, (arrays, truth) in parts.items()}

    def _of(self, examples: Examples) -> tuple[Any, Any]:
        return self.inputs.arrays(examples), self._truth(examples.labels)

    def _rows(self, step: int, share: slice) -> npt.NDArray[np.integer]:
        """The examples of an update."""
        return self._batches.rows(*divmod(step, self.steps_per_epoch))[share]

    def _weights_on(self, device: torch.device) -> Tensor | None:
        return None if self._weights is None else self._weights.to(device)
