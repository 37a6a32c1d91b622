"""What the runs of a task open as: a trained model, ready to use, and what it can do besides being scored.

What only some tasks can do is declared: a predictor derives from `Predicts`, `Draws`, `Generates`, `Watches`,
`ScoresPairs` or `Inspectable`, and a verb asks for the class that it needs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from selfloop.config import Section, changed
from selfloop.data import Text
from selfloop.data.batches import Report
from selfloop.data.examples import BadItems, Dataset, Examples, Origin
from selfloop.data.reader import Reader
from selfloop.decoding import Hypothesis, Sampling
from selfloop.errors import ArgumentError
from selfloop.language import Cell
from selfloop.tasks.answer import Answer
from selfloop.tasks.given import Step
from selfloop.tasks.reading import bad_items, read
from selfloop.tasks.results import check_one, figures_of, read_results
from selfloop.tasks.run_config import cell_of
from selfloop.tasks.score import Drawing, Score
from selfloop.tasks.table import PARTS, TASKS
from selfloop.tasks.watched import Watched
from selfloop.training import Run
from selfloop.world import ALONE, World

Self = TypeVar("Self", bound="Predictor[Any, Any, Any, Any]")
Network = TypeVar("Network", bound=nn.Module)
Inputs = TypeVar("Inputs")
Config = TypeVar("Config", bound=Section)
Part = TypeVar("Part", bound=Examples | Text)
Said = TypeVar("Said", bound="Answer")
Part_co = TypeVar("Part_co", covariant=True)


class Parts(Protocol[Part_co]):
    """A data set: to train on, to choose by, and, where there is such a part, to report on."""

    @property
    def name(self) -> str:
        """What it is called; runs are named after it."""

    @property
    def origin(self) -> Origin:
        """The files that it is from."""

    @property
    def train(self) -> Part_co: ...  # noqa: D102

    @property
    def valid(self) -> Part_co: ...  # noqa: D102

    @property
    def test(self) -> Part_co | None: ...  # noqa: D102


def held_out(dataset: Parts[Part]) -> dict[str, Part]:
    """The validation part and, where there is one, the test part, by name."""
    return {"valid": dataset.valid, **({"test": dataset.test} if dataset.test else {})}


class TrainedModel(ABC):
    """A trained model, ready to use: what those of all tasks can do.

    Attributes:
        model: the network, in evaluation mode.
        config: what was chosen when it was trained.
        results: what results.json of its run holds: ``results["test"]`` has the figures of the test part by name. Empty
            before the run is scored.
        world: the processes that share its work, each of which makes the same calls; each gets all of the answers.
    """

    model: nn.Module
    config: Section
    results: Mapping[str, object] = MappingProxyType({})
    world: World = ALONE

    @abstractmethod
    def parts(
        self, source: str | None = None, column: str | None = None, *, bad: BadItems | None = None
    ) -> Mapping[str, Examples | Text]:
        """Data to score, by name: all of a source, or the run's own validation and test data.

        Args:
            source: as in `selfloop train`.
            column: of a table, that of the input; None for the run's own.
            bad: takes what cannot be used, if it skips that; None for as the run was trained.

        Raises:
            DataError: the source cannot be read, or holds what the model cannot know.
        """

    @abstractmethod
    def score(
        self, part: Examples | Text, *, sample: int | None = None, report: Callable[[float], None] | None = None
    ) -> Score:
        """How well the model does on data of which the truth is known.

        Args:
            part: the data, as `parts` of this model gives them.
            sample: judge about so many targets, evenly chosen; None judges all.
            report: is told the share that is done, from 0 to 1.
        """

    def scores(
        self,
        parts: Mapping[str, Examples | Text],
        *,
        sample: int | None = None,
        report: Callable[[str, Examples | Text], Report] | None = None,
    ) -> dict[str, Score]:
        """The score of each part, by name.

        Args:
            parts: as `parts` gives them.
            sample: as of `score`.
            report: of a part's name and data, who is told the share of it that is done.
        """
        return {
            name: self.score(part, sample=sample, report=None if report is None else report(name, part))
            for name, part in parts.items()
        }

    def sample(self) -> Mapping[str, str]:
        """What the model makes, to be seen at the end of training: a title and a text."""
        return {}

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device


class Predictor(TrainedModel, Generic[Network, Inputs, Config, Part]):
    """What the runs of a task open as.

    Attributes:
        model: the network, in evaluation mode.
        inputs: between the user's data and the network's arrays: tokenizers, classes, sizes.
        config: what was chosen when it was trained.
    """

    model: Network
    config: Config
    _run: Run | None = None

    takes_encoder: ClassVar[bool] = False
    """Whether its runs may be trained with an image encoder of the user's own."""

    def __init__(self, model: Network, inputs: Inputs, config: Config) -> None:
        self.model, self.inputs, self.config = model.eval(), inputs, config

    @classmethod
    def open(
        cls: type[Self],
        run: Run,
        config: Any,
        *,
        cell: Cell | str | None = None,
        encoder: str | None = None,
        device: str = "cpu",
    ) -> Self:
        """The best weights of a run with this configuration; for the rest see `selfloop.load`."""
        if encoder is not None and not cls.takes_encoder:
            raise ArgumentError(f"{run.path} looks at no images, and has no encoder. Got '{encoder}': leave it out.")
        check_one(run)
        cell = cell_of(run, config.model, cell)
        inputs = cls.load_inputs(run, config, encoder)
        model = run.open_model(partial(cls.build, config.model, inputs, cell))
        opened = cls(model.to(device), inputs, config)
        opened._run, opened.results = run, read_results(run)
        return opened

    def change(self, assignments: Iterable[str]) -> None:
        """Read or decode in another way from now on.

        Args:
            assignments: ``data.key=value`` and ``decoding.key=value``.

        Raises:
            ConfigError: an assignment does not fit, or is of what the model was trained with and cannot change.
        """
        self.config = changed(self.config, assignments, ("data", "decoding"))

    def __repr__(self) -> str:
        """The run and its task, what the model knows, its cell and size, and the scores of the run."""
        network: Any = self.model
        rnn, parameters = network.rnn, sum(p.numel() for p in network.parameters())
        ways = "2 × " if rnn.bidirectional else ""
        size = f"{rnn.cell.name}, {rnn.num_layers} × {ways}{rnn.hidden_size} units, {parameters:,} parameters"
        if self._run is None:
            return f"<{type(self).__name__}: {self.knows()}; {size}>"
        task = str(self._run.config()["task"])
        parts = {title: figures_of(self.results, part) for part, title in PARTS.items()}
        scores = "".join(f"; {title} {TASKS[task].show(found)}" for title, found in parts.items() if found)
        return f"<{type(self).__name__} {self._run.path} ({task}): {self.knows()}; {size}{scores}>"

    def knows(self) -> str:
        """What it tells apart or writes with, in a few words."""
        return ""

    @classmethod
    @abstractmethod
    def load_inputs(cls, run: Run, config: Any, encoder: str | None) -> Inputs:
        """What is between the user's data and the network, as the run has kept it."""

    @classmethod
    @abstractmethod
    def build(cls, options: Any, inputs: Any, cell: Cell) -> Network:
        """The network, with fresh weights, of the model's options."""

    def before_training(self) -> Network:
        """The network before its first update, in evaluation mode; other randomness is left alone.

        Raises:
            DataError: what it began with is no longer there.
        """
        config: Any = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.training.seed)
            return self.made_anew().eval().to(self.device)

    def made_anew(self) -> Network:
        """The network as it is made when its training begins."""
        config: Any = self.config
        rnn: Any = self.model.rnn
        return self.build(config.model, self.inputs, rnn.cell)

    @classmethod
    @abstractmethod
    def read_dataset(cls, config: Any, bad: BadItems) -> Parts[Part]:
        """The data of a configuration."""

    def read_own(self, bad: BadItems) -> Parts[Part]:
        """The data that the run was trained on."""
        return self.read_dataset(self.config, bad)

    @abstractmethod
    def read_known(self, source: str, column: str | None, bad: BadItems) -> Part:
        """All data of a source, with what is true of them."""

    def parts(
        self, source: str | None = None, column: str | None = None, *, bad: BadItems | None = None
    ) -> Mapping[str, Part]:
        """Data to score, by name; see `TrainedModel.parts`."""
        config: Any = self.config
        bad = bad or bad_items(config.data)
        if source is not None:
            return {Path(source).name: self.read_known(source, column, bad)}
        return held_out(self.read_own(bad))

    @abstractmethod
    def score(  # type: ignore[override]  # its own parts
        self, part: Part, *, sample: int | None = None, report: Report | None = None
    ) -> Score:
        """How well the model does; see `TrainedModel.score`."""


