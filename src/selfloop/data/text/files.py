"""The text in files and folders."""

import hashlib
import io
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from selfloop.data.files.compressed import open_plain, without_mark
from selfloop.data.files.diagnose import explain, is_binary
from selfloop.data.files.names import form_of, suffix_of
from selfloop.data.parts import below, check_versions, is_about, part_of
from selfloop.data.reading import Reading
from selfloop.data.tables.table import open_parquet, open_rows
from selfloop.data.text.pieces import Text, joined
from selfloop.data.text.rows import text_of_dataset, text_of_rows
from selfloop.errors import DataError, first_line

_BLOCK = 1 << 16  # characters
_READ = 1 << 20  # bytes


def text_of_files(paths: list[Path], reading: Reading) -> Text:
    r"""The text of files in a row; a file that does not end in a newline gets one before the next begins.

    Line ends are read as Python reads them: "\r\n" and "\r" become "\n". A byte order mark is no text and is left
    out. Every other character is kept. A document of a table is held in memory whole.

    The fingerprint is a hash of what the files hold, which takes 0.3 s of 200 MB: their sizes and times may be the same
    when the text is another.

    Raises:
        DataError: a file cannot be opened.
    """

    def pieces() -> Iterator[str]:
        gap = ""
        for path in paths:
            piece = None
            for piece in _pieces(path, reading):
                yield gap + piece
                gap = ""
            if piece is not None:
                gap = "" if piece.endswith("\n") else "\n"

    held = [f"{suffix_of(path)} {_content_hash(path)}" for path in paths]
    how = f"{reading.input} {reading.encoding} {reading.format}"
    digest = hashlib.sha256("\n".join([*held, how]).encode()).hexdigest()
    return Text(pieces, digest, tuple(map(str, paths)))


def _content_hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_READ):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): give another.") from error
    return digest.hexdigest()


def splits_of_folder(folder: Path, encoding: str) -> dict[str, list[Path]]:
    """The files of a folder by the part they belong to, in the order of their names; hidden ones are passed over.

    A folder is read as what most of its bytes are: text, JSON, CSV or Parquet. Names decide the parts where one marks
    train (``ptb.train.txt``, ``train/00.jsonl``) and all others of its suffix, but a README or LICENSE, mark a part
    too; what has another suffix is then left out. Else everything is train: of source code few names mark a part.

    Raises:
        DataError: nothing in the folder can be read, or two files are versions of one.
    """
    forms: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(below(folder)):
        if path.stat().st_size:
            form = form_of(path)
            if form != "text" or not is_binary(path, encoding):
                forms[form].append(path)
    if not forms:
        raise DataError(f"The folder {folder} holds no text: put text, JSONL, CSV or Parquet files there.")
    paths = max(forms.values(), key=lambda paths: sum(path.stat().st_size for path in paths))
    check_versions(folder, paths)
    marks = {path: _mark(path.relative_to(folder)) for path in paths}
    suffixes = {path.suffix for path, mark in marks.items() if mark == "train"}
    splits: dict[str | None, list[Path]] = defaultdict(list)
    for path, mark in marks.items():
        if path.suffix in suffixes and not is_about(path):
            splits[mark].append(path)
    return {"train": paths} if not splits or None in splits else {str(mark): found for mark, found in splits.items()}


def _mark(path: Path) -> str | None:
    """The part that a name marks, the folders above it first: ``ptb.train.txt`` and ``train/00.txt`` mark train."""
    return next((part for name in path.parts if (part := part_of(name)) is not None), None)


def _pieces(path: Path, reading: Reading) -> Iterator[str]:
    """The text of one file."""
    form = form_of(path)
    if form == "text":
        return _blocks(path, reading.encoding)
    return joined(
        text_of_dataset(open_parquet(path), reading, str(path)) if form == "parquet" else _cells(path, reading)
    )


def _cells(path: Path, reading: Reading) -> Iterator[list[str]]:
    with open_rows(path, reading) as (_, rows):
        yield from text_of_rows(rows, reading, str(path))


def _blocks(path: Path, encoding: str) -> Iterator[str]:
    """The characters of a file of plain text, a block at a time; its line ends are Python's."""
    try:
        with open_plain(path) as raw, io.TextIOWrapper(raw, without_mark(encoding)) as file:
            while block := file.read(_BLOCK):
                if "\0" in block:
                    raise ValueError("it holds a NUL character, which text does not")
                yield block
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise explain(path, "text", encoding, first_line(error)) from error
