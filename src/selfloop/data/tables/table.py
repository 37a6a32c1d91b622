"""The rows of a table, every column of them, each with its place: CSV, TSV, JSON Lines, Parquet, or a hub's split.

CSV and JSON are read by Python's own modules: `datasets` guesses the types of a CSV block by block, so that the label
"007" would become 7, and does not tell the line of a row.
"""

import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, compress
from pathlib import Path
from typing import Any

from selfloop.data.examples import BadItems, Unusable
from selfloop.data.files.compressed import check_gzip, open_plain, without_mark
from selfloop.data.files.diagnose import explain, is_binary
from selfloop.data.files.names import form_of
from selfloop.data.reading import Reading
from selfloop.data.tables.arrow import BATCH, open_file, records
from selfloop.data.tables.json_array import entries
from selfloop.data.tables.separated import read_separated
from selfloop.errors import DataError, first_line
from selfloop.untrusted import is_file, parse_json

Row = tuple[str, dict[str, Any]]
"""The place of a row, ``reviews.csv, line 12``, and its cells by column; one that is missing may have no entry."""

_HALF = re.compile("[\\ud800-\\udfff]")
_FIRST = 100  # rows that are looked at to tell what a column holds


@dataclass
class Table:
    """A table in memory.

    Attributes:
        where: the file or the split, for errors.
        folder: that of the file; paths in a cell are relative to it.
        columns: their names, in order.
        rows: the cells of each, by column.
        places: of the rows.
        names: of a column of numbered classes, the classes' names.
    """

    where: str
    folder: Path
    columns: list[str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)

    def value(self, row: int, column: str) -> Any:
        """A cell; a class by its name."""
        value = self.rows[row].get(column)
        names = self.names.get(column)
        if names is None:
            return value
        if isinstance(value, list):
            return [_name(names, number) for number in value]
        return _name(names, value)

    def file_named(self, cell: str) -> Path:
        """The file that a cell names.

        Raises:
            Unusable: there is none.
        """
        path = self.folder / cell
        if not is_file(path):
            raise Unusable(f"names '{cell}', and there is no such file")
        return path


def read_table(path: Path, reading: Reading) -> Table:
    r"""The rows of a file of separated values, of JSON objects, or of Parquet.

    Raises:
        DataError: the file cannot be read, or holds no rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.csv")
    ...     _ = path.write_text("text,label\nHi!,hello\n")
    ...     read_table(path, Reading()).rows
    [{'text': 'Hi!', 'label': 'hello'}]
    """
    if form_of(path) == "parquet":
        table = _of_dataset(open_parquet(path), str(path), path.parent)
    else:
        with open_rows(path, reading) as (columns, rows):
            table = Table(str(path), path.parent, columns)
            for place, row in rows:
                if row or not columns:  # an empty line of CSV is no row
                    table.rows.append(row)
                    table.places.append(place)
        if not columns:
            table.columns = list(dict.fromkeys(name for row in table.rows for name in row))
        if form_of(path) == "csv":
            _unfold(table, reading.bad)
    if not table.rows:
        only = ", or --no-header if its only line is a row" if table.columns else ""
        raise DataError(f"{path} must hold rows. It has none: give another file{only}.")
    return table


def hub_table(dataset: Any, where: str) -> Table:
    """The rows of a split on the hub."""
    return _of_dataset(dataset, where, Path())


@contextmanager
def open_rows(path: Path, reading: Reading) -> Iterator[tuple[list[str], Iterator[Row]]]:
    """The columns of a file of separated values, none of JSON, and its rows, read as they are asked for.

    Raises:
        DataError: the file is no such table; or a line is no row, unless `reading.bad` skips such.
    """
    form = form_of(path)
    if is_binary(path, reading.encoding):
        raise explain(path, form, reading.encoding, "it is binary")
    with opened(path, reading.encoding, form) as file:
        yield _separated(file, path, reading) if form == "csv" else ([], _objects(file, path, reading))


def open_parquet(path: Path) -> Any:
    """A Parquet file as a dataset.

    Raises:
        DataError: it is none.
    """
    try:
        if not path.stat().st_size:
            raise DataError(f"{path} must hold rows. It is empty: give another file.")
        check_gzip(path)
        return open_file(path, "parquet", {"batch_size": BATCH})  # else a row group at once
    except DataError:
        raise
    except Exception as error:  # pyarrow and fsspec share no class of error
        raise explain(path, "parquet", "utf-8", first_line(error)) from error


