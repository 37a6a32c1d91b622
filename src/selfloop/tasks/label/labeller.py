"""A trained labeller: says what each step of a sequence is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from selfloop.data.examples import BadItems, Examples, Unusable
from selfloop.data.media.series import as_series
from selfloop.data.media.video import VideoReading, frames
from selfloop.data.readers.steps import StepReader, as_steps
from selfloop.decoding.tags import best_tags
from selfloop.errors import ArgumentError, DataError
from selfloop.metrics import Confusion
from selfloop.models import ManyToMany
from selfloop.options.label import LabelConfig
from selfloop.tasks.answer import Answer, Mistake
from selfloop.tasks.examples_predictor import ExamplesPredictor
from selfloop.tasks.given import Example, Step, Takes, as_examples, one_series
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.label.score import SHOWN, Score
from selfloop.tasks.predictor import Draws, Watches
from selfloop.tasks.reading import reading
from selfloop.tasks.results import some
from selfloop.tasks.score import Drawing, Timeline
from selfloop.tasks.watched import CLASSES, Facts, class_facts, side_by_side
from selfloop.untrusted import short

AROUND = 3
"""Words that are shown on each side of a mistake."""


@dataclass(frozen=True)
class Prediction(Answer):
    """What a labeller says of one sequence.

    Attributes:
        place: where the sequence stands.
        labels: one a step, the most probable; of tags of spans the most probable in which each span begins.
        probabilities: of these labels.
        words: the sequence itself, where it is one of words.
        truth: the true labels, where they are known: none, or one a step, None where it is not.
    """

    labels: Sequence[str]
    probabilities: Sequence[float]
    words: Sequence[str] = ()
    truth: Sequence[str | None] = ()

    def facts(self) -> dict[str, object]:
        """All of it, for JSON."""
        words = {"words": list(self.words)} if self.words else {}
        probabilities = [round(probability, 4) for probability in self.probabilities]
        return {**self.example(), **words, "labels": list(self.labels), "probabilities": probabilities}

    def rows(self) -> list[dict[str, object]]:
        """A row a step, for CSV."""
        return [
            {
                **self.example(),
                "step": step,
                **({"word": self.words[step]} if self.words else {}),
                "label": label,
                "probability": f"{self.probabilities[step]:.4f}",
            }
            for step, label in enumerate(self.labels)
        ]

    def judged_rows(self) -> list[dict[str, object]]:
        """The same rows, with the true label, and whether it was found; both empty where a step is not judged."""
        return [
            {**row, "true_label": truth, "correct": None if truth is None else row["label"] == truth}
            for row, truth in zip(self.rows(), self.truth or [None] * len(self.labels), strict=True)
        ]

    def mistakes(self) -> list[Mistake]:
        """The labels that are wrong, each with the words around it."""
        return [
            Mistake(self.probabilities[step], self.labels[step], truth, self.place, self._around(step))
            for step, truth in enumerate(self.truth)
            if truth not in (None, self.labels[step])
        ]

    def line(self) -> str:
        """The labels alone."""
        return " ".join(self.labels)

    def _around(self, step: int) -> str:
        """A word in brackets among those beside it; of what is not words its number."""
        if not self.words:
            return f"step {step}"
        before, after = self.words[max(0, step - AROUND) : step], self.words[step + 1 : step + 1 + AROUND]
        return " ".join([*before, f"[{self.words[step]}]", *after])


class Labeller(ExamplesPredictor[ManyToMany, LabelConfig, Prediction, Score], Draws[Prediction], Watches):
    """A labeller that was trained on sequences.

    Attributes:
        model: the network, in evaluation mode.
        inputs: how sequences are read, and the labels.
        config: what was chosen when it was trained.
    """

    NETWORK = ManyToMany
    BATCH = 32

    def predict(self, sequences: Examples | Example | Iterable[Example | Sequence[str]]) -> list[Prediction]:
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
        return self.said(sequences, self.answers(self.inputs.arrays(sequences)))

    def said(self, examples: Examples, answers: Sequence[torch.Tensor]) -> list[Prediction]:
        """The labels of each sequence, by the logits of its steps."""
        best = [self._labels(logits) for logits in answers]
        shares = [logits.softmax(-1).gather(-1, k[:, None])[:, 0] for logits, k in zip(answers, best, strict=True)]
        return [
            Prediction(
                place,
                [self.inputs.classes[k] for k in best[row].tolist()],
                shares[row].tolist(),
                examples.inputs[row] if self.inputs.kind == "words" else (),
                examples.labels[row] if examples.labels else (),
            )
            for row, place in enumerate(examples.places)
        ]

    def stream(self, steps: Iterable[Step]) -> Iterator[str]:
        """The labels of steps as they come, such as the frames of a camera, in constant memory.

        Args:
            steps: words, vectors (C,) or frames (H, W) or (H, W, 3), as the model was trained on. The numbers of a
                vector go by their place; those of tables have the order of ``inputs.columns.channels``.

        Raises:
            ArgumentError: the model reads in both directions, so it must see the end first.
        """
        return (label for label, _ in self.stream_with_probabilities(steps))

    def stream_with_probabilities(self, steps: Iterable[Step]) -> Iterator[tuple[str, float]]:
        """The same, each with its probability."""
        if self.model.rnn.bidirectional:
            raise ArgumentError(
                "A labeller that reads in both directions must see the end before it says the beginning. "
                "Train one with --no-bidirectional to stream."
            )
        state = None
        for number, step in enumerate(steps):
            one = [step] if self.inputs.vocabulary is not None else np.asarray(step)[None]
            (array,) = self.inputs.arrays(Examples([one], [], [f"step {number}"]))
            with torch.inference_mode():
                logits, state = self.model.step(torch.tensor(array, device=self.device), state)
            probability, label = logits[0].float().softmax(-1).max(-1)
            yield self.inputs.classes[int(label)], float(probability)

    def watch(self, source: str) -> Iterator[npt.NDArray[np.uint8]]:
        """The frames of a film, a camera's device or an address, one at a time, as `stream` takes them.

        Raises:
            ArgumentError: the model reads no frames.
            DataError: there is no video.
        """
        if self.inputs.kind != "frames":
            raise ArgumentError(f"This labeller reads {self.inputs.kind}, and only frames are watched. Use predict.")
        try:
            yield from frames(source, self._video)
        except Unusable as fault:
            raise DataError(f"{source} {fault}. Give a video, a camera's device or an address.") from fault

    def knows(self) -> str:
        """The labels."""
        return some(self.inputs.classes, "labels")

    @classmethod
    def reader(
        cls, config: LabelConfig, bad: BadItems, inputs: Inputs | None = None, column: str | None = None
    ) -> StepReader:
        """What reads the sequences of a configuration; frames are brought to the size that a model has learnt from."""
        how = reading(config.data, bad, column)
        if inputs is None:
            return StepReader(how)
        how = replace(how, kind=inputs.kind, columns=inputs.columns)
        if inputs.kind == "frames" and how.video.size is None:
            height, width, *colours = inputs.shape
            how = replace(how, video=replace(how.video, size=(height, width), grey=not colours))
        return StepReader(how, inputs.classes)

    def drawing(self, predictions: Sequence[Prediction]) -> Drawing:
        """The labels along some sequences, against the true ones where they are known."""
        shown = predictions[: 2 * SHOWN]
        truth = [one.truth or [None] * len(one.labels) for one in shown]
        words = [one.words for one in shown] if self.inputs.kind == "words" else ()
        return Timeline([one.place for one in shown], truth, [one.labels for one in shown], words)

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
        return as_steps(value, self._video) if isinstance(value, np.ndarray) else None

    @property
    def _video(self) -> VideoReading:
        """How frames are read."""
        return self.reader(self.config, BadItems(), self.inputs).reading.video

    @classmethod
    def truth(cls, inputs: Inputs, labels: Sequence[Sequence[str | None]]) -> list[npt.NDArray[np.int64]]:
        """The number of the label of each step of each sequence, -1 where a step is not judged.

        Raises:
            DataError: none is judged.
        """
        if not any(name is not None for names in labels for name in names):
            raise DataError(
                f"No step of {len(labels):,} sequences has a label, so nothing can be learnt from them or judged by "
                "them. Give others, or hold out others with --split-seed; labels that data.ignore names count as none."
            )
        return [inputs.indices(names) for names in labels]

    def judge(
        self, answers: Sequence[torch.Tensor], truth: Sequence[npt.NDArray[np.int64]], examples: Examples
    ) -> Score:
        """The score of sequences whose labels are known by number, -1 where a step is not judged, by their logits."""
        classes = self.inputs.classes
        targets = torch.from_numpy(np.concatenate(truth))
        nats = F.cross_entropy(torch.cat([*answers]).double(), targets, ignore_index=-1, reduction="sum")
        predicted = [self._labels(logits).numpy() for logits in answers]
        return Score(
            float(nats),
            Confusion.of(classes, np.concatenate(truth), np.concatenate(predicted)),
            [[classes[k] if k >= 0 else None for k in row] for row in truth],
            [[classes[k] for k in row] for row in predicted],
            examples.places,
            examples.inputs if self.inputs.kind == "words" else (),
        )

    def targets(self, part: Examples, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Facts]:
        """Every step that is judged, its label, and whether it has one of the most frequent labels."""
        del lengths
        judged = [
            (row, step, number)
            for row, numbers in enumerate(self.truth(self.inputs, part.labels))
            for step, number in enumerate(numbers.tolist())
            if number >= 0
        ]
        found = torch.tensor(judged).view(-1, 3)
        flat = class_facts([name for names in part.labels for name in names], "label", CLASSES)
        cuts = np.cumsum([len(names) for names in part.labels])[:-1]
        rows = [dict[str, Sequence[float]]() for _ in part.labels]
        for name, values in flat.items():
            for row, own in zip(rows, np.split(values, cuts), strict=True):
                row[name] = own.tolist()
        return found[:, :2], found[:, 2], side_by_side(rows, max(map(len, part.labels)))

    def read_out(self, model: ManyToMany, y: torch.Tensor, lengths: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """The logits of a step of each sequence."""
        logits: torch.Tensor = model.readout(y[at, torch.arange(len(at), device=y.device)])
        return logits

    def _labels(self, logits: torch.Tensor) -> torch.Tensor:
        """The labels of the steps of a sequence by number, the most probable; each span begins with its B-."""
        return best_tags(logits, self.inputs.classes) if self.inputs.spans else logits.argmax(-1)

    def answer(self, batch: torch.Tensor, lengths: torch.Tensor | None) -> Sequence[torch.Tensor]:
        """The logits of each step of each sequence."""
        logits, _ = self.model(batch, lengths=lengths)
        ends = [len(batch)] * batch.shape[1] if lengths is None else lengths.tolist()
        return [one[:end] for one, end in zip(logits.float().cpu().unbind(1), ends, strict=True)]


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
