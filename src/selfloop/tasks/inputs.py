"""What a model of labelled examples reads: from a user's examples to arrays, and to the encoder that takes them."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from selfloop import config as configuration
from selfloop.config import Section
from selfloop.data import Tokenizer
from selfloop.data.examples import NO_COLUMNS, Columns, Examples, Modality
from selfloop.data.text.vocabulary import Vocabulary
from selfloop.data.text.words import split_words
from selfloop.errors import ConfigError, DataError, RunError
from selfloop.models import FrameEncoder, NumberEncoder, TokenEncoder, WordEncoder
from selfloop.options.sections import ClassWeights
from selfloop.tasks.run_config import load_tokenizer, save_tokenizer
from selfloop.training import Run
from selfloop.training.checkpoint import write_bytes
from selfloop.untrusted import parse_json, read_text

LARGEST = 256 << 20
"""Bytes of inputs.json, which holds all words and classes."""


@dataclass(frozen=True)
class Inputs:
    """How examples are read, and the classes that they belong to.

    Attributes:
        kind: what an example is.
        shape: of one step: (C,) of a series, (H, W) or (H, W, 3) of frames, () of text.
        classes: the names of the labels, in the order of the logits; none where the target is no class.
        tokenizer: of text that is read as characters, bytes or byte-pair encoding.
        vocabulary: of words, and of text that is read as words.
        image: the shape of an image, (H, W) or (H, W, 3), where images became sequences.
        spans: whether the labels of steps are tags of spans, each of which begins before it continues.
        columns: the names of the numbers of series, where their tables have any.
    """

    kind: Modality
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    tokenizer: Tokenizer | None = None
    vocabulary: Vocabulary | None = None
    image: tuple[int, ...] | None = None
    spans: bool = False
    columns: Columns = NO_COLUMNS

    def arrays(self, examples: Examples) -> Sequence[npt.NDArray[np.generic]]:
        """An array each, whose first axis is time.

        Raises:
            DataError: a series has another number of channels than those the model was trained on, or frames have
                another size.
        """
        if self.tokenizer is not None:
            ids = self.tokenizer.encode_batch(examples.inputs)
            return [np.array(row or [self.tokenizer.start_id], np.int64) for row in ids]
        if self.vocabulary is not None:
            split = split_words if self.kind == "text" else list
            return [self.vocabulary.encode(split(words) or [""]) for words in examples.inputs]
        for array, place in zip(examples.inputs, examples.places, strict=True):
            if array.shape[1:] != self.shape:
                raise DataError(
                    f"{place} has steps of shape {array.shape[1:]}, and the model was trained on steps of shape "
                    f"{self.shape}. Give data of the same kind."
                )
        return examples.inputs

    def written(self, examples: Examples) -> list[list[str]]:
        """Of each example the text of its steps, as `arrays` reads them; none of what is not text."""
        if self.tokenizer is not None:
            ids = self.tokenizer.encode_batch(examples.inputs)
            return [[self.tokenizer.decode([token]) for token in row or [self.tokenizer.start_id]] for row in ids]
        if self.vocabulary is not None:
            return [(split_words(words) if self.kind == "text" else list(words)) or [""] for words in examples.inputs]
        return []

    @property
    def unit(self) -> str:
        """What a step is, in the singular."""
        if self.tokenizer is not None:
            return {"char": "character"}.get(self.tokenizer.kind, "token")
        return "word" if self.vocabulary is not None else "frame" if self.kind == "frames" else "step"

    def indices(self, names: Sequence[str | None]) -> npt.NDArray[np.int64]:
        """The numbers of classes; -1 where there is no label to judge by."""
        number: dict[str | None, int] = {None: -1, **{name: index for index, name in enumerate(self.classes)}}
        return np.array([number[name] for name in names], np.int64)

    def encoder(self, size: int) -> nn.Module:
        """What stands before the recurrent stack; `size` is that of a token's or a frame's vector."""
        if self.kind == "series":
            return NumberEncoder(*self.shape)
        if self.kind == "frames":
            return FrameEncoder(self.shape[0], self.shape[1], (*self.shape, 1)[2], size)
        if self.vocabulary is not None:
            return WordEncoder(len(self.vocabulary.words), size)
        assert self.tokenizer is not None
        return TokenEncoder(self.tokenizer.vocab_size, size)

    def save(self, run: Run) -> None:
        """Keep it in a run's folder."""
        facts: dict[str, Any] = {"kind": self.kind, "shape": self.shape}
        if self.classes:
            facts["classes"] = self.classes
        if self.image is not None:
            facts["image"] = self.image
        if self.spans:
            facts["spans"] = True
        facts |= {name: found for name, found in asdict(self.columns).items() if found}
        if self.vocabulary is not None:
            facts["words"] = self.vocabulary.words
        write_bytes(run.path / "inputs.json", (json.dumps(facts, ensure_ascii=False, indent=1) + "\n").encode())
        if self.tokenizer is not None:
            save_tokenizer(run, self.tokenizer)

    @classmethod
    def load(cls, run: Run) -> "Inputs":
        """As `save` has kept it.

        Raises:
            RunError: a file is missing or damaged.
        """
        file = run.path / "inputs.json"
        try:
            facts = configuration.parse(_Facts, parse_json(read_text(file, LARGEST)), str(file))
        except ConfigError as error:
            raise RunError(f"{error} It was changed since the run was made: restore it from a copy.") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{file} is missing or damaged ({error}). Restore it from a copy.") from error
        by_words = facts.kind == "words" or bool(facts.words)
        tokenizer = load_tokenizer(run) if facts.kind == "text" and not by_words else None
        vocabulary = Vocabulary(facts.words) if by_words else None
        columns = Columns(facts.channels, facts.steps)
        return cls(facts.kind, facts.shape, facts.classes, tokenizer, vocabulary, facts.image, facts.spans, columns)


