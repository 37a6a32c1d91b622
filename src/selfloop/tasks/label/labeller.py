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
from selfloop.data.examples import BadItems, Examples, Unusable
from selfloop.data.media.series import as_series
from selfloop.data.media.video import frames
from selfloop.data.readers.steps import StepReader, as_steps
from selfloop.data.reading import Reading
from selfloop.errors import ArgumentError, DataError
from selfloop.language import Cell
from selfloop.layers import Recurrent
from selfloop.metrics import Confusion
from selfloop.models import ManyToMany
from selfloop.options.label import LabelConfig, LabellerOptions
from selfloop.tasks.given import Takes, as_examples, one_series
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.label.score import Score
from selfloop.tasks.look_inside import recurrent_inputs
from selfloop.tasks.opening import cell_of, read_config
from selfloop.tasks.reading import held_out, read, reading
from selfloop.training import Run
from selfloop.untrusted import short

BATCH = 32
"""Sequences in one call of a prediction; it changes the speed, not the figures."""


@dataclass(frozen=True)
class Prediction:
    """What a labeller says of one sequence.

    Attributes:
        place: where the sequence stands.
        labels: one a step, the most probable.
        probabilities: of these labels.
        words: the sequence itself, where it is one of words.
        truth: the true labels, where they are known: none, or one a step, None where it is not.
    """

    place: str
    labels: Sequence[str]
    probabilities: Sequence[float]
    words: Sequence[str] = ()
    truth: Sequence[str | None] = ()

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        words = {"words": list(self.words)} if self.words else {}
        probabilities = [round(probability, 4) for probability in self.probabilities]
        return {"input": self.place, **words, "labels": list(self.labels), "probabilities": probabilities}

    def rows(self) -> list[dict[str, Any]]:
        """A row a step, for CSV."""
        return [
            {
                "input": self.place,
                "step": step,
                **({"word": self.words[step]} if self.words else {}),
                "label": label,
                "probability": f"{self.probabilities[step]:.4f}",
            }
            for step, label in enumerate(self.labels)
        ]

    def line(self) -> str:
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
        model = run.open_model(partial(cls.build, config.model, inputs, cell))
        return cls(model.to(device), inputs, config)

    @staticmethod
    def build(options: LabellerOptions, inputs: Inputs, cell: Cell) -> ManyToMany:
        """The network, with fresh weights."""
        given = options.model_dump(exclude={"cell", "embedding_size"})
        return ManyToMany(inputs.encoder(options.embedding_size), cell, len(inputs.classes), **given)

    def predict(self, sequences: Any) -> list[Prediction]:
        """The label at each step of each sequence.

        Args:
            sequences: a sequence, which gives a list of one, or several, or what `read` gives. Of a model of words, a
                sequence is a string, which is split at white space, or a list of words in a list. Of a model of series,
                it is an array or a tensor (T, C) or (T,). Of a model of frames, it is bytes (T, H, W) or (T, H, W, 3),
                which are brought to the size of those that the model was trained on. A path stands for all sequences
                in it: a video, a ``.npy`` file, a table, a folder.

        Raises:
            ArgumentError: something is no sequence of the model's kind, or could be one sequence or several.
            DataError: a sequence cannot be used, or does not fit.
        """
        sequences = as_examples(sequences, self._takes(sequences), partial(self.read, bad=BadItems()))
        arrays = self.inputs.arrays(sequences)
        best = {row: logits.softmax(-1).max(-1) for row, logits in self._answers(arrays)}
        return [
            Prediction(
                place,
                [self.inputs.classes[k] for k in best[row].indices.tolist()],
                best[row].values.tolist(),
                sequences.inputs[row] if self.inputs.kind == "words" else (),
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
                "Train one with --no-bidirectional to stream."
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
        return StepReader(self._reading(bad), self.inputs.classes).predict(source)

    def parts(self, source: str | None = None, column: str | None = None) -> Mapping[str, Examples]:
        """Sequences to score, by name: all of a source, or the run's own validation and test sequences."""
        bad = BadItems(self.config.data.skip_bad)
        if source is not None:
            how = self._reading(bad)
            how = replace(how, input=column or how.input)
            return {Path(source).name: StepReader(how, self.inputs.classes).score(source)}
        return held_out(read(reader(self.config, bad), self.config))

    def _takes(self, given: Any) -> Takes:
        named: dict[str, Any] = {"unit": "sequence", "argument": "sequences"}
        if self.inputs.kind == "words":
            if isinstance(given, list | tuple) and len(given) > 1 and all(map(_is_word, given)):
                raise ArgumentError(
                    f"{short(given)} may be one sentence or several of one word: give [{short(given)}] for one "
                    "sentence, or each sentence as a list of its words."
                )
            return Takes("sentences (strings, or lists of words)", _words, lambda value: False, True, **named)
        if self.inputs.kind == "series":
            what = "series (arrays (T, C), or paths)"
            return Takes(what, self._steps, one_series, **named)
        what = "frames (arrays of bytes (T, H, W) or (T, H, W, 3), or paths)"
        return Takes(what, self._steps, _one_clip, **named)

    def _steps(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return as_series(value)
        return as_steps(value, self._reading(BadItems()).video) if isinstance(value, np.ndarray) else None

    def _reading(self, bad: BadItems) -> Reading:
        """How the user's files are read: frames are brought to the size of those that the model was trained on."""
        how = replace(reading(self.config.data, bad), kind=self.inputs.kind)
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
        part = part.select(rows.tolist())
        truth = [self.inputs.indices(names) for names in part.labels]
        return self.judge(self.inputs.arrays(part), truth, part.places)

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


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and len(value.split()) == 1


def _words(value: Any) -> list[str] | None:
    """A sentence as words."""
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        return None
    if not all(words):
        raise Unusable("holds an empty word")
    if not words:
        raise Unusable("holds no words")
    return list(words)


def _one_clip(value: Any) -> bool:
    """Whether it is an array of one video: (T, H, W) or (T, H, W, 3)."""
    return isinstance(value, np.ndarray) and (value.ndim < 4 or (value.ndim == 4 and value.shape[-1] in (1, 3)))


def reader(config: LabelConfig, bad: BadItems) -> StepReader:
    """What reads the sequences of a configuration."""
    return StepReader(reading(config.data, bad))
