"""Text in C: what numbers stand for, and the way from UTF-8 to what a model reads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfloop.data import Tokenizer
from selfloop.data.text.token_kinds import END_OF_LINE, byte_alphabet
from selfloop.data.text.vocabulary import Vocabulary
from selfloop.errors import ArgumentError
from selfloop.exporting.native import text_templates as c
from selfloop.exporting.native.characters import kinds, longer_lower_cases, lower_cases


@dataclass(frozen=True)
class Words:
    """Names that the code's numbers stand for.

    Attributes:
        title: ``tokens`` or ``labels``.
        texts: of each number, as UTF-8.
        are_spaced: whether spaces stand between them where they are written one after the other, but for new lines.
    """

    title: str
    texts: Sequence[bytes]
    are_spaced: bool = False


@dataclass(frozen=True)
class Reader:
    """How a text becomes what a model reads, as a function of C.

    Attributes:
        about: what it does, for the header.
        source: its definition, with places for the names.
    """

    about: str
    source: str


@dataclass(frozen=True)
class Meaning:
    """What a program is to know of a model's numbers.

    Attributes:
        about: its input in words, for the header.
        words: what the numbers of its answers stand for.
        reader: from text to its input; None where it reads no text, or has no code for it.
        start: the token that stands before a text.
        beside: further files, by name.
        tokenizer: from text to tokens, for a page.
        vocabulary: from words to numbers, likewise.
        splits_marks: whether texts are split into words as `split_words` does; else at white space.
    """

    about: str = ""
    words: Words | None = None
    reader: Reader | None = None
    start: int | None = None
    beside: Mapping[str, bytes] = field(default_factory=dict)
    tokenizer: Tokenizer | None = None
    vocabulary: Vocabulary | None = None
    splits_marks: bool = False


def tables_of(words: Words, name: str) -> str:
    """The texts, and of tokens their lengths, too.

    Raises:
        ArgumentError: a label would be cut short.
    """
    if words.title == "labels":
        cut = next((text for text in words.texts if b"\0" in text), None)
        if cut is not None:
            raise ArgumentError(
                f"The label {cut.decode()!r} holds the character 0, where a text ends in C. Export to WebAssembly or "
                "ONNX, or train with other labels."
            )
    rows = ",\n".join(f"    {c_string(text)}" for text in words.texts)
    table = f"\nconst char *const {name}_{words.title}[{len(words.texts)}] = {{\n{rows}\n}};\n"
    if words.title == "labels":
        return table
    sizes = wrapped(str(len(text)) for text in words.texts)
    return f"{table}\nconst uint32_t {name}_token_bytes[{len(words.texts)}] = {{\n{sizes}\n}};\n"


def c_string(text: bytes) -> str:
    r"""Bytes as C writes them; an escape takes all digits that follow, so each stands in quotes of its own.

    Trigraphs begin with ``?``, and places in a template with ``@``.


    >>> print(c_string('a "né"'.encode()))
    "a \"n\xc3""\xa9""\""
    """
    plain = {ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n"}
    parts = [plain.get(b, chr(b) if 32 <= b < 127 and b not in b"?@" else f'\\x{b:02x}""') for b in text]
    return f'"{"".join(parts)}"'


# Tokens


def token_texts(tokenizer: Tokenizer) -> list[bytes]:
    """What each token stands for: of bytes and BPE bytes, which may be a part of a character."""
    names = sorted(tokenizer.vocabulary, key=tokenizer.vocabulary.__getitem__)
    if tokenizer.kind in ("byte", "bpe"):
        octets = {character: octet for octet, character in enumerate(byte_alphabet())}
        return [bytes(octets[character] for character in name) for name in names]
    return [b"\n" if tokenizer.kind == "word" and name == END_OF_LINE else name.encode() for name in names]


def token_reader(tokenizer: Tokenizer, *, is_never_empty: bool = False) -> Reader | None:
    """From text to tokens; None of byte-pair encoding, whose merges have no code.

    Args:
        tokenizer: of the run.
        is_never_empty: whether an empty text is the token that stands before texts.
    """
    vocabulary, start = tokenizer.vocabulary, tokenizer.start_id
    empty = c.C(c.EMPTY_IS_START).substitute(start=start) if is_never_empty else ""
    if tokenizer.kind == "char":
        points = sorted((ord(text), number) for text, number in vocabulary.items() if len(text) == 1)
        rows = wrapped((f"{{{point}, {number}}}" for point, number in points), 8)
        source = filled(c.READ_CHARACTERS, points=rows, count=len(points), unknown=tokenizer.unknown_id, empty=empty)
        return Reader("A token is a character; one that is not known is the token `<unk>`.", source)
    if tokenizer.kind == "byte":
        numbers = wrapped(str(vocabulary[character]) for character in byte_alphabet())
        return Reader("A token is a byte.", filled(c.READ_BYTES, numbers=numbers, empty=empty))
    if tokenizer.kind == "word":
        entries, count = _sorted_words(vocabulary.items())
        unknown, end = tokenizer.unknown_id, vocabulary[END_OF_LINE]
        source = filled(c.READ_TOKENS, entries=entries, count=count, end=end, unknown=unknown, empty=empty)
        about = "A token is what stands between white space, or a new line; what is not known is the token `<unk>`."
        return Reader(about, source)
    return None


# Words


def word_reader(vocabulary: Vocabulary, *, splits_marks: bool) -> Reader:
    """From text to rows, as `Vocabulary.encode` writes them.

    Args:
        vocabulary: of the run.
        splits_marks: whether text is split as `split_words` does; else at white space.
    """
    entries, count = _sorted_words((word, number) for number, word in enumerate(vocabulary.words) if number)
    longer = "".join(
        f"        case {point}: *second = {ord(lower[1])}; return {ord(lower[0])};\n"
        for point, lower in longer_lower_cases()
        if len(lower) == 2
    )
    split = (c.NEXT_WORD, "as in the Penn Treebank: marks stand alone, and don't is do n't")
    source = filled(
        c.READ_WORDS,
        kinds=wrapped((f"0x{point << 8 | flags:x}" for point, flags in kinds()), 12),
        num_kinds=len(kinds()),
        lower=wrapped(("{" + ", ".join(map(str, run)) + "}" for run in lower_cases()), 4),
        num_lower=len(lower_cases()),
        longer=longer,
        entries=entries,
        count=count,
        next=split[0] if splits_marks else c.NEXT_SPACED,
    )
    how = split[1] if splits_marks else "at white space"
    return Reader(f"Words are split {how}; an empty text is one empty word.", source)


def _sorted_words(numbers: Iterable[tuple[str, int]]) -> tuple[str, int]:
    """A table to search by halves: words by their bytes, with their numbers. No text of C holds the character 0."""
    rows = sorted((word.encode(), number) for word, number in numbers if "\0" not in word)
    return "\n".join(f"    {{{c_string(word)}, {number}}}," for word, number in rows), len(rows)


def filled(template: str, **values: Any) -> str:
    """A template with values in some places."""
    return c.C(template).safe_substitute(values)


def wrapped(texts: Iterable[str], width: int = 12) -> str:
    """Numbers of a table, so many a line."""
    rows = list(texts)
    return "\n".join("        " + ", ".join(rows[k : k + width]) + "," for k in range(0, len(rows), width))
