"""What a trained model of labelled examples does, whether a label is of the whole or of each step."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from selfloop.config import Section
from selfloop.data.batches import Report, in_order, pad
from selfloop.data.examples import BadItems, Dataset, Examples
from selfloop.errors import ArgumentError
from selfloop.language import Cell
from selfloop.models import NumberEncoder
from selfloop.models.sequence_model import SequenceModel
from selfloop.options.sections import WordOptions
from selfloop.tasks.answer import Answer
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.predictor import FromExamples, Inspectable
from selfloop.tasks.pretrained import begin_with, vectors_again
from selfloop.tasks.reading import read
from selfloop.tasks.score import Score
from selfloop.tasks.watched import Facts, Watched, check_steps, facts_of_texts, side_by_side
from selfloop.training import Run

WATCHED, CHANNELS = 256, 16
"""Examples, and channels of series, that are looked at to see what the stack does."""

MOST_STEPS = 200_000
"""Steps of these together, with padding; with 256 numbers each they take 200 MB."""

Network = TypeVar("Network", bound=SequenceModel)
Config = TypeVar("Config", bound=Section)
Said = TypeVar("Said", bound=Answer)
Scored = TypeVar("Scored", bound=Score)


class ExamplesPredictor(
    FromExamples[Network, Inputs, Config, Said], Inspectable, Generic[Network, Config, Said, Scored]
):
    """A model that was trained on labelled examples."""

    NETWORK: ClassVar[type[Any]]
    """The class of its network."""

    BATCH: ClassVar[int]
    """Examples in one call of a prediction; it changes the speed, not the figures."""

    LOSS_UNIT: ClassVar[str] = "nats"
    """What `losses` counts in."""

    @classmethod
    def load_inputs(cls, run: Run, config: Any, encoder: str | None) -> Inputs:
        """How examples are read, and the classes."""
        return Inputs.load(run)

    def read_own(self, bad: BadItems) -> Dataset:
        """The examples of the run, whose columns may stand in another order by now.

        Nothing else of `inputs` is known here: an image of another size, which training left out, would be brought to
        size, and other examples would be held out.
        """
        return read(self.reader(self.config, bad).knowing(self.inputs.columns), self.config)

    @classmethod
    def build(cls, options: Any, inputs: Inputs, cell: Cell) -> Network:
        """The network, with fresh weights."""
        given = options.model_dump(exclude={"cell", "embedding_size"}, exclude_none=True)
        network: Network = cls.NETWORK(inputs.encoder(options.embedding_size), cell, cls.num_outputs(inputs), **given)
        return network

    @classmethod
    def num_outputs(cls, inputs: Inputs) -> int:
        """How many numbers an answer of the network has: a logit a class."""
        return len(inputs.classes)

    def made_anew(self) -> Network:
        """The network as it is made: an encoder of numbers knows their scale, one of words the vectors it begins with.

        Raises:
            DataError: the file of vectors is no longer there, or it has changed.
        """
        network, vocabulary = super().made_anew(), self.inputs.vocabulary
        config: Any = self.config
        if isinstance(network.encoder, NumberEncoder):
            network.encoder.load_state_dict(self.model.encoder.state_dict())
        path = config.data.vectors if isinstance(config.data, WordOptions) else None
        if path is not None and vocabulary is not None:
            encoder: Any = network.encoder
            begin_with(vectors_again(path, vocabulary, encoder.embedding.embedding_dim), encoder, vocabulary)
        return network

    @classmethod
    @abstractmethod
    def truth(cls, inputs: Inputs, labels: Sequence[Any]) -> Any:
        """The labels of examples as numbers: one an example, or an array of them, one a step."""

    @abstractmethod
    def judge(self, answers: Sequence[Tensor], truth: Any, examples: Examples) -> Scored:
        """The score of what the network said of examples, whose truth is known by number; without predictions."""

    @abstractmethod
    def said(self, examples: Examples, answers: Sequence[Tensor]) -> Sequence[Answer]:
        """What the network said of examples, in words."""

    @abstractmethod
    def answer(self, batch: Tensor, lengths: Tensor | None) -> Sequence[Tensor]:
        """What the network says of each sequence of a batch (T, B, …)."""

    def score(  # type: ignore[override]  # its own parts
        self, part: Examples, *, sample: int | None = None, report: Report | None = None
    ) -> Scored:
        """How well the model does on examples whose labels are known.

        Args:
            part: the examples.
            sample: judge about so many of them, evenly chosen; None judges all.
            report: is told the share that is done, from 0 to 1.
        """
        part = part.select(range(0, len(part), max(1, len(part) // sample) if sample else 1))
        answers = self.answers(self.inputs.arrays(part), report)
        found = self.judge(answers, self.truth(self.inputs, part.labels), part)
        return replace(found, predictions=self.said(part, answers))

    def lines(self, lines: Iterable[str]) -> Examples:
        """Lines of text as examples, without those that are empty: texts, or words with spaces between.

        Raises:
            ArgumentError: the model reads numbers; no line is taken.
        """
        if self.inputs.kind not in ("text", "words"):
            raise ArgumentError("This model reads numbers, which do not come as lines: give files or folders.")
        texts = [(line, f"line {number}") for number, line in enumerate(lines, 1) if line.strip()]
        inputs = [line.split() if self.inputs.kind == "words" else line for line, _ in texts]
        return Examples(inputs, [], [place for _, place in texts])

    @torch.no_grad()
    def watched(self, steps: int, source: str | None = None, *, fresh: bool = False) -> Watched:
        """What the stack reads of up to 256 examples; for the rest see `Inspectable.watched`."""
        check_steps(steps)
        (part,) = [self.parts()["valid"]] if source is None else self.parts(source).values()
        part = part.select(range(0, len(part), -(-len(part) // WATCHED)))
        model = self.before_training() if fresh else self.model
        arrays = self.inputs.arrays(part)
        most = max(2, MOST_STEPS // max(map(len, arrays)))
        part, arrays = part.select(range(min(most, len(part)))), arrays[:most]
        batch, lengths = pad(arrays)
        if lengths is None:
            lengths = torch.full((len(arrays),), len(batch))
        written = self.inputs.written(part)
        known = facts_of_texts(written) if written else [{} for _ in arrays]
        rows = [{**facts, "step": [*range(len(array))]} for facts, array in zip(known, arrays, strict=True)]
        facts = side_by_side(rows, len(batch))
        if self.inputs.kind == "series":
            for channel in range(min(CHANNELS, batch.shape[2])):
                there = torch.arange(len(batch))[:, None] < lengths
                facts[f"channel {channel + 1}"] = batch[..., channel].double().where(there, torch.nan).numpy()
        targets, truth, own = self.targets(part, lengths)

        def losses(y: Tensor, lengths: Tensor, at: Tensor, rows: Tensor) -> Tensor:
            logits = self.read_out(model, y, lengths, at)
            return self.losses(logits.float(), truth[rows].to(logits.device))

        return Watched(
            rnn=model.rnn,
            x=model._encoded(batch.to(self.device), lengths),
            lengths=lengths,
            unit=self.inputs.unit,
            names=part.places,
            steps=written,
            facts={**facts, **own},
            targets=targets,
            losses=losses,
            loss_unit=self.LOSS_UNIT,
        )

    @abstractmethod
    def targets(self, part: Examples, lengths: Tensor) -> tuple[Tensor, Tensor, Facts]:
        """Where examples are judged, (N, 2): sequence and step; what is true there, (N,); and facts of the steps."""

    @abstractmethod
    def read_out(self, model: Network, y: Tensor, lengths: Tensor, at: Tensor) -> Tensor:
        """The logits (N, K) of the stack's outputs (L, N, H) of sequences of these lengths, at a step of each."""

    def losses(self, logits: Tensor, truth: Tensor) -> Tensor:
        """The loss of each of N logits (N, K), (N,)."""
        return F.cross_entropy(logits, truth, reduction="none")

    @torch.inference_mode()
    def answers(self, arrays: Sequence[npt.NDArray[Any]], report: Report | None = None) -> list[Tensor]:
        """What the network says of each array, in their order; `report` is told the share that is done."""
        found: dict[int, npt.NDArray[Any]] = {}
        for rows in self.world.share(in_order([len(array) for array in arrays], self.BATCH, report)):
            batch, lengths = pad([arrays[row] for row in rows])
            said = self.answer(batch.to(self.device), None if lengths is None else lengths.to(self.device))
            found |= zip(rows.tolist(), (one.numpy() for one in said), strict=True)
        found = self.world.joined(found)
        return [torch.from_numpy(found[row]) for row in range(len(arrays))]