class _Facts(Section):
    """What inputs.json holds: of each kind of examples, what `Inputs` says of it."""

    kind: Modality
    shape: tuple[PositiveInt, ...]
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = ()
    image: tuple[PositiveInt, ...] | None = None
    words: tuple[str, ...] = ()
    spans: bool = False
    channels: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _agree(self) -> "_Facts":
        axes = {"series": (1,), "frames": (2, 3)}.get(self.kind, (0,))
        if len(self.shape) not in axes:
            raise ValueError(f"a step of {self.kind} cannot have the shape {self.shape}")
        if self.image is not None and len(self.image) not in (2, 3):
            raise ValueError(f"an image cannot have the shape {self.image}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class has the name of another")
        if any(len(set(names)) < len(names) for names in (self.channels, self.steps)):
            raise ValueError("a column has the name of another")
        if self.kind != "text" and (self.kind == "words") != bool(self.words):
            raise ValueError("words belong to examples of words, and to no others")
        return self


def fit_scale(encoder: nn.Module, arrays: Sequence[npt.NDArray[Any]]) -> None:
    """Tell an encoder of numbers their means and deviations over all steps of the training data."""
    if not isinstance(encoder, NumberEncoder):
        return
    if isinstance(arrays, np.ndarray):
        arrays = [array.reshape(-1, array.shape[-1]) for array in np.array_split(arrays, 1 + len(arrays) // 1000)]
    steps = sum(len(array) for array in arrays)
    mean = sum(array.sum(0, dtype=np.float64) for array in arrays) / steps
    spread = sum(((array - mean) ** 2).sum(0) for array in arrays) / steps
    encoder.fit(mean.tolist(), np.sqrt(spread).tolist())


def in_natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Different names: numbers by their value, before words by the alphabet.

    >>> in_natural_order(["b", "10", "nan", "9", "b"])
    ('9', '10', 'b', 'nan')
    """

    def key(name: str) -> tuple[int, float, str]:
        try:
            number = float(name)
        except ValueError:
            number = math.nan
        return (1, 0.0, name) if math.isnan(number) else (0, number, name)

    return tuple(sorted(set(names), key=key))


def class_weights(kind: ClassWeights, truth: npt.NDArray[np.int64], classes: int) -> Tensor | None:
    """What each class weighs in the loss: all the same (None), or 1 / its share of the truth, divided by the classes,
    or the square root of that.

    >>> class_weights("balanced", np.array([0, 0, 0, 1, -1]), classes=2)
    tensor([0.6667, 2.0000])
    """
    if kind == "none":
        return None
    counts = np.bincount(truth[truth >= 0], minlength=classes)
    balanced = torch.tensor(counts.sum() / np.maximum(counts, 1) / classes, dtype=torch.float32)
    return balanced.sqrt() if kind == "sqrt" else balanced


def fingerprint(*arrays: npt.NDArray[Any]) -> str:
    """A hash of what is in arrays."""
    return fingerprint_of_parts(arrays)


def fingerprint_of_parts(arrays: Iterable[npt.NDArray[Any]]) -> str:
    """Likewise of arrays one after another, which need not be in memory together."""
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
