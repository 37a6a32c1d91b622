"""Why a file could not be read: the raw bytes are looked at again, and the first finding becomes the error."""

import codecs
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path

from selfloop.data.files.compressed import open_plain
from selfloop.errors import DataError

_HEAD = 1 << 16
_BLOCK = 1 << 20
_UNREADABLE = (OSError, EOFError, zlib.error)  # what opening a file, or a broken .gz, raises
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\b\x1b")) + b"\x7f"


def explain(path: Path, builder: str, encoding: str, said: str) -> DataError:
    """The error for a file that `builder` cannot read; `said` is what its library had to say."""
    for finding in _FINDINGS[builder]:
        try:
            sentence = finding(path, encoding)
        except _UNREADABLE:  # the library has said so
            continue
        if sentence:
            return DataError(sentence)
    return DataError(f"{path} cannot be read as {builder} ({said}): fix the file or give another.")


def is_binary(path: Path, encoding: str) -> bool:
    """Whether the file's beginning is not text: NUL bytes, or more control characters than text ever has."""
    try:
        with open_plain(path) as file:
            head = file.read(_HEAD)
    except _UNREADABLE:  # reading it in earnest will say so
        return False
    if "\n".encode(encoding) != b"\n":  # UTF-16 and UTF-32 are full of NUL bytes
        return False
    return b"\0" in head or len(head) - len(head.translate(None, _CONTROLS)) > 0.05 * len(head)


def _binary(path: Path, encoding: str) -> str | None:
    with open_plain(path) as file:
        head = file.read(4)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and "\n".encode(encoding) == b"\n":
        return f"{path} is not {encoding}: it begins as UTF-16 does. {_other_encoding('utf-16')}"
    if is_binary(path, encoding):
        return f"{path} must be a text file. It is binary (NUL or control bytes): give text, JSONL, CSV or Parquet."
    return None


def _undecodable(path: Path, encoding: str) -> str | None:
    decoder, offset, line = codecs.getincrementaldecoder(encoding)(), 0, 1
    with open_plain(path) as file:
        for block in _blocks(file):
            pending, _ = decoder.getstate()
            data = pending + block
            try:
                decoder.decode(block, final=not block)
            except UnicodeError as error:
                if not isinstance(error, UnicodeDecodeError):  # of UTF-16 and UTF-32
                    return f"{path} is not {encoding} ({error}). {_other_encoding(f'{encoding}-le')}"
                # `error.start` counts from the bytes that the decoder had kept back
                at, line = offset - len(pending) + error.start, line + data.count(b"\n", len(pending), error.start)
                return (
                    f"{path} is not {encoding}: byte {at} (line {line}) is 0x{data[error.start]:02x}. "
                    + _other_encoding("latin-1")
                )
            offset, line = offset + len(block), line + block.count(b"\n")
    return None


def _other_encoding(name: str) -> str:
    return f"Name the encoding it has, perhaps encoding='{name}' (on the command line --set data.encoding={name})."


def _blocks(file: BufferedReader) -> Iterator[bytes]:
    """The file's blocks and then an empty one, at which a character that never ends shows."""
    while block := file.read(_BLOCK):
        yield block
    yield b""


_FINDINGS: dict[str, tuple[Callable[[Path, str], str | None], ...]] = {
    "text": (_binary, _undecodable),
    "csv": (_binary, _undecodable),
    "json": (_binary, _undecodable),
    "parquet": (),
}
