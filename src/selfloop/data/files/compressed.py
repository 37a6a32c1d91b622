"""Files that gzip may have compressed, read up to their bound."""

import codecs
import gzip
import io
from pathlib import Path

from selfloop.untrusted import bound, check_expansion


def is_gzip(path: Path) -> bool:
    """Whether a file is gzip's, by its name or by how it begins."""
    with path.open("rb") as file:
        return path.suffix.lower() == ".gz" or file.read(2) == b"\x1f\x8b"


def without_mark(encoding: str) -> str:
    """The encoding by which Python leaves out a byte order mark, where it is UTF-8.

    >>> without_mark("UTF8"), without_mark("latin-1")
    ('utf-8-sig', 'latin-1')
    """
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def open_plain(path: Path) -> io.BufferedReader:
    """The bytes of a file, decompressed where it is gzip's.

    Raises:
        OSError, EOFError, zlib.error: it cannot be read, here or while reading; among them `untrusted.TooLargeError`.
    """
    if not is_gzip(path):
        return path.open("rb")
    return io.BufferedReader(_Bounded(path), 1 << 20)


def check_gzip(path: Path) -> None:
    """Raises what reading a file to its end would, in little memory, for readers that open files by themselves."""
    if is_gzip(path) and path.stat().st_size * 1100 > bound(0):  # deflate's best is 1,032
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
