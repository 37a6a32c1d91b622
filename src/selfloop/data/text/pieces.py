"""A text that may be larger than memory: pieces of ``str`` that can be read again and again, and how one is split."""

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

BLOCK = 1 << 16
"""Characters that are encoded at a time."""

MOST_HELD_OUT = 1_000_000
"""Characters that are held out where nothing else is asked for. The end of training scores them in one stream, which
takes a minute; of 5 GB a tenth would take hours, and say what these do to 0.003 nats."""


@dataclass(frozen=True)
class Text:
    r"""Pieces of ``str`` whose concatenation is exactly the text; every ``iter`` reads it from the start.

    Args:
        read: starts reading; yields the pieces, of any size.
        fingerprint: names the content: two texts with one fingerprint are the same text. What is made from a text
            (its tokens) is kept under this name.
        files: that it is of.

    >>> "".join(Text.of("To be,\nor not"))
    'To be,\nor not'
    """

    read: Callable[[], Iterator[str]]
    fingerprint: str
    files: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        return self.read()

    @classmethod
    def of(cls, string: str) -> "Text":
        """The text that a string holds."""
        return cls(lambda: iter([string]), hashlib.sha256(string.encode()).hexdigest())


def hold_out(text: Text, fraction: float | None = None) -> tuple[Text, Text]:
    """The text in two: the first ``int(n * (1 - fraction))`` of its n characters, and the rest.

    Without a fraction the rest is a tenth, and `MOST_HELD_OUT` characters at the most. The characters are counted when
    one of the two is first read, so a text whose tokens are stored is not read at all.

    >>> ["".join(part) for part in hold_out(Text.of("0123456789"), 0.25)]
    ['0123456', '789']
    """
    share = 0.1 if fraction is None else fraction
    where = repr(1 - share) if fraction is not None else f"{1 - share!r}, at most {MOST_HELD_OUT}"

    @functools.cache
    def boundary() -> int:
        count = sum(map(len, text))
        before = int(count * (1 - share))
        return before if fraction is not None else max(before, count - MOST_HELD_OUT)

    return (
        Text(lambda: _first(text, boundary()), f"{text.fingerprint} before {where}", text.files),
        Text(lambda: _after(text, boundary()), f"{text.fingerprint} after {where}", text.files),
    )


def sample(text: Text, cut: re.Pattern[str], most: int) -> Iterator[str]:
    """A text of more than so many characters in blocks, evenly spread, that have as many; a shorter one whole.

    Args:
        text: is read twice.
        cut: a place after which it may be cut.
        most: characters.

    >>> from selfloop.data.text.token_kinds import ANYWHERE
    >>> text = "".join(chr(97 + k) * BLOCK for k in range(7))
    >>> "".join(block[0] for block in sample(Text.of(text), ANYWHERE, 3 * BLOCK))
    'adg'
    """
    count = sum(map(len, text))
    if count <= most:
        return iter(text)
    return islice(blocks(text, cut), None, None, -(-count // most))


def blocks(pieces: Iterable[str], cut: re.Pattern[str], size: int = BLOCK) -> Iterator[str]:
    """A text's pieces as blocks of ``size`` characters, each up to the next place where it may be cut.

    >>> from selfloop.data.text.token_kinds import WORD_END
    >>> list(blocks(["to be or", " not"], WORD_END, size=4))
    ['to be', ' or not']
    """
    rest = ""
    for piece in pieces:
        rest += piece
        start = 0
        while place := cut.search(rest, start + size - 1):
            yield rest[start : place.end()]
            start = place.end()
        rest = rest[start:]
    if rest:
        yield rest


def joined(batches: Iterable[list[str]]) -> Iterator[str]:
    r"""Rows as one text: a newline between two of them, unless the first has brought its own. A piece a batch.

    >>> "".join(joined([["a", "b\n"], ["c", "", "d"]]))
    'a\nb\nc\n\nd'
    """
    gap = ""
    for rows in batches:
        if rows:
            *head, last = rows
            yield gap + "".join(row if row.endswith("\n") else row + "\n" for row in head) + last
            gap = "" if last.endswith("\n") else "\n"


def _first(pieces: Iterable[str], n: int) -> Iterator[str]:
    for piece in pieces:
        if n <= 0:
            return
        yield piece[:n]
        n -= len(piece)


def _after(pieces: Iterable[str], n: int) -> Iterator[str]:
    for piece in pieces:
        if n < len(piece):
            yield piece[max(n, 0) :]
        n -= len(piece)
