"""Between texts and tokens, on both sides of a translation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from selfloop.data import Tokenizer
from selfloop.tasks.run_config import TOKENIZER, load_tokenizer, save_tokenizer
from selfloop.training import Run

Tokens = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Languages:
    """The tokenizers of the source and of the target; with a shared vocabulary they are one.

    Attributes:
        source, target: the tokenizers, whose `start_id` stands before and after a text.
        lowercase: whether case is ignored.
    """

    source: Tokenizer
    target: Tokenizer
    lowercase: bool = False

    @classmethod
    def learn(
        cls,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        kind: str = "bpe",
        vocab_size: int | None = None,
        shared: bool = True,
        lowercase: bool = False,
    ) -> "Languages":
        """The vocabularies of texts.

        Raises:
            ConfigError: a tokenizer of that kind cannot have that many types.
        """

        def train(*sides: Sequence[str]) -> Tokenizer:
            texts = (f"{plain(text, lowercase)}\n" for side in sides for text in side)
            return Tokenizer.train(kind, _spaced(kind, texts), vocab_size)

        source = train(sources, targets) if shared else train(sources)
        return cls(source, source if shared else train(targets), lowercase)

    @property
    def shared(self) -> bool:
        """Whether both are of one vocabulary."""
        return self.source is self.target

    @property
    def start_id(self) -> int:
        """The token before a translation, and after it."""
        return self.target.start_id

    def read(self, texts: Iterable[str]) -> list[Tokens]:
        """What the encoder reads of each text: its tokens, and the one that ends it."""
        return [np.array([*ids, self.source.start_id], np.int32) for ids in self._ids(self.source, texts)]

    def written(self, texts: Iterable[str]) -> list[Tokens]:
        """What the decoder is to write for each text, from the token before it to the token after it."""
        start = self.start_id
        return [np.array([start, *ids, start], np.int32) for ids in self._ids(self.target, texts)]

    def text(self, ids: Iterable[int]) -> str:
        """A translation as text."""
        return self.target.decode(ids).strip()

    def shown(self, tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
        """Tokens one by one, for a picture: of BPE, what goes on with a word begins with a dot."""
        texts = [tokenizer.decode([number]) for number in ids]
        if tokenizer.kind != "bpe":
            return texts
        return [
            text[1:] or " " if text.startswith(" ") else f"·{text}" if text[0].isalnum() else text for text in texts
        ]

    def save(self, run: Run) -> None:
        """Keep the tokenizers in a run's folder."""
        sides = {"tokenizer": self.source} if self.shared else {"source": self.source, "target": self.target}
        for name, tokenizer in sides.items():
            save_tokenizer(run, tokenizer, f"{name}.json")

    @classmethod
    def load(cls, run: Run, shared: bool, lowercase: bool) -> "Languages":
        """As `save` has kept them.

        Raises:
            DataError: a tokenizer is missing or damaged.
        """
        source = load_tokenizer(run, TOKENIZER if shared else "source.json")
        return cls(source, source if shared else load_tokenizer(run, "target.json"), lowercase)

    def _ids(self, tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
        return tokenizer.encode_batch(list(_spaced(tokenizer.kind, (plain(text, self.lowercase) for text in texts))))


def plain(text: str, lowercase: bool) -> str:
    r"""A text with single spaces, and perhaps in lower case.

    >>> plain(" Zwei  Hunde\t", lowercase=True)
    'zwei hunde'
    """
    text = " ".join(text.split())
    return text.lower() if lowercase else text


def _spaced(kind: str, texts: Iterable[str]) -> Iterable[str]:
    """BPE takes a word's space as part of it: with one before the first word, that is a word like the others."""
    return (f" {text}" for text in texts) if kind == "bpe" else texts
