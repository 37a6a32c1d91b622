"""The entries of a JSON array, read one after another: the file may be larger than memory."""

import json
import re
from collections.abc import Iterator
from io import TextIOBase
from typing import Any

from selfloop.untrusted import Decoder, parse_json

BLOCK = 1 << 20
"""Characters that are read at once, which is all of a small file; of an entry that is longer, twice as many each
time."""

_DECODER = Decoder()
_SPACE = re.compile(r"\s*")


def entries(file: TextIOBase) -> Iterator[Any]:
    """The entries of the array that a file holds.

    Raises:
        ValueError: the file is not JSON, something stands behind the array, or an entry is nested too deeply.

    >>> import io
    >>> list(entries(io.StringIO('[{"a": 1}, [2, 3], "four"]')))
    [{'a': 1}, [2, 3], 'four']
    """
    text = file.read(BLOCK)
    if len(text) < BLOCK:
        yield from parse_json(text)
        return
    at, sign, size = text.index("[") + 1, ",", BLOCK
    while not text[at:].strip() and (more := file.read(size)):
        text += more
    if text[at:].lstrip().startswith("]"):
        at, sign = text.index("]") + 1, "]"
    while sign == ",":
        try:
            entry, at, sign = _entry(text, at)
        except json.JSONDecodeError:  # the text ends within it
            more = file.read(size)
            if not more:
                raise
            text, at, size = text[at:] + more, 0, 2 * size
            continue
        size = BLOCK
        yield entry
    text, at = text[at:], 0
    while text:
        if text.strip():
            raise json.JSONDecodeError("Extra data", text, at)
        text = file.read(size)


def _entry(text: str, at: int) -> tuple[Any, int, str]:
    """The entry that begins at a place, the place behind it and its sign, and the sign: a comma, or the array's end."""
    entry, end = _DECODER.raw_decode(text, _end_of_space(text, at))
    end = _end_of_space(text, end)
    if text[end : end + 1] not in (",", "]"):
        raise json.JSONDecodeError("Expecting ',' delimiter", text, end)
    return entry, end + 1, text[end]


def _end_of_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # it matches nothing, too
    return found.end()
