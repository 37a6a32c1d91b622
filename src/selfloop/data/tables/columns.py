"""Which column of a table holds what: by its name, by what its cells are, or as the user says."""

from collections.abc import Iterable, Iterator
from shlex import quote
from typing import Any

from selfloop.data.examples import Place
from selfloop.data.tables.separated import is_number, is_wordless
from selfloop.data.tables.table import Table
from selfloop.errors import DataError, nearest

LABELS = ("label", "class", "target", "y", "category")
TEXTS = ("text", "sentence")
SERIES = ("series", "values")
INPUTS = (*TEXTS, *SERIES, "x", "input", "sequence", "image", "path", "file", "file_name", "filename")

_COUNTERS = {"", "id", "index", "unnamed: 0"}  # of rows; a table of numbers may have one, which is none of its numbers
_FIRST = 100  # rows that are looked at


def choose(table: Table, given: str | None, names: Iterable[str], option: str, taken: str | None = None) -> str:
    """The column that is given, or the first that has one of these names; `taken` holds something else.

    Raises:
        DataError: there is none, or not the one that is given.
    """
    check(table, given, option)
    column = given or next(named(table.columns, names), None)
    if column is None:
        candidates = [name for name in table.columns if name != taken]
        raise DataError(unclear(table, option, f"no {option}", candidates))
    return column


def check(table: Table, column: str | None, option: str) -> None:
    """Raises a DataError where a column that is given does not exist."""
    if column is not None and column not in table.columns:
        raise DataError(
            f"{table.where} has no column '{column}' for the {option}, only {listed(table.columns)}"
            f"{nearest(column, table.columns) or '.'}"
        )


def with_ids(table: Table, given: str | None) -> None:
    """Let the places know the ids of their rows: those of the column that is given, or of one called id.

    Raises:
        DataError: there is no such column.
    """
    check(table, given, "id")
    column = given or next(named(table.columns, ("id",)), None)
    if column is not None:
        ids = (table.value(row, column) for row in range(len(table.rows)))
        plain = (value if isinstance(value, str | int | None) else str(value) for value in ids)  # as JSON has them
        table.places = [Place(place, value) for place, value in zip(table.places, plain, strict=True)]


def check_rivals(table: Table, label: str | None, inputs: Iterable[str], names: Iterable[str]) -> None:
    """Raises a DataError where a column that was found by its name is the label, and another such would be input."""
    rival = next((name for name in named(inputs, names) if name != label), None)
    if rival is not None and label is not None:
        raise DataError(
            f"{table.where} has the columns '{label}' and '{rival}', which both may hold the label, and what is not "
            f"the label is taken as input: give --label={quote(label)} or --label={quote(rival)}, and take the other "
            "out of the file if it is no input."
        )


def named(columns: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """The columns that have one of these names, in any case, in the order of the names; y beside z is a coordinate.

    >>> [*named(["x", "y", "Label"], LABELS)], [*named(["x", "y", "z", "Label"], LABELS)]
    (['Label', 'y'], ['Label'])
    """
    columns = list(columns)
    lower = [column.lower() for column in columns]
    known = [name for name in names if name != "y" or "z" not in lower]
    return iter([column for name in known for column in columns if column.lower() == name])


def is_counter(column: str) -> bool:
    """Whether a column counts the rows, by its name."""
    return column.strip().lower() in _COUNTERS


def is_numeric(table: Table, column: str, *, unless_empty: bool = False) -> bool:
    """Whether most cells of a column are numbers, so that one which is not is a fault of its row."""
    cells = cells_of(table, column)
    numbers = sum(isinstance(cell, int | float) or (isinstance(cell, str) and is_number(cell)) for cell in cells)
    return 2 * numbers > len(cells) if cells else unless_empty


def holds_words(table: Table, column: str) -> bool:
    """Whether a column may be text: most of its cells are no numbers, dates or times."""
    cells = cells_of(table, column)
    wordless = sum(is_wordless(cell) if isinstance(cell, str) else not isinstance(cell, list | dict) for cell in cells)
    return 2 * wordless <= len(cells)


def cells_of(table: Table, column: str) -> list[Any]:
    """The first cells of a column that hold something."""
    return [cell for row in table.rows[:_FIRST] if not is_empty(cell := row.get(column))]


def is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def unclear(table: Table, option: str, lacks: str, candidates: list[str]) -> str:
    """The error for a column that cannot be told."""
    steps = (
        " Where a row is a step of a series, give --series and --time, the columns that tell the series apart and "
        "order them."
        if any(is_numeric(table, name) for name in table.columns)
        else ""
    )
    if not candidates:
        return (
            f"{table.where} holds {lacks} in its columns {listed(table.columns)}: add one, or give another file.{steps}"
        )
    return (
        f"{table.where} has the columns {listed(table.columns)}, of which none is known to hold the {option}: "
        f"{_name_one(option, candidates[0])}.{steps}"
    )


def several(table: Table, option: str, candidates: list[str]) -> str:
    """The error for a column that several may be, by their names."""
    return (
        f"{table.where} has the columns {listed(candidates)}, which each may hold the {option}: "
        f"{_name_one(option, candidates[0])}."
    )


def _name_one(option: str, column: str) -> str:
    return f"name one with {option}={column!r} (on the command line --{option}={quote(column)})"


def listed(names: Iterable[str]) -> str:
    """Names in quotes, the first of them where they are many."""
    names = [f"'{name}'" for name in names]
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:10])} and {len(names) - 10} more"
