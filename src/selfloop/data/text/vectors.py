"""Pretrained word vectors: the text files of GloVe and of fastText (.vec), plain or .gz."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selfloop.data.files.compressed import open_plain
from selfloop.errors import DataError
from selfloop.untrusted import short

LONGEST = 1 << 16
"""Bytes of a line, which is a word and up to a few thousand numbers."""


def read_vectors(path: str | Path, words: Collection[str]) -> Mapping[str, npt.NDArray[np.float32]]:
    """The vectors of words; of a word that the file has with capital letters only, those of the first of these.

    A line is a word and its numbers, with a space between. fastText begins with a line of its own: how many words
    there are, and how many numbers each has.

    Args:
        path: the file.
        words: those that are looked for.

    Returns:
        A vector (D,) for each word that the file has.

    Raises:
        DataError: there is no such file, it cannot be read, a line is damaged, or the file has none of the words.
    """
    wanted, exact = set(words), set[str]()
    found: dict[str, npt.NDArray[np.float32]] = {}
    promised = size = number = 0
    try:
        with open_plain(Path(path)) as file:
            while line := file.readline(LONGEST):
                number += 1
                parts = line.decode(errors="replace").strip("\r\n ").split(" ")
                if parts == [""]:
                    continue
                if number == 1 and len(parts) == 2 and all(map(str.isdecimal, parts)):
                    promised, size = map(int, parts)
                    continue
                size = size or len(parts) - 1
                word = _word(parts, size)
                if word is None:
                    raise _damaged(path, number, size, parts)
                form = word if word in wanted else word.lower()
                if form in exact or form not in wanted or (form != word and form in found):
                    continue
                vector = _vector(parts[-size:])
                if vector is None:
                    raise _damaged(path, number, size, parts)
                found[form] = vector
                if form == word:
                    exact.add(word)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"The word vectors {path} cannot be read ({error}): give a file, or a copy of it.") from error
    if promised and number - 1 < promised:
        raise DataError(
            f"{path} is cut short: line 1 says that it has {promised:,} words, and it has {number - 1:,}. Get it again."
        )
    if not found:
        raise DataError(
            f"{path} has a vector for none of the {len(words):,} words of the training data: give vectors of their "
            "language, in the text format of GloVe or fastText."
        )
    return found


def _word(parts: Sequence[str], size: int) -> str | None:
    """The word of a line, which may hold spaces: a few of GloVe's do; None where there are not as many numbers."""
    word = parts[: len(parts) - size] if size else []
    if not word or (len(word) > 1 and _vector(word[-1:]) is not None):
        return None
    return " ".join(word)


def _vector(parts: Sequence[str]) -> npt.NDArray[np.float32] | None:
    """The numbers of a line, if they are finite numbers."""
    try:
        vector = np.array(parts, np.float32)
    except ValueError:
        return None
    return vector if np.isfinite(vector).all() else None


def _damaged(path: str | Path, number: int, size: int, parts: Sequence[str]) -> DataError:
    numbers = f"{size:,} numbers" if size else "its numbers"
    return DataError(
        f"{path}, line {number:,} must hold a word and {numbers}, with a space between. Got {short(' '.join(parts))}: "
        "give vectors in the text format of GloVe or fastText (.vec), or get the file again."
    )