class Predicts(ABC, Generic[Said]):
    """Says something of each example."""

    @abstractmethod
    def predict(self, examples: Examples) -> Sequence[Said]:
        """What the model says of each example."""

    @abstractmethod
    def read(self, source: str, bad: BadItems) -> Examples:
        """The examples of a file or folder, of which nothing need be known, to predict."""

    def lines(self, lines: Iterable[str]) -> Examples:
        """Lines of text as examples.

        Raises:
            ArgumentError: the model reads no text; no line is taken.
        """
        raise ArgumentError("This model reads no text, and nothing else comes as lines: give files or folders.")


class Draws(ABC, Generic[Said]):
    """Draws what it says of examples."""

    @abstractmethod
    def drawing(self, predictions: Sequence[Said]) -> Drawing:
        """What there is to draw of predictions."""


class FromExamples(
    Predictor[Network, Inputs, Config, Examples], Predicts[Said], Generic[Network, Inputs, Config, Said]
):
    """A model of examples, which a `Reader` finds in the user's files."""

    @classmethod
    @abstractmethod
    def reader(cls, config: Any, bad: BadItems, inputs: Inputs | None = None, column: str | None = None) -> Reader:
        """What reads the examples of a configuration.

        Args:
            config: how.
            bad: what takes the examples that cannot be used.
            inputs: of a trained model, which the examples are to fit; None reads those that one is trained on.
            column: of a table, that of the input; None for the configuration's own.
        """

    @classmethod
    def read_dataset(cls, config: Any, bad: BadItems) -> Dataset:
        """The examples of a configuration."""
        return read(cls.reader(config, bad), config)

    def read_known(self, source: str, column: str | None, bad: BadItems) -> Examples:
        """The examples of a source, of whose labels the model knows each."""
        return self.reader(self.config, bad, self.inputs, column).score(source)

    def read(self, source: str, bad: BadItems) -> Examples:
        """The examples of a file or folder, of whose labels none need be known, to predict."""
        return self.reader(self.config, bad, self.inputs).predict(source)


