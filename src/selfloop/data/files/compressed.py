"""Compressed files, and how far they may expand."""

import gzip
import io
from pathlib import Path

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


def is_gzip(path: Path) -> bool:
    """Whether a file is gzip's, by its name or by how it begins."""
    with path.open("rb") as file:
        return path.suffix.lower() == ".gz" or file.read(2) == b"\x1f\x8b"


def open_plain(path: Path) -> io.BufferedReader:
    """The bytes of a file, decompressed where it is gzip's.

    Raises:
        OSError, EOFError, zlib.error: it cannot be read, here or while reading; among them `TooLargeError`.
    """
    if not is_gzip(path):
        return path.open("rb")
    return io.BufferedReader(_Bounded(path), 1 << 20)


def check_gzip(path: Path) -> None:
    """Raises what reading a file to its end would, in little memory, for readers that open files by themselves."""
    if is_gzip(path) and path.stat().st_size * 1100 > ALWAYS:  # deflate's best is 1,032
        with open_plain(path) as file:
            while file.read(1 << 20):
                pass


class _Bounded(io.RawIOBase):
    """A gzip file that stops at its bound."""

    def __init__(self, path: Path) -> None:
        self._size = path.stat().st_size
        self._file = gzip.GzipFile(path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        count = self._file.readinto(buffer)
        check_expansion(self._size, self._file.tell(), "gunzip")
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
