"""Words as numbers: what each is, and how it is written."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

UNKNOWN = "<unk>"
LONGEST = 20
"""Characters of a word that are read: of a longer one the first ten and the last ten."""


@dataclass(frozen=True)
class Vocabulary:
    """The words and characters of a training set; the first of each stands for all that are not known.

    >>> vocabulary = Vocabulary.of([["to", "be", "to"]])
    >>> vocabulary.words
    ('<unk>', 'to')
    >>> vocabulary.encode(["to", "boo"])[:, :5].tolist()
    [[1, 5, 4, 0, 0], [0, 2, 4, 4, 0]]
    """

    words: tuple[str, ...]
    characters: tuple[str, ...]
    _words: dict[str, int] = field(init=False, repr=False, compare=False)
    _characters: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_words", {word: number for number, word in enumerate(self.words)})
        object.__setattr__(self, "_characters", {c: number for number, c in enumerate(self.characters)})

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], at_least: int = 2) -> "Vocabulary":
        """The words that come at least so often, and all characters."""
        counts = Counter(word for sentence in sentences for word in sentence)
        words = sorted(word for word, count in counts.items() if count >= at_least and word != UNKNOWN)
        return cls((UNKNOWN, *words), ("\N{REPLACEMENT CHARACTER}", *sorted(set("".join(counts)))))

    def encode(self, sentence: Sequence[str]) -> npt.NDArray[np.int64]:
        """A row a word: its number, and those of its characters, plus 1, with zeros after the last."""
        rows = np.zeros((len(sentence), 1 + LONGEST), np.int64)
        for row, word in zip(rows, sentence, strict=True):
            read = word if len(word) <= LONGEST else word[: LONGEST // 2] + word[-LONGEST // 2 :]
            row[0] = self._words.get(word, 0)
            row[1 : 1 + len(read)] = [self._characters.get(c, 0) + 1 for c in read]
        return rows