class Watches(ABC):
    """Labels frames as they come."""

    @abstractmethod
    def watch(self, source: str) -> Iterator[npt.NDArray[np.uint8]]:
        """The frames of a film, a camera's device or an address, one at a time."""

    @abstractmethod
    def stream(self, steps: Iterable[Step]) -> Iterator[str]:
        """The labels of steps as they come."""

    @abstractmethod
    def stream_with_probabilities(self, steps: Iterable[Step]) -> Iterator[tuple[str, float]]:
        """The same, each with its probability."""


class Generates(ABC):
    """Writes text."""

    @abstractmethod
    def write(
        self, prompts: Sequence[str], *, max_tokens: int = ..., sampling: Sampling = ..., seed: int | None = ...
    ) -> list[str]:
        """Continue each prompt."""

    @abstractmethod
    def stream(
        self, prompt: str = ..., *, max_tokens: int = ..., sampling: Sampling = ..., seed: int | None = ...
    ) -> Iterator[str]:
        """Continue one prompt, and yield the text as it comes."""

    @abstractmethod
    def search(
        self, prompts: Sequence[str], *, max_tokens: int = ..., beam: int = ...
    ) -> list[list[tuple[str, Hypothesis]]]:
        """For each prompt its most probable continuations, the best first."""


class ScoresPairs(ABC):
    """Is scored on two files, line by line."""

    @abstractmethod
    def parts(
        self,
        source: str | None = None,
        column: str | None = None,
        target: str | None = None,
        *,
        bad: BadItems | None = None,
    ) -> Mapping[str, Examples]:
        """Pairs to score, by name."""


class Inspectable(ABC):
    """Shows what its recurrent stack reads."""

    @abstractmethod
    def watched(self, steps: int, source: str | None = None, *, fresh: bool = False) -> Watched:
        """Sequences as the recurrent stack reads them, with what is known of each step: to look inside.

        Args:
            steps: how many of each sequence, at the most; at least 1.
            source: data as `evaluate` takes them; None for the run's own validation data.
            fresh: of the model before its training: see `Predictor.before_training`.

        Raises:
            ArgumentError: `steps` is below 1.
            DataError: the data cannot be read, or are too short; what a `fresh` model began with is no longer there.
        """
