"""What Python knows of characters, as tables of C: their kinds, and their lower case."""

import functools
from collections.abc import Iterator

SURROGATES = range(0xD800, 0xE000)
"""Code points that are no characters."""

CAPITAL, DIGIT, LETTER, CASED, IGNORED, OF_WORD, SPACE = (1 << k for k in range(7))
"""Flags: whether it is upper case; a digit; a letter; whether it has a case, or stands between letters that have one,
where a sigma ends a word; whether it belongs to a word as regular expressions have it; white space."""


def kind(point: int) -> int:
    """The flags of a character.

    >>> kind(ord("A")) == CAPITAL | LETTER | CASED | OF_WORD
    True
    """
    if point in SURROGATES:
        return 0
    character = chr(point)
    is_cased = _ends_a_word(character)
    return (
        CAPITAL * character.isupper()
        | DIGIT * character.isdigit()
        | LETTER * character.isalpha()
        | CASED * is_cased
        | IGNORED * (not is_cased and _ends_a_word("a" + character))
        | OF_WORD * (character.isalnum() or character == "_")
        | SPACE * character.isspace()
    )


def _ends_a_word(before: str) -> bool:
    """Whether Python takes a sigma after these for the last of a word, and writes it as such."""
    return (before + "\N{GREEK CAPITAL LETTER SIGMA}").lower()[-1] == "\N{GREEK SMALL LETTER FINAL SIGMA}"


@functools.cache
def kinds() -> tuple[tuple[int, int], ...]:
    """Where the flags change: the code point, and its flags and those of what follows."""
    found = [(0, kind(0))]
    for point in range(1, 0x110000):
        flags = kind(point)
        if flags != found[-1][1]:
            found.append((point, flags))
    return tuple(found)


@functools.cache
def lower_cases() -> tuple[tuple[int, int, int, int], ...]:
    """Runs of characters with a lower case of one character: the first, the last, how far apart they are, and what is
    added to each.
    """
    runs: list[tuple[int, int, int, int]] = []
    for point, shift in _shifts():
        first, last, step, own = runs[-1] if runs else (0, 0, 0, 0)
        apart = point - last
        if own == shift and apart in ({1, 2} if first == last else {step}):
            runs[-1] = (first, point, apart, shift)
        else:
            runs.append((point, point, 1, shift))
    return tuple(runs)


def _shifts() -> Iterator[tuple[int, int]]:
    for point in range(0x110000):
        lower = chr(point).lower() if point not in SURROGATES else ""
        if len(lower) == 1 and ord(lower) != point:
            yield point, ord(lower) - point


@functools.cache
def longer_lower_cases() -> tuple[tuple[int, str], ...]:
    """Characters whose lower case has several: İ alone, in the Unicode of today.

    >>> [(chr(point), len(lower)) for point, lower in longer_lower_cases()]
    [('İ', 2)]
    """
    points = (point for point in range(0x110000) if point not in SURROGATES)
    return tuple((point, chr(point).lower()) for point in points if len(chr(point).lower()) > 1)
