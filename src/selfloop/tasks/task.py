"""What a task is to the loop, to the command line, and to `load`: a `TaskEntry` and two protocols."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from selfloop.config import Section
from selfloop.data.examples import BadItems, Origin
from selfloop.language import Cell
from selfloop.training import Run, Task


class Score(Protocol):
    """How well a model does on some data."""

    @property
    def count(self) -> int:
        """How many targets were judged."""

    def metrics(self) -> dict[str, float]:
        """The figures by name; the first is the loss, in nats a target."""

    def details(self) -> Sequence[Mapping[str, Any]]:
        """A row a class, where there are classes."""


class Opened(Protocol):
    """A trained model, ready to use."""

    config: Any

    @classmethod
    def open(cls, run: Run, cell: Cell | str | None = None, device: str = "cpu") -> "Opened":
        """The best weights of a run."""

    @staticmethod
    def build(options: Any, *arguments: Any) -> Any:
        """The network, with fresh weights, of the model's options, what the task reads and writes with, and a cell."""

    def parts(self, source: str | None = None, column: str | None = None) -> Mapping[str, Any]:
        """Data to score, by name: of a source, or the run's own validation and test data."""

    def score(self, part: Any, *, sample: int | None = None) -> Score:
        """How well the model does; on about `sample` targets, or on all."""

    def sample(self) -> Mapping[str, str]:
        """What the model makes, to be seen at the end of training: a title and a text."""


class Learner(Task, Protocol):
    """A task on the data of one run.

    Made of a configuration and, where it is not to be found by its name, a cell.
    """

    config: Any
    name: str
    bad: BadItems
    origin: Origin

    def __init__(self, config: Any, *, cell: Cell | None = None) -> None: ...

    @classmethod
    def resume(cls, config: Any, run: Run, cell: Cell | None) -> "Learner":
        """The same, as a run has kept it."""

    def save(self, run: Run) -> None:
        """Keep in the run's folder what is needed besides the weights: the tokenizer, the classes."""

    def summary(self) -> str:
        """The data, in one line."""

    def parts(self) -> Mapping[str, Any]:
        """What the best weights are scored on at the end, by name: ``valid`` and, where there is any, ``test``."""

    def opened(self) -> Opened:
        """The model as it stands."""


@dataclass(frozen=True)
class TaskEntry:
    """A row of the table of tasks.

    Attributes:
        config: all that is chosen about a run; it has the sections data, model and training.
        learner: what trains.
        opened: what a run opens as.
        unit: what a target is, for speeds and losses: ``token``.
        figures: how each metric is shown, by its name.
        next: what to do with a run, where ``{run}`` stands for its folder.
        sources: the fields of the data that are given without their names.
    """

    config: type[Section]
    learner: type[Learner]
    opened: type[Opened]
    unit: str
    figures: Mapping[str, str]
    next: tuple[str, ...]
    sources: tuple[str, ...] = ("source",)

    def show(self, metrics: Mapping[str, float], most: int | None = None) -> str:
        """The metrics, in one line; `most` of them, the first."""
        shown = [text.format(metrics[name]) for name, text in self.figures.items() if name in metrics]
        return "   ".join(shown[:most])
