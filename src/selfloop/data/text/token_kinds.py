"""The kinds of token a text can be cut into: a row each, and nothing about a kind is said anywhere else.

| kind | a token is | unknown | before the first token stands |
| --- | --- | --- | --- |
| char | a Unicode code point | ``<unk>`` | newline |
| byte | a byte of UTF-8 | none | newline |
| word | what stands between white space; a newline is ``<eos>`` | ``<unk>`` | ``<eos>`` |
| bpe | bytes that often stand together (Sennrich et al. 2016; of bytes: Radford et al. 2019) | none | newline |
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

UNKNOWN, END_OF_LINE = "<unk>", "<eos>"
_ANY_SIZE = 2**31  # what a token's id can be

ANYWHERE = re.compile(r".", re.DOTALL)
WORD_END = re.compile(r"\S(?=[ \n])")  # no word, and no pre-token of byte-level BPE, runs from text into white space


@dataclass(frozen=True)
class TokenKind:
    """One kind of token.

    Args:
        frame: makes the pipeline around a vocabulary that is still empty. It also tells a saved file's kind.
        learn: fills in the vocabulary of a frame from pieces of text; None as the size is the kind's own choice.
        sizes: the vocabulary sizes that may be asked for.
        start: the token that stands before the first one of a text.
        cut: a place after which a text may be cut without changing its tokens.
        table: of a vocabulary in which tokens do not depend on one another, what reads a text as numbers, and the token
            of each number; None where only the library can say.
    """

    frame: Callable[[], Backend]
    learn: Callable[[Backend, Iterable[str], int | None], None]
    sizes: range
    start: str
    cut: re.Pattern[str]
    table: Callable[[dict[str, int]], "Table | None"] = lambda _: None


@dataclass(frozen=True)
class Table:
    """Cuts text by looking numbers up: characters 31 times as fast as the library, bytes 58 times.

    Args:
        numbers: of a text, one for each token.
        tokens: by number; numbers beyond its end are of the last.
    """

    numbers: Callable[[str], npt.NDArray[np.unsignedinteger]]
    tokens: npt.NDArray[np.uint32]

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """The tokens of a text."""
        found: npt.NDArray[np.uint32] = self.tokens[np.minimum(self.numbers(text), len(self.tokens) - 1)]
        return found


def code_points(text: str) -> npt.NDArray[np.unsignedinteger]:
    """The number that Unicode gives each character.

    >>> code_points("né").tolist()
    [110, 233]
    """
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def _octets(text: str) -> npt.NDArray[np.unsignedinteger]:
    return np.frombuffer(text.encode(), np.uint8)


def byte_alphabet() -> list[str]:
    """The printable character by which `tokenizers` writes each of the 256 bytes.

    >>> byte_alphabet()[10], byte_alphabet()[65]
    ('Ċ', 'A')
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    stand_ins = iter(char for char in alphabet if ord(char) > 255)  # in the order of the bytes they stand for
    return [chr(byte) if chr(byte) in alphabet else next(stand_ins) for byte in range(256)]


def _char_frame() -> Backend:
    backend = Backend(models.BPE())  # without merges it cuts into characters, twice as fast as a pre-tokenizer
    backend.decoder = decoders.Fuse()
    return backend


def _learn_chars(backend: Backend, pieces: Iterable[str], size: int | None) -> None:
    seen = np.zeros(1, np.int64)
    for piece in pieces:
        found = np.bincount(code_points(piece), minlength=len(seen))
        found[: len(seen)] += seen
        seen = found
    counts = {chr(point): int(seen[point]) for point in np.flatnonzero(seen) if chr(point) != "\n"}
    frequent = sorted(counts, key=lambda char: (-counts[char], char))[: None if size is None else size - 2]
    vocabulary = {token: number for number, token in enumerate([UNKNOWN, *sorted(["\n", *frequent])])}
    backend.model = models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN, fuse_unk=False)


def _table_of_chars(vocabulary: dict[str, int]) -> Table | None:
    known = {token: number for token, number in vocabulary.items() if token != UNKNOWN}
    if UNKNOWN not in vocabulary or any(len(token) != 1 for token in known):
        return None
    tokens = np.full(2 + max(map(ord, known)), vocabulary[UNKNOWN], np.uint32)
    tokens[[ord(token) for token in known]] = list(known.values())
    return Table(code_points, tokens)


def _byte_frame() -> Backend:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def _learn_bytes(backend: Backend, _: Iterable[str], __: int | None) -> None:
    backend.model = models.BPE(vocab={char: byte for byte, char in enumerate(byte_alphabet())}, merges=[])


def _table_of_bytes(vocabulary: dict[str, int]) -> Table | None:
    alphabet = byte_alphabet()
    if vocabulary.keys() != set(alphabet):
        return None
    return Table(_octets, np.array([vocabulary[char] for char in alphabet], np.uint32))


def _word_frame() -> Backend:
    backend = Backend(models.WordLevel(vocab={UNKNOWN: 0}, unk_token=UNKNOWN))
    backend.normalizer = normalizers.Replace("\n", f" {END_OF_LINE} ")
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    newline = Regex(rf" ?(?<!\S){END_OF_LINE}(?!\S) ?")
    spaces = decoders.WordPiece(prefix="\0", cleanup=False)  # a space before every token but the first
    backend.decoder = decoders.Sequence([spaces, decoders.Fuse(), decoders.Replace(newline, "\n")])
    return backend


def _learn_words(backend: Backend, pieces: Iterable[str], size: int | None) -> None:
    trainer = trainers.WordLevelTrainer(vocab_size=_ANY_SIZE, special_tokens=[], show_progress=False)
    backend.train_from_iterator(pieces, trainer)
    found = backend.get_vocab()  # ids are in the order of frequency, then of the alphabet
    words = [word for word in sorted(found, key=found.__getitem__) if word not in (UNKNOWN, END_OF_LINE)]
    vocabulary = {token: number for number, token in enumerate([UNKNOWN, END_OF_LINE, *words][:size])}
    backend.model = models.WordLevel(vocab=vocabulary, unk_token=UNKNOWN)


def _bpe_frame() -> Backend:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def _learn_merges(backend: Backend, pieces: Iterable[str], size: int | None) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=8_000 if size is None else size,
        min_frequency=2,  # what was seen once is not worth a type: small texts get fewer
        initial_alphabet=byte_alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(pieces, trainer)


_NEWLINE = byte_alphabet()[ord("\n")]

KINDS = {
    "char": TokenKind(_char_frame, _learn_chars, range(3, _ANY_SIZE), "\n", ANYWHERE, _table_of_chars),
    "byte": TokenKind(_byte_frame, _learn_bytes, range(256, 257), _NEWLINE, ANYWHERE, _table_of_bytes),
    "word": TokenKind(_word_frame, _learn_words, range(3, _ANY_SIZE), END_OF_LINE, WORD_END),
    "bpe": TokenKind(_bpe_frame, _learn_merges, range(256, _ANY_SIZE), _NEWLINE, WORD_END),
}
