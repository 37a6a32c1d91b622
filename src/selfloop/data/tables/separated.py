"""Files of separated values (CSV, TSV): the separator, the quotes and the names of the columns.

lines -> separator            a tab in .tsv; in .csv a comma, or a semicolon where line 1 says so
lines -> records              lists of cells, each with the line where it begins
records -> numbers            with a point, also where a column between semicolons writes them with a comma
records -> names, rows        the names stand in line 1; a line 1 that looks like data is refused
"""

import csv
import io
import itertools
import math
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from selfloop.data.examples import BadItems
from selfloop.errors import DataError

HEAD = 1_000  # records that are compared with line 1
_WORDLESS = re.compile(r"(?=\D*\d)(?:[\d\W_TZ]|[AaPp][Mm])+")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_LINES = 50  # lines that are looked at for the separator

_KNOWN = {
    "text", "sentence", "words", "tokens", "input", "x", "series", "values", "sequence", "image", "video", "path",
    "file", "file_name", "source", "src",
}  # fmt: skip
"""Names of a column that stands alone; any other may be a row."""

Record = tuple[int, list[str]]
"""The line where a record begins, and its cells."""


@dataclass(frozen=True)
class TableFormat:
    """How a table is written.

    Attributes:
        header: whether line 1 of CSV or TSV names the columns; without names they are called "1", "2", and so on. None
            takes line 1 as names, and stops where it looks like data.
        quotes: whether a cell may stand in quotes, which then may hold separators and line ends. None: in CSV, as RFC
            4180 says, and not in TSV, whose cells hold quotation marks as they come.
        series: of a table with a row a step, the column that tells which series a row belongs to; None with a `time`
            means that all rows are of one.
        time: the column that orders the rows of a series; None with a `series` means that they are in order.
        named: columns that the user has named: a line 1 that holds one of these holds names.
    """

    header: bool | None = None
    quotes: bool | None = None
    series: str | None = None
    time: str | None = None
    named: tuple[str, ...] = ()

    @property
    def is_long(self) -> bool:
        """Whether a row of the table is a step."""
        return self.series is not None or self.time is not None


DEFAULT_FORMAT = TableFormat()


