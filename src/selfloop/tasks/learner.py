"""What trains: the data, the model and the loss of one run."""

import functools
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from selfloop.config import Section
from selfloop.errors import ConfigError, first_line
from selfloop.language import Cell
from selfloop.layers import State
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.predictor import Predictor, held_out
from selfloop.tasks.reading import bad_items
from selfloop.training import Run
from selfloop.world import World

Self = TypeVar("Self", bound="Learner[Any, Any, Any]")
Inputs = TypeVar("Inputs")
Config = TypeVar("Config", bound=Section)
Opened = TypeVar("Opened", bound=Predictor[Any, Any, Any, Any])

_OF_MEMORY = re.compile("memory|alloc|overflow", re.IGNORECASE)


class Learner(ABC, Generic[Inputs, Config, Opened]):
    """A task on the data of one run: what the training loop asks, and what the run keeps.

    Args:
        config: what was chosen.
        inputs: of a run that is resumed; None learns the classes, and what texts are made of, from the training part.
        cell: the cell, where it is not to be found by its name.

    Raises:
        DataError: the data cannot be read, or there is nothing to learn from.
        ConfigError: the cell does not exist, the model cannot be made, or another choice cannot be followed.

    Attributes:
        bad: what was left out of the data, and what is to be said of how they are read.
        dataset: the data.
        inputs: between the user's data and the network's arrays.
        model: the network.
        steps_per_epoch: updates in one pass through the training data; None of a stream.
    """

    TOGETHER: ClassVar[bool] = False
    """Whether processes read the data at once, and share the work; else the first one reads them before the others,
    which find what it has kept."""

    OPENED: ClassVar[type[Predictor[Any, Any, Any, Any]]]
    """What its runs open as."""

    def __init__(self, config: Config, inputs: Inputs | None = None, cell: Cell | None = None) -> None:
        chosen: Any = config
        self.config = config
        cell = cell or choose_cell(chosen.model.cell)
        torch.manual_seed(chosen.training.seed)
        self.bad = bad_items(chosen.data)
        self.dataset: Any = self.OPENED.read_dataset(config, self.bad)
        self.name, self.origin = self.dataset.name, self.dataset.origin
        if inputs is None:
            self.config = config = self.suited(config)
            chosen = config
        self.inputs = inputs or self.learn_inputs()
        self.steps_per_epoch: Any = self.prepare()
        try:
            self.model: Any = self.OPENED.build(chosen.model, self.inputs, cell)
        except (MemoryError, OverflowError, RuntimeError) as error:  # torch tells of memory by a RuntimeError
            too_large = not isinstance(error, RuntimeError) or _OF_MEMORY.search(str(error))
            advice = ": choose smaller sizes for it" if too_large else ""
            raise ConfigError(f"The model cannot be made ({first_line(error)[:200]}){advice}.") from error

    def suited(self, config: Config) -> Config:
        """The configuration, with what the user has left open chosen to suit the data."""
        return config

    @property
    def best_by(self) -> str:
        """The figure of the validation part that chooses the best weights."""
        return "loss"

    @abstractmethod
    def learn_inputs(self) -> Inputs:
        """What is between the user's data and the network, from the training part."""

    @abstractmethod
    def prepare(self) -> int | None:
        """Bring the data into the form that updates and validations read; the number of updates in an epoch, if it is
        known.
        """

    @abstractmethod
    def summary(self) -> str:
        """The data, in one line."""

    @abstractmethod
    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, State | None]:
        """What a share of a batch adds to its loss, its targets, and the state for the next; see `training.loop`."""

    @abstractmethod
    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """The figures of the validation part: ``loss``, and others."""

    @abstractmethod
    def hashes(self) -> dict[str, str]:
        """Hashes of the data as the model reads them, by what they are of."""

    def position(self) -> Mapping[str, Tensor]:
        """Where this process is in its data: by default the number of the update says all."""
        return {}

    def go_to(self, position: Mapping[str, Tensor]) -> None:
        """Go on from a position of this process."""

    @classmethod
    def resume(cls: type[Self], config: Any, run: Run, cell: Cell | None) -> Self:
        """The same, with the inputs that a run has kept."""
        return cls(config, cls.OPENED.load_inputs(run, config, None), cell)

    def save(self, run: Run) -> None:
        """Keep in the run's folder what is needed besides the weights: the tokenizer, the classes."""
        inputs: Any = self.inputs
        inputs.save(run)

    def opened(self) -> Opened:
        """The model as it stands, ready to use; the processes that train it share its work."""
        opened: Any = self.OPENED(self.model, self.inputs, self.config)
        opened.world = World.here()
        return opened  # type: ignore[no-any-return]

    def parts(self) -> Mapping[str, Any]:
        """What the best weights are scored on at the end, by name: ``valid`` and, where there is any, ``test``."""
        return held_out(self.dataset)

    def facts(self) -> Mapping[str, str]:
        """What must be the same when the run is resumed."""
        return self._hashes

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
        return self.hashes()  # made once, since it reads all data, and each checkpoint holds it
