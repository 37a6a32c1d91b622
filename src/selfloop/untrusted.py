"""Files that may come from a stranger: what they hold is read up to a bound, and fails as `OSError` or `ValueError`."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

SHOWN = 60
"""Characters of a stranger's value that an error shows."""


def exists(path: Path) -> bool:
    """Whether there is something at a path; False also where the name is too long, at which Path.exists raises.

    >>> exists(Path("/")), exists(Path("x" * 5000))
    (True, False)
    """
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """Whether there is a regular file at a path; as `exists`."""
    return stat.S_ISREG(_mode(path) or 0)


def is_folder(path: Path) -> bool:
    """Whether there is a folder at a path; as `exists`."""
    return stat.S_ISDIR(_mode(path) or 0)


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return None


def read_text(path: Path, most: int) -> str:
    """A file's text, in UTF-8.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, it is larger, or it is not UTF-8.
    """
    size = path.stat().st_size
    if is_folder(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not is_file(path):  # reading a pipe or a device may never end
        raise ValueError("it is not a file")
    if size > most:
        raise ValueError(f"it has {size:,} bytes, and {most:,} are the most that are read")
    return path.read_text(encoding="utf-8")


def parse_json(text: str | bytes) -> Any:
    """The value that JSON holds.

    Raises:
        ValueError: it is not JSON, or its brackets are nested too deeply.

    >>> parse_json('{"a": [1]}')
    {'a': [1]}
    """
    return json.loads(text, cls=Decoder)  # noqa: TID251  (here it is)


class Decoder(json.JSONDecoder):
    """What decodes JSON, of which brackets that are nested too deeply are a ValueError, too."""

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        """The value that begins at a place, and the place behind it."""
        try:
            return super().raw_decode(s, idx)
        except RecursionError:
            raise ValueError("its brackets are nested too deeply") from None


def short(value: Any) -> str:
    """A value as an error shows it.

    >>> short("x" * 1000)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no number of more than 4,300 digits
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}…"


def written(name: str) -> str:
    r"""A name as it is, or as Python writes it where it is long or would break the line.

    >>> written("gru"), written("a\nb")
    ('gru', "'a\\nb'")
    """
    return name if len(name) <= 2 * SHOWN and name.isprintable() else short(name)


RATIO, ALWAYS = 100, 256 << 20
"""What is compressed may expand to 100 times its size, and always to 256 MiB. Text does to 2.5 to 4 times, MNIST to 5,
the tables of ETT to 6.4, a log whose lines count to 25; one line repeated to 294, and zeros to 1,028."""


class TooLargeError(OSError):
    """A file expands further than it may."""


def bound(size: int) -> int:
    """The bytes that so many compressed ones may expand to.

    >>> bound(1_000) == ALWAYS, bound(10**9)
    (True, 100000000000)
    """
    return max(ALWAYS, RATIO * size)


def check_expansion(size: int, expanded: int, how: str) -> None:
    """Raises a TooLargeError where so many compressed bytes expand to more than they may; `how` decompresses them."""
    if expanded > bound(size):
        raise TooLargeError(
            f"it has {size:,} bytes and expands to more than {bound(size):,}, which real data do not; if it is to be "
            f"trusted, decompress it with {how} and give what comes out"
        )