def is_number(cell: str) -> bool:
    """Whether a cell of a table is a number, NaN and infinity among them."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def is_wordless(cell: str) -> bool:
    """Whether a cell is a number, a date or a time, and so no text: it has digits and no letters but T, Z, am and pm.

    >>> [is_wordless(cell) for cell in ("2016-07-01T00:00:00Z", "1e-5", "5:30 PM", "12 %", "7 days", ":-)")]
    [True, True, True, True, False, False]
    """
    return is_number(cell) or _WORDLESS.fullmatch(cell) is not None


def read_separated(
    file: io.TextIOWrapper, path: Path, format: TableFormat, bad: BadItems
) -> tuple[list[str], Iterator[Record]]:
    r"""The names of the columns, and the records below them.

    Args:
        file: open at its beginning, with line ends as they are.
        path: its name, which tells CSV from TSV, and is named in errors.
        format: what is known of it.
        bad: is told of a separator that is not the usual one.

    Raises:
        DataError: line 1 looks like data or names a column twice; later, quotes are damaged.

    >>> file = io.TextIOWrapper(io.BytesIO(b"text;label\nHi!;hello\n"))
    >>> names, rows = read_separated(file, Path("a.csv"), TableFormat(), BadItems())
    >>> names, list(rows)
    (['text', 'label'], [(2, ['Hi!', 'hello'])])
    """
    tabs = path.name.lower().removesuffix(".gz").endswith(".tsv")
    quotes = not tabs if format.quotes is None else format.quotes
    separator = "\t" if tabs else _separator(file, quotes)
    if separator == ";":
        bad.note(f"{path.name} is read with ';' between cells")
    records: Iterator[Record] = itertools.dropwhile(
        lambda record: not record[1], _records(file, path, separator, quotes)
    )
    head = list(itertools.islice(records, HEAD))
    if separator == ";" and (columns := _with_decimal_commas([cells for _, cells in head])):
        bad.note(f"numbers of {path.name} have a decimal comma")
        named = 0 if format.header is False else 1  # names may be numbers with a point
        first = [(line, _pointed(names, columns)) for line, names in head[:named]]
        head = [*first, *_with_points(head[named:], columns, path, bad)]
        records = _with_points(records, columns, path, bad)
    cells = [found for _, found in head]
    if tabs and format.quotes is None and _stand_in_quotes(cells):
        bad.note(f"cells of {path.name} stand in quotes, which are kept: --set data.quotes=true takes them off")
    if format.header is False:
        return [str(number) for number in range(1, 1 + max(map(len, cells), default=0))], itertools.chain(head, records)
    names = [name.strip() for name in cells[0]] if cells else []
    twice = next((name for name in names if names.count(name) > 1), None)
    found = f"'{twice}' twice" if twice is not None else None
    is_named = any(name in names for name in format.named if not name.isdigit())
    if found is None and format.header is None and not is_named:
        found = _is_no_name(names, cells[1:])
    if found is not None:
        raise DataError(
            f"{path} must name its columns in line 1. Got {found}: write a line of names above it, or give "
            f"--no-header, which calls the columns '1', '2' and so on"
            f"{'' if twice is not None else ', or --header if these are names'}."
        )
    return names, itertools.chain(head[1:], records)


def _separator(file: io.TextIOWrapper, quotes: bool) -> str:
    """A semicolon where line 1 has it and no comma but in numbers, and no later line has more cells or only one."""
    lines = list(itertools.islice(file, _LINES))
    file.seek(0)
    first = next((line for line in lines if line.strip()), "")
    if quotes:
        first = re.sub('"[^"]*"', "", first)
    if ";" not in first or any("," in cell and not _DECIMAL_COMMA.fullmatch(cell.strip()) for cell in first.split(";")):
        return ","
    with cells_of_any_length():
        counts = [len(cells) for cells in csv.reader(lines, delimiter=";", quoting=_quoting(quotes)) if cells]
    if len(lines) == _LINES:
        del counts[-1]  # its quotes may end further down
    if not counts:  # one record of many lines
        return ","
    return ";" if min(counts) >= 2 and max(counts) == counts[0] else ","


def _records(file: io.TextIOWrapper, path: Path, separator: str, quotes: bool) -> Iterator[Record]:
    lines, line = csv.reader(file, delimiter=separator, quoting=_quoting(quotes), strict=True), 1
    while True:
        block: list[Record] = []
        try:
            with cells_of_any_length():
                for cells in itertools.islice(lines, HEAD):
                    block.append((line, cells))
                    line = lines.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path}, near line {line}, is not CSV ({error}): fix the quotes there, or read them as other "
                "characters with --set data.quotes=false."
            ) from error
        if not block:
            return
        yield from block


def _with_decimal_commas(records: list[list[str]]) -> set[int]:
    """The columns that hold numbers alone, of which some have a decimal comma; line 1 may name them.

    >>> _with_decimal_commas([["x", "y", "label"], ["1,5", "2", "up"], ["2", "1,5,3", "down"]])
    {0}
    """
    columns = [[cell.strip() for cell in cells] for cells in itertools.zip_longest(*records, fillvalue="")]
    return {
        number
        for number, cells in enumerate(columns)
        if any(map(_DECIMAL_COMMA.fullmatch, cells))
        and all(not cell or is_number(cell) or _DECIMAL_COMMA.fullmatch(cell) for cell in cells[1:])
    }


def _with_points(records: Iterable[Record], columns: set[int], path: Path, bad: BadItems) -> Iterator[Record]:
    """The records, with a point for the comma in the numbers of some columns; those that have a point there already are
    refused: beside 1,5 the number 1.234 may be 1234.
    """
    for line, cells in records:
        unclear = (cell for number, cell in enumerate(cells) if number in columns and "." in cell and is_number(cell))
        if (cell := next(unclear, None)) is not None:
            fault = f"holds '{cell}' in a column of numbers with a decimal comma, where a point may separate thousands"
            bad.refuse(f"{path}, line {line}", fault)
        else:
            yield line, _pointed(cells, columns)


def _pointed(cells: list[str], columns: set[int]) -> list[str]:
    """The cells, with a point for the comma in the numbers of some columns."""
    return [
        cell.replace(",", ".") if number in columns and _DECIMAL_COMMA.fullmatch(cell.strip()) else cell
        for number, cell in enumerate(cells)
    ]


def _stand_in_quotes(records: list[list[str]]) -> bool:
    """Whether quotation marks stand round whole cells alone, as in CSV."""
    marked = [cell for cells in records for cell in cells if '"' in cell]
    return bool(marked) and all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in marked)


def _quoting(quotes: bool) -> Literal[0, 3]:
    return csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE


@contextmanager
def cells_of_any_length() -> Iterator[None]:
    """Within it, `csv` reads cells of more than 131,072 characters, too."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _is_no_name(names: list[str], rows: list[list[str]]) -> str | None:
    """What in line 1 is data rather than a name, as the object of "Got …"; None where it may all be names.

    >>> _is_no_name(["good film", "1"], [["bad film", "0"], ["so so", "1"]])
    "the number '1' above a column of numbers"
    >>> _is_no_name(["good film", "pos"], [["bad film", "neg"], ["so so", "pos"]])
    "'pos', which stands in the rows below too"
    >>> _is_no_name(["label", "0", "1", "2"], [["up", "1.5", "2.5", "3.5"]])
    """
    below = [[row[column] for row in rows if column < len(row) and row[column].strip()] for column in range(len(names))]
    numeric = [2 * sum(map(is_number, cells)) > len(cells) for cells in below]
    numbers = [name for name, of_numbers in zip(names, numeric, strict=True) if of_numbers and is_number(name)]
    if numbers and not _count_up(numbers):
        return f"the number '{numbers[0]}' above a column of numbers"
    alone = len(names) == 1 and all(len(row) < 2 for row in rows)
    if alone and names[0].lower() not in _KNOWN and not (below[0] and all(map(is_number, below[0]))):
        return f"one column, '{names[0][:40]}', which may be a row"
    if any(of_numbers and name and not is_number(name) for name, of_numbers in zip(names, numeric, strict=True)):
        return None  # a word above numbers is their name, and so are the others
    for name, cells, of_numbers in zip(names, below, numeric, strict=True):
        if name and not of_numbers and name in cells:
            return f"'{name[:40]}', which stands in the rows below too"
    nameless = next(
        (number for number, name in enumerate(names, 1) if number > 1 and not name and below[number - 1]), 0
    )
    return f"no name for column {nameless}" if nameless else None


def _count_up(names: list[str]) -> bool:
    """Whether numbers are the names of the steps of a series: 0, 1; 1, 2, 3; or 1990, 1995, 2000.

    >>> _count_up(["0", "1"]), _count_up(["1990", "2000", "2010"]), _count_up(["1"]), _count_up(["3.5", "3.0", "5.1"])
    (True, True, False, False)
    """
    values = [float(name) for name in names]
    steps = [after - before for before, after in itertools.pairwise(values)]
    if not steps or steps[0] <= 0 or not all(math.isclose(step, steps[0], rel_tol=1e-6) for step in steps):
        return False
    return len(values) > 2 or (steps[0] == 1 and values[0] in (0, 1))
