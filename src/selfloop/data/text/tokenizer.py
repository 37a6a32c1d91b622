"""Text to tokens and back: one owner of one `tokenizers.Tokenizer`, of one of the kinds in `kinds`."""

import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as Backend

from selfloop.atomic import replacing
from selfloop.data.text.pieces import blocks
from selfloop.data.text.token_kinds import ANYWHERE, KINDS, Table
from selfloop.errors import ConfigError, DataError, nearest
from selfloop.untrusted import parse_json, read_text
from selfloop.world import ALONE, World

LARGEST = 256 << 20
"""Bytes of a tokenizer.json."""

_BATCH = 16  # blocks given to the library at once, which shares them out to the cores


class Tokenizer:
    r"""Cuts text into tokens, numbered from 0 to ``vocab_size - 1``, and writes tokens as text.

    Made by `train` or `load`.

    Attributes:
        kind: "char", "byte", "word" or "bpe".
        start_id: the token that stands before the first token of a text: ``<eos>`` of words, else the newline. Both
            are always in the vocabulary.
        unknown_id: the token of a character or word that is not in the vocabulary; None of bytes and BPE, which have
            all.

    >>> tokenizer = Tokenizer.train("char", ["to be\n"])
    >>> tokenizer.encode("bet")
    [3, 4, 6]
    >>> tokenizer.decode([3, 4, 6])
    'bet'
    """

    def __init__(self, kind: str, backend: Backend) -> None:
        self.kind = kind
        self._backend = backend
        self.start_id: int = backend.get_vocab()[KINDS[kind].start]
        unknown = backend.model.unk_token
        self.unknown_id: int | None = None if unknown is None else backend.token_to_id(unknown)

    @classmethod
    def train(cls, kind: str, text: Iterable[str], vocab_size: int | None = None) -> "Tokenizer":
        """Learns the vocabulary of a text.

        Args:
            kind: "char", "byte", "word" or "bpe".
            text: pieces of the text; read once.
            vocab_size: the number of types at most, ``<unk>`` and ``<eos>`` among them. The most frequent characters
                or words are kept, of equally frequent ones the first in the alphabet. None takes all characters, all
                words, or 8,000 types of BPE. Bytes are always 256; BPE has at least these.

        Raises:
            ConfigError: there is no such kind, or it cannot have that many types.
        """
        if kind not in KINDS:
            listed = ", ".join(f"'{name}'" for name in KINDS)
            raise ConfigError(f"The 'kind' of a Tokenizer must be one of {listed}. Got '{kind}'{nearest(kind, KINDS)}")
        row = KINDS[kind]
        if vocab_size is not None and vocab_size not in row.sizes:
            allowed = f"at least {row.sizes[0]}" if len(row.sizes) > 1 else f"{row.sizes[0]}, or not be given"
            raise ConfigError(f"The 'vocab_size' of a '{kind}' Tokenizer must be {allowed}. Got {vocab_size} instead.")
        backend = row.frame()
        row.learn(backend, text if row.cut is ANYWHERE else blocks(text, row.cut), vocab_size)
        return cls(kind, backend)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Opens what `save` wrote.

        Raises:
            DataError: there is no such file, it is damaged, or it holds a tokenizer that is of none of the kinds.
        """
        try:
            backend = Backend.from_str(read_text(Path(path), LARGEST))
        except FileNotFoundError:
            raise DataError(f"There is no tokenizer {path}: give the tokenizer.json of a run.") from None
        except Exception as error:  # the library raises no class of its own
            raise DataError(f"The tokenizer {path} is damaged ({error}): give the tokenizer.json of a run.") from error
        numbers = backend.get_vocab().values()
        if max(numbers, default=-1) + 1 != len(numbers):
            raise DataError(f"The tokenizer {path} is damaged: it does not number its tokens from 0 on. Restore it.")
        for kind, row in KINDS.items():
            if _pipeline(row.frame()) == _pipeline(backend) and backend.token_to_id(row.start) is not None:
                return cls(kind, backend)
        raise DataError(f"The tokenizer {path} must be of kind {', '.join(KINDS)}. It is another: train one.")

    def save(self, path: str | Path) -> None:
        """Writes a ``tokenizer.json``, which the `tokenizers` library opens too; whole or not at all."""
        with replacing(Path(path)) as file:
            file.write(self.json)

    @property
    def json(self) -> bytes:
        """What `save` writes."""
        return str(self._backend.to_str(pretty=True)).encode()

    @property
    def vocab_size(self) -> int:
        """The number of types."""
        return int(self._backend.get_vocab_size())

    @property
    def vocabulary(self) -> dict[str, int]:
        """The number of each token, by its name in ``tokenizer.json``."""
        return dict(self._backend.get_vocab())

    @functools.cached_property
    def digest(self) -> str:
        """A hash of all that decides how text is cut: two tokenizers with one digest give the same tokens."""
        return hashlib.sha256(self._backend.to_str().encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self.encode_batch([text])[0]  # up to three times as fast as encoding one, which keeps places too

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of several texts, made on all cores."""
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts)]

    @property
    def shares(self) -> bool:
        """Whether processes encode a text faster together: characters are looked up as fast as they are exchanged."""
        return self._table is None

    @functools.cached_property
    def _table(self) -> Table | None:
        return KINDS[self.kind].table(self._backend.get_vocab())

    @property
    def dtype(self) -> "np.dtype[np.unsignedinteger]":
        """The smallest type that holds all tokens."""
        return np.dtype(next(f"<u{size}" for size in (1, 2, 4) if self.vocab_size <= 1 << 8 * size))

    def encode_pieces(self, pieces: Iterable[str], world: World = ALONE) -> "Iterator[npt.NDArray[np.unsignedinteger]]":
        """The tokens of one text that comes in pieces, in order, a bounded number at a time.

        The pieces' borders do not matter: the text is cut anew where no token can be cut through, anywhere for
        characters and bytes, and between a word and the space or newline after it for words and BPE.

        Args:
            pieces: the text.
            world: the processes that share the work: each reads all of the text, encodes a part, and gets all tokens.
                See `shares`.
        """
        row = KINDS[self.kind]
        if self._table is not None:
            yield from (self._table.encode(piece).astype(self.dtype) for piece in pieces)
            return
        cut = blocks(pieces, row.cut)
        while batch := list(itertools.islice(cut, _BATCH * world.size)):
            mine = batch[world.rank * _BATCH : (world.rank + 1) * _BATCH]
            found = [np.array(ids, self.dtype) for ids in self.encode_batch(mine)]
            yield from world.each(np.concatenate([np.empty(0, self.dtype), *found]))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of tokens: exact for characters that are known, bytes and BPE; words get single spaces.

        Bytes that are not UTF-8 become U+FFFD, an unknown character or word ``<unk>``.
        """
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of tokens while they are being made, as soon as it is printable: joined, it is what `decode` gives.

        Bytes that may yet become a character are held back until it is whole or there are no more tokens.

        >>> list(Tokenizer.train("byte", []).stream("né!".encode()))
        ['n', 'é', '!']
        """
        shown: list[int] = []  # the tokens last shown: what comes next may depend on them, as a word's space does
        held: list[int] = []
        for number in ids:
            held.append(number)
            text = self._text_after(shown, held)
            if text and not text.endswith("\N{REPLACEMENT CHARACTER}"):
                yield text
                shown, held = held, []
        if held:
            yield self._text_after(shown, held)

    def _text_after(self, shown: list[int], held: list[int]) -> str:
        return self.decode(shown + held)[len(self.decode(shown)) :]

    def __repr__(self) -> str:
        return f"Tokenizer(kind={self.kind!r}, vocab_size={self.vocab_size})"


def _pipeline(backend: Backend) -> tuple[object, ...]:
    """All of a tokenizer but its vocabulary: padding and truncation too, which could fill the memory or drop text."""
    parts = parse_json(backend.to_str())
    return tuple(parts["model"]["type"] if part == "model" else parts[part] for part in sorted(parts))
