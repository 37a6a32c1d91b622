"""The rows of a table, every column of them, each with its place: CSV, TSV, JSON Lines, Parquet, or a hub's split.

CSV and JSON Lines are read by Python's own modules: `datasets` guesses the types of a CSV block by block, so that the
label "007" would become 7, and does not tell the line of a row.
"""

import codecs
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfloop.data.examples import BadItems
from selfloop.data.files.compressed import open_plain
from selfloop.data.files.diagnose import explain, is_binary
from selfloop.data.tables.separated import DEFAULT_FORMAT, TableFormat, read_separated
from selfloop.data.text.files import builder_of
from selfloop.data.text.rows import first_line, open_file, records
from selfloop.errors import DataError

_FIRST = 100  # rows that are looked at to tell what a column holds


@dataclass
class Table:
    """A table in memory.

    Attributes:
        where: the file or the split, for errors.
        folder: that of the file; paths in a cell are relative to it.
        columns: their names, in order.
        rows: a dictionary each; a cell that is missing may have no entry.
        places: of the rows: ``reviews.csv, line 12``.
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


def read_table(path: Path, encoding: str, bad: BadItems, format: TableFormat = DEFAULT_FORMAT) -> Table:
    r"""The rows of a file.

    Args:
        path: a file of separated values, of JSON objects, or of Parquet.
        encoding: of text.
        bad: takes the lines that are no row.
        format: how separated values are written.

    Raises:
        DataError: the file cannot be read, or holds no rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.csv")
    ...     _ = path.write_text("text,label\nHi!,hello\n")
    ...     read_table(path, "utf-8", BadItems()).rows
    [{'text': 'Hi!', 'label': 'hello'}]
    """
    builder = builder_of(path).builder
    if builder == "parquet":
        table = _parquet(path)
    elif is_binary(path, encoding):
        raise explain(path, builder, encoding, "it is binary")
    else:
        table = _csv(path, encoding, bad, format) if builder == "csv" else _json(path, encoding, bad)
    if not table.rows:
        only = ", or --no-header if its only line is a row" if table.columns else ""
        raise DataError(f"{path} must hold rows. It has none: give another file{only}.")
    return table


def hub_table(dataset: Any, where: str) -> Table:
    """The rows of a split on the hub."""
    return _of_dataset(dataset, where, Path())


@contextmanager
def opened(path: Path, encoding: str, builder: str) -> Iterator[io.TextIOWrapper]:
    """A text file, compressed or not, without a byte order mark and with its line ends.

    Raises:
        DataError: it is no text of that encoding.
    """
    try:
        known = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        with open_plain(path) as raw, io.TextIOWrapper(raw, known, newline="") as text:
            yield text
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise explain(path, builder, encoding, first_line(error)) from error


def _csv(path: Path, encoding: str, bad: BadItems, format: TableFormat) -> Table:
    table = Table(str(path), path.parent, [])
    with opened(path, encoding, "csv") as file:
        table.columns, rows = read_separated(file, path, format, bad)
        for line, cells in rows:
            place = f"{path}, line {line}"
            if len(cells) > len(table.columns):
                bad.refuse(place, f"has {len(cells)} cells, and {_counted(table.columns, format)}")
            elif cells:
                table.rows.append(dict(zip(table.columns, cells, strict=False)))
                table.places.append(place)
    _unfold(table)
    return table


def _counted(columns: list[str], format: TableFormat) -> str:
    if format.header is False:
        return f"the lines before have {len(columns)} at the most"
    return f"line 1 names {len(columns)} columns"


def _unfold(table: Table) -> None:
    """Columns whose cells are lists, written as JSON writes them and pandas does, hold these lists."""
    for column in table.columns:
        cells = [cell for row in table.rows[:_FIRST] if (cell := row.get(column, "").strip())]
        if 2 * sum(_list_in(cell) is not None for cell in cells) > len(cells):
            for row in table.rows:
                if (found := _list_in(row.get(column, ""))) is not None:
                    row[column] = found


def _list_in(cell: str) -> list[Any] | None:
    if not cell.lstrip().startswith("["):
        return None
    try:
        found = json.loads(cell)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def _json(path: Path, encoding: str, bad: BadItems) -> Table:
    table = Table(str(path), path.parent, [])
    with opened(path, encoding, "json") as file:
        start = file.read(1 << 16).lstrip()
        file.seek(0)
        if start.startswith("["):
            found = _array(path, file)
        else:
            found = ((f"{path}, line {n}", line) for n, line in enumerate(file, 1) if line.strip())
        for place, entry in found:
            try:
                row = json.loads(entry) if isinstance(entry, str) else entry
            except ValueError as error:
                bad.refuse(place, f"is not JSON ({error})")
                continue
            if isinstance(row, dict):
                table.rows.append(row)
                table.places.append(place)
            else:
                bad.refuse(place, "must be one JSON object, {...}")
    table.columns = list(dict.fromkeys(name for row in table.rows for name in row))
    return table


def _array(path: Path, file: io.TextIOWrapper) -> Iterator[tuple[str, Any]]:
    try:
        entries = json.load(file)
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}). Mend it, or write one object a line.") from error
    return ((f"{path}, entry {n}", entry) for n, entry in enumerate(entries, 1))


def _parquet(path: Path) -> Table:
    try:
        return _of_dataset(open_file(path, "parquet", {}), str(path), path.parent)
    except Exception as error:  # pyarrow and fsspec share no class of error
        raise explain(path, "parquet", "utf-8", first_line(error)) from error


def _of_dataset(dataset: Any, where: str, folder: Path) -> Table:
    rows = list(records(dataset))
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
