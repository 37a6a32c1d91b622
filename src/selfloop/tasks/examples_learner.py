"""What trains on labelled examples: the data, the model and the batches of one run, for classes and for labels."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from selfloop.config import Section
from selfloop.data.batches import Batches, pad, suited_size
from selfloop.data.examples import Examples
from selfloop.errors import ConfigError
from selfloop.language import Cell
from selfloop.layers.read_out import ReadOut, cross_entropy
from selfloop.options.fields import filled
from selfloop.options.sections import ClassWeights, WordOptions
from selfloop.tasks.examples_predictor import ExamplesPredictor
from selfloop.tasks.inputs import Inputs, class_weights, fingerprint, fit_scale
from selfloop.tasks.learner import Learner
from selfloop.tasks.pretrained import Vectors, begin_with, pretrained, size_of
from selfloop.tasks.score import Score

Config = TypeVar("Config", bound=Section)
Opened = TypeVar("Opened", bound=ExamplesPredictor[Any, Any, Any, Any])


class ExamplesLearner(Learner[Inputs, Config, Opened]):
    """Labelled examples, how they are read, and the model, for one run."""

    OPENED: ClassVar[type[ExamplesPredictor[Any, Any, Any, Any]]]

    UNITS: ClassVar[str]
    """What examples are called."""

    _vectors: Vectors = MappingProxyType({})

    def __init__(self, config: Config, inputs: Inputs | None = None, cell: Cell | None = None) -> None:
        super().__init__(config, inputs, cell)
        fit_scale(self.model.encoder, self._train[0])
        begin_with(self._vectors, self.model.encoder, self.inputs.vocabulary)

    def suited(self, config: Config) -> Config:
        """The size of a batch by the number of examples, and that of word vectors by those that are given.

        Raises:
            DataError: the vectors cannot be read, or there are none of the words.
            ConfigError: the examples are of no words, or the vectors have another size than the model.
        """
        chosen: Any = filled(config, training={"batch_size": suited_size(len(self.dataset.train))})
        path = chosen.data.vectors if isinstance(chosen.data, WordOptions) else None
        if path is None:
            return chosen  # type: ignore[no-any-return]
        sentences, name, model = self.sentences(config), self.dataset.name, chosen.model
        if sentences is None:
            raise ConfigError(f"The vectors in {path} are of words, and {name} is not read as words: leave them out.")
        size = model.embedding_size if "embedding_size" in model.model_fields_set else None
        self._vectors = pretrained(path, sentences, size, self.bad.notes)
        model = model.model_copy(update={"embedding_size": size_of(self._vectors)})
        return chosen.model_copy(update={"model": model})  # type: ignore[no-any-return]

    def sentences(self, config: Config) -> Iterable[Sequence[str]] | None:
        """The words of each training example; None where they are not read as words."""
        return None

    def prepare(self) -> int:
        """The examples as arrays, their labels as numbers, and the batches."""
        training = self.config.training  # type: ignore[attr-defined]
        self._train, self._valid = self._of(self.dataset.train), self._of(self.dataset.valid)
        self._batches = Batches([len(array) for array in self._train[0]], training.batch_size, training.seed)
        return self._batches.per_epoch

    def validate(self, model: torch.nn.Module) -> Mapping[str, float]:
        """The figures of all validation examples."""
        opened, (arrays, truth) = self.opened(), self._valid
        found: Score = opened.judge(opened.answers(arrays), truth, self.dataset.valid)
        return found.metrics()

    def hashes(self) -> dict[str, str]:
        """Hashes of the examples as the model reads them."""
        parts = {"training": self._train, "validation": self._valid}
        return {f"{name} {self.UNITS}": fingerprint(*arrays, *truth) for name, (arrays, truth) in parts.items()}

    def _of(self, examples: Examples) -> tuple[Any, Any]:
        return self.inputs.arrays(examples), self.OPENED.truth(self.inputs, examples.labels)

    def _batch(self, step: int, share: slice, device: torch.device) -> tuple[Any, Tensor, Tensor | None]:
        """The rows of an update, and their arrays side by side with their lengths."""
        rows: npt.NDArray[np.integer] = self._batches.rows(*divmod(step, self.steps_per_epoch))[share]
        batch, lengths = pad([self._train[0][row] for row in rows])
        return rows, batch.to(device), None if lengths is None else lengths.to(device)


class ClassesLearner(ExamplesLearner[Config, Opened]):
    """The same, where what is true is a class: of an example, or of each of its steps."""

    @property
    def best_by(self) -> str:
        """As it was chosen, or suits the data."""
        return str(self.config.training.best)  # type: ignore[attr-defined]

    def prepare(self) -> int:
        """As of all examples, and what each class weighs."""
        per_epoch = super().prepare()
        kind: ClassWeights = self.config.loss.class_weights  # type: ignore[attr-defined]
        self._weights = class_weights(kind, np.hstack(self._train[1]), len(self.inputs.classes))
        return per_epoch

    def cross_entropy(self, truth: Tensor, device: torch.device, where: Tensor | None = None) -> ReadOut:
        """The mean cross-entropy at classes, but -1, of the vectors that `where` has chosen, or of all."""
        smoothing = self.config.loss.label_smoothing  # type: ignore[attr-defined]
        weights = None if self._weights is None else self._weights.to(device)
        where = None if where is None else where.to(device)
        labels = truth.to(device)
        return cross_entropy(labels, where, class_weights=weights, ignore_index=-1, label_smoothing=smoothing)
