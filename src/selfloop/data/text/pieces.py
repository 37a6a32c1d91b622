"""A text that may be larger than memory: pieces of ``str`` that can be read again and again, and how one is split."""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


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


def hold_out(text: Text, fraction: float) -> tuple[Text, Text]:
    """The text in two: the first ``int(n * (1 - fraction))`` of its n characters, and the rest.

    The characters are counted when one of the two is first read, so a text whose tokens are stored is not read at all.

    >>> ["".join(part) for part in hold_out(Text.of("0123456789"), 0.25)]
    ['0123456', '789']
    """

    @functools.cache
    def boundary() -> int:
        return int(sum(map(len, text)) * (1 - fraction))

    return (
        Text(lambda: _first(text, boundary()), f"{text.fingerprint} before {1 - fraction!r}", text.files),
        Text(lambda: _after(text, boundary()), f"{text.fingerprint} after {1 - fraction!r}", text.files),
    )


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
