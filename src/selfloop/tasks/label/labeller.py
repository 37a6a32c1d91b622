"""A trained labeller: says what each step of a sequence is."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from selfloop.data.batches import in_order, pad
from selfloop.data.examples import BadItems, Dataset, Examples
from selfloop.data.items import Unusable
from selfloop.data.sequences import Reading, read_labelled_steps, read_steps
from selfloop.data.video import VideoReading, frames
from selfloop.errors import ArgumentError, DataError
from selfloop.language import Cell
from selfloop.layers import Recurrent
from selfloop.metrics import Confusion
from selfloop.models import ManyToMany
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.label.config import LabelConfig, SequenceOptions
from selfloop.tasks.label.score import Score
from selfloop.tasks.look_inside import recurrent_inputs
from selfloop.tasks.opening import cell_of, read_config
from selfloop.training import Run

BATCH = 32
"""Sequences in one call of a prediction; it changes the speed, not the figures."""


@dataclass(frozen=True)
class Prediction:
    """What a labeller says of one sequence.

    Attributes:
        place: where the sequence stands.
        labels: one a step.
        truth: the true labels, where they are known: none, or one a step, None where it is not.
    """

    place: str
    labels: Sequence[str]
    truth: Sequence[str | None] = ()

    COLUMNS = ("input", "step", "label")

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"input": self.place, "labels": list(self.labels)}

    def rows(self) -> list[tuple[Any, ...]]:
        """A row a step."""
        return [(self.place, step, label) for step, label in enumerate(self.labels)]

    def text(self) -> str:
        """The labels alone."""
        return " ".join(self.labels)


class Labeller:
    """A labeller that was trained on sequences.

    Attributes:
        model: the network, in evaluation mode.
        inputs: how sequences are read, and the labels.
        config: what was chosen when it was trained.
    """

    def __init__(self, model: ManyToMany, inputs: Inputs, config: LabelConfig) -> None:
        self.model, self.inputs, self.config = model.eval(), inputs, config

    @classmethod
    def open(cls, run: Run, cell: Cell | str | None = None, device: str = "cpu") -> "Labeller":
        """The best weights of a run; see `selfloop.load`."""
        config = read_config(run, LabelConfig)
        inputs = Inputs.load(run)
        cell = cell_of(run, config.model, cell)
        model = run.open_model(partial(config.model.build, inputs, cell))
        return cls(model.to(device), inputs, config)

    def predict(self, sequences: Sequence[Any] | Examples) -> list[Prediction]:
        """The label at each step of each sequence.

        Args:
            sequences: lists of words or arrays whose first axis is time, as the model was trained on, or what `read`
                gives.

        Raises:
            DataError: an array does not fit.
        """
        if not isinstance(sequences, Examples):
            sequences = Examples(sequences, [], [f"sequence {number}" for number in range(len(sequences))])
        arrays = self.inputs.arrays(sequences)
        found = dict(self._answers(arrays))
        return [
            Prediction(
                place,
                [self.inputs.classes[k] for k in found[row].argmax(-1).tolist()],
                sequences.labels[row] if sequences.labels else (),
            )
            for row, place in enumerate(sequences.places)
        ]

    def stream(self, steps: Iterable[Any]) -> Iterator[str]:
        """The labels of steps as they come, such as the frames of a camera, in constant memory.

        Args:
            steps: words, vectors (C,) or frames (H, W) or (H, W, 3), as the model was trained on.

        Raises:
            ArgumentError: the model reads in both directions, so it must see the end first.
        """
        if self.model.rnn.bidirectional:
            raise ArgumentError(
                "A labeller that reads in both directions must see the end before it says the beginning. "
                "Train one with --set model.bidirectional=false to stream."
            )
        state = None
        device = next(self.model.parameters()).device
        for number, step in enumerate(steps):
            one = [step] if self.inputs.vocabulary is not None else np.asarray(step)[None]
            (array,) = self.inputs.arrays(Examples([one], [], [f"step {number}"]))
            with torch.inference_mode():
                logits, state = self.model.step(torch.tensor(array, device=device), state)
            yield self.inputs.classes[int(logits[0].argmax())]

    def watch(self, source: str) -> Iterator[Any]:
        """The frames of a film, a camera's device or an address, one at a time, as `stream` takes them.

        Raises:
            ArgumentError: the model reads no frames.
            DataError: there is no video.
        """
        if self.inputs.kind != "frames":
            raise ArgumentError(f"This labeller reads {self.inputs.kind}, and only frames are watched. Use predict.")
        try:
            yield from frames(source, self._reading(BadItems()).video)
        except Unusable as fault:
            raise DataError(f"{source} {fault}. Give a video, a camera's device or an address.") from fault

    def read(self, source: str, bad: BadItems) -> Examples:
        """The sequences of a file or folder, whose labels need not be known, to predict."""
        how = replace(self._reading(bad), labelled=False)
        return read_steps(source, how, kind=self.inputs.kind, classes=self.inputs.classes)

    def parts(self, source: str | None = None, column: str | None = None) -> Mapping[str, Examples]:
        """Sequences to score, by name: all of a source, or the run's own validation and test sequences."""
        bad = BadItems(self.config.data.skip_bad)
        if source is not None:
            how = self._reading(bad)
            how = replace(how, input=column or how.input)
            return {Path(source).name: read_steps(source, how, kind=self.inputs.kind, classes=self.inputs.classes)}
        dataset = read_dataset(self.config.data, bad)
        return {"valid": dataset.valid, **({"test": dataset.test} if dataset.test else {})}

    def _reading(self, bad: BadItems) -> Reading:
        """How the user's files are read: frames are brought to the size of those that the model was trained on."""
        how = reading(self.config.data, bad)
        if self.inputs.kind != "frames" or how.video.size is not None:
            return how
        height, width, *colours = self.inputs.shape
        return replace(how, video=replace(how.video, size=(height, width), grey=not colours))

    def score(self, part: Examples, *, sample: int | None = None) -> Score:
        """How well the model does on sequences whose labels are known.

        Args:
            part: the sequences.
            sample: judge about so many of them, evenly chosen; None judges all.
        """
        rows = np.arange(len(part))[:: max(1, len(part) // sample) if sample else 1]
        inputs, labels = [part.inputs[i] for i in rows], [part.labels[i] for i in rows]
        places = [part.places[i] for i in rows]
        arrays = self.inputs.arrays(Examples(inputs, labels, places))
        return self.judge(arrays, [self.inputs.indices(names) for names in labels], places)

    def judge(
        self, arrays: Sequence[npt.NDArray[Any]], truth: Sequence[npt.NDArray[np.int64]], places: Sequence[str]
    ) -> Score:
        """The score of arrays whose labels are known by number, -1 where a step is not judged."""
        nats, answers = 0.0, dict(self._answers(arrays))
        for row, logits in answers.items():
            target = torch.from_numpy(truth[row])
            nats += float(F.cross_entropy(logits, target, ignore_index=-1, reduction="sum").double())
        predicted = [answers[row].argmax(-1).numpy() for row in range(len(arrays))]
        classes = self.inputs.classes
        return Score(
            nats,
            Confusion.of(classes, np.concatenate(truth), np.concatenate(predicted)),
            [[classes[k] if k >= 0 else None for k in row] for row in truth],
            [[classes[k] for k in row] for row in predicted],
            places,
        )

    def recurrent_inputs(self, steps: int, *, fresh: bool = False) -> tuple[Recurrent, torch.Tensor]:
        """To look inside: the recurrent stack, before its training if `fresh`, and what it reads, (T, B, I)."""
        return recurrent_inputs(self, steps, fresh)

    def sample(self) -> Mapping[str, str]:
        """Nothing beyond the scores."""
        return {}

    @torch.inference_mode()
    def _answers(self, arrays: Sequence[npt.NDArray[Any]]) -> Iterator[tuple[int, torch.Tensor]]:
        device = next(self.model.parameters()).device
        for rows in in_order([len(array) for array in arrays], BATCH):
            batch, lengths = pad([arrays[row] for row in rows])
            logits, _ = self.model(batch.to(device), lengths=None if lengths is None else lengths.to(device))
            for column, row in enumerate(rows.tolist()):
                yield row, logits[: len(arrays[row]), column].float().cpu()


def reading(data: SequenceOptions, bad: BadItems | None = None) -> Reading:
    """How sequences are read."""
    video = VideoReading(fps=data.fps, crop=data.crop, size=data.size, grey=data.grey)
    return Reading(data.input, data.label, data.ignore, video, data.encoding, bad=bad or BadItems())


def read_dataset(data: SequenceOptions, bad: BadItems) -> Dataset:
    """The sequences of a configuration."""
    return read_labelled_steps(
        data.source, reading(data, bad), valid=data.valid, test=data.test, valid_fraction=data.valid_fraction
    )
