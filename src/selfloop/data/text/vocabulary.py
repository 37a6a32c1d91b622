"""Words as numbers: what each is, and how it is written."""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

UNKNOWN = "<unk>"
LONGEST = 20
"""Characters of a word that are read: of a longer one the first ten and the last ten."""


@dataclass(frozen=True)
class Vocabulary:
    """The words of a training set, in lower case; the first stands for all that are not known.

    >>> vocabulary = Vocabulary.of([["To", "be", "to"]])
    >>> vocabulary.words
    ('<unk>', 'to')
    >>> vocabulary.encode(["To", "boo"])[:, :5].tolist()
    [[1, 116, 111, 0, 0], [0, 98, 111, 111, 0]]
    """

    words: tuple[str, ...]
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {word: number for number, word in enumerate(self.words)})

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], size: int | None = None, also: Container[str] = ()) -> "Vocabulary":
        """The words that come twice or more, since those that come once teach what an unknown word is.

        Args:
            sentences: words in a row.
            size: words at the most, the first among them; the most frequent are kept.
            also: words that are kept though they come once.
        """
        counts = Counter(word.lower() for sentence in sentences for word in sentence)
        known = [word for word, n in counts.most_common() if (n > 1 or word in also) and word != UNKNOWN]
        return cls((UNKNOWN, *sorted(known[: None if size is None else size - 1])))

    def encode(self, sentence: Sequence[str]) -> npt.NDArray[np.int64]:
        """A row a word, (T, 1 + 2 · LONGEST): its number, the code points of its characters in lower case, with zeros
        after the last, and those of its shape likewise.
        """
        rows = np.zeros((len(sentence), 1 + 2 * LONGEST), np.int64)
        for row, word in zip(rows, sentence, strict=True):
            row[0] = self._numbers.get(word.lower(), 0)
            row[1:] = _code_points(word)
        return rows


@lru_cache(maxsize=1 << 16)
def _code_points(word: str) -> npt.NDArray[np.int64]:
    """Of a word in lower case and of its shape, (2 · LONGEST,): most words come again and again."""
    points = np.zeros((2, LONGEST), np.int64)
    for row, spelt in zip(points, (word.lower(), shape(word)), strict=True):
        read = spelt if len(spelt) <= LONGEST else spelt[: LONGEST // 2] + spelt[-LONGEST // 2 :]
        row[: len(read)] = [*map(ord, read)]
    points.flags.writeable = False
    return points.reshape(-1)


def shape(word: str) -> str:
    """How a word looks: X where it has a capital letter, L for another letter, D for a digit, all else as it is.

    >>> shape("McDonald's"), shape("@user_42")
    ("XLXLLLLL'L", '@LLLL_DD')
    """
    return "".join("X" if c.isupper() else "D" if c.isdigit() else "L" if c.isalpha() else c for c in word)