@contextmanager
def opened(path: Path, encoding: str, form: str) -> Iterator[io.TextIOWrapper]:
    """A text file, compressed or not, without a byte order mark and with its line ends.

    Raises:
        DataError: it is no text of that encoding.
    """
    try:
        with open_plain(path) as raw, io.TextIOWrapper(raw, without_mark(encoding), newline="") as text:
            yield text
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise explain(path, form, encoding, first_line(error)) from error


def _separated(file: io.TextIOWrapper, path: Path, reading: Reading) -> tuple[list[str], Iterator[Row]]:
    columns, records = read_separated(file, path, reading.format, reading.bad)
    counted = f"the lines before have {len(columns)} at the most"
    counted = counted if reading.format.header is False else f"line 1 names {len(columns)} columns"

    def rows() -> Iterator[Row]:
        for line, cells in records:
            place = f"{path}, line {line}"
            if len(cells) > len(columns):
                reading.bad.refuse(place, f"has {len(cells)} cells, and {counted}")
            else:
                yield place, dict(zip(columns, cells, strict=False))

    return columns, rows()


def _objects(file: io.TextIOWrapper, path: Path, reading: Reading) -> Iterator[Row]:
    start = file.read(1 << 16).lstrip()
    file.seek(0)
    lines = ((f"{path}, line {n}", line) for n, line in enumerate(file, 1) if line.strip())
    for place, entry in _array(path, file) if start.startswith("[") else lines:
        try:
            row = parse_json(entry) if isinstance(entry, str) else entry
        except ValueError as error:
            reading.bad.refuse(place, f"is not JSON ({error})")
            continue
        if not isinstance(row, dict):
            reading.bad.refuse(place, "must be one JSON object, {...}")
        elif (isinstance(entry, str) and "\\u" not in entry) or _is_whole(row, place, reading.bad):
            yield place, row


def _array(path: Path, file: io.TextIOWrapper) -> Iterator[tuple[str, Any]]:
    number = 0
    try:
        for number, entry in enumerate(entries(file), 1):
            yield f"{path}, entry {number}", entry
    except UnicodeError:  # a ValueError, too; `opened` tells of it
        raise
    except ValueError as error:
        said = f"{getattr(error, 'msg', error)} behind entry {number:,}" if number else error
        raise DataError(f"{path} is not JSON ({said}). Fix it, or write one object a line.") from error


def _unfold(table: Table, bad: BadItems) -> None:
    """Columns whose cells are lists, written as JSON writes them and pandas does, hold these lists."""
    rows, places = table.rows, table.places
    folded = [column for column in table.columns if _holds_lists(table, column)]
    for column in folded:
        for row in rows:
            if (found := _list_in(row.get(column, ""))) is not None:
                row[column] = found
    if folded:
        whole = [_is_whole(row, place, bad) for row, place in zip(rows, places, strict=True)]
        table.rows, table.places = list(compress(rows, whole)), list(compress(places, whole))


def _holds_lists(table: Table, column: str) -> bool:
    cells = [cell for row in table.rows[:_FIRST] if (cell := row.get(column, "").strip())]
    return 2 * sum(_list_in(cell) is not None for cell in cells) > len(cells)


def _is_whole(row: dict[str, Any], place: str, bad: BadItems) -> bool:
    r"""Whether a row holds no half of a character, as JSON may write one, "\ud83d"; else it is refused."""
    half = _half_in(row)
    if half is not None:
        bad.refuse(place, f"holds {half!a}, half of a pair of surrogates and no character")
    return half is None


def _half_in(value: Any) -> str | None:
    """A half of a character in the strings of nested values."""
    values = [value]
    while values:
        one = values.pop()
        if isinstance(one, str):
            if half := _HALF.search(one):
                return half[0]
        elif isinstance(one, list | dict):
            within = chain(one, one.values()) if isinstance(one, dict) else one
            values += [inner for inner in within if isinstance(inner, str | list | dict)]
    return None


def _list_in(cell: str) -> list[Any] | None:
    if not cell.lstrip().startswith("["):
        return None
    try:
        found = parse_json(cell)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def _of_dataset(dataset: Any, where: str, folder: Path) -> Table:
    try:
        rows = list(records(dataset))
    except Exception as error:  # pyarrow reads a file only now
        raise explain(Path(where), "parquet", "utf-8", first_line(error)) from error
    features = dataset.features or {}
    return Table(
        where,
        folder,
        list(rows[0]) if rows else [],
        rows,
        [f"{where}, row {n}" for n in range(1, 1 + len(rows))],
        {name: list(found) for name, feature in features.items() if (found := _class_names(feature))},
    )


def _class_names(feature: Any) -> Any:
    """The classes' names, of a column of classes or of lists of them."""
    return getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)


def _name(names: list[str], value: Any) -> Any:
    if not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None
