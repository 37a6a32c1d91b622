"""Word vectors to begin with, that were learnt from much more text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from selfloop.data.text.vectors import read_vectors
from selfloop.data.text.vocabulary import UNKNOWN, Vocabulary
from selfloop.errors import ConfigError, DataError
from selfloop.models import WordEncoder

Vectors = Mapping[str, npt.NDArray[np.float32]]
"""Of each word, (D,)."""


def pretrained(path: str, sentences: Iterable[Sequence[str]], size: int | None, notes: list[str]) -> Vectors:
    """The vectors of the words of the training data.

    Args:
        path: their file.
        sentences: of words.
        size: the features that they are to have; None takes what there are.
        notes: is told how many words there are vectors for.

    Raises:
        DataError: the file cannot be read, or has none of the words.
        ConfigError: the vectors have another size.
    """
    words = {word.lower() for sentence in sentences for word in sentence}
    vectors = read_vectors(path, words)
    found = size_of(vectors)
    if size not in (None, found):
        raise ConfigError(
            f"The model.embedding_size must be {found}, as of the vectors in {path}. Got {size} instead: leave it out."
        )
    notes.append(f"vectors of {len(vectors):,} of the {len(words):,} different words are in {path}")
    return vectors


def vectors_again(path: str, vocabulary: Vocabulary, size: int) -> Vectors:
    """The vectors of the words that a model knows, which it began with.

    Raises:
        DataError: the file cannot be read, or its vectors have another size.
    """
    vectors = read_vectors(path, vocabulary.words)
    if size_of(vectors) != size:
        raise DataError(
            f"{path} has vectors of {size_of(vectors)} numbers, and the run began with vectors of {size}: put the file "
            "that it began with back."
        )
    return vectors


def size_of(vectors: Vectors) -> int | None:
    """The features of a vector; None where there are none."""
    return next((len(vector) for vector in vectors.values()), None)


def begin_with(vectors: Vectors, encoder: Any, vocabulary: Vocabulary | None) -> None:
    """Put the vectors of known words in the place of random ones, brought to the same spread.

    Raises:
        ConfigError: the words that are known have none.
    """
    if not vectors:
        return
    assert isinstance(encoder, WordEncoder) and vocabulary is not None
    rows = [row for row, word in enumerate(vocabulary.words) if word in vectors and word != UNKNOWN]
    if not rows:
        raise ConfigError(
            "No word that data.vocab_size lets the model know has a vector in data.vectors: raise data.vocab_size, or "
            "leave the vectors out."
        )
    values = torch.tensor(np.stack([vectors[vocabulary.words[row]] for row in rows]))
    with torch.no_grad():
        table = encoder.embedding.weight
        table[rows] = values * (table.std() / values.std())
