"""Which columns of a table hold the input and the label, and the items that its rows are."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from selfloop.data.files import suffix_of
from selfloop.data.images import IMAGE_SUFFIXES, read_image
from selfloop.data.items import Family, Items, Unusable, Wanted, label_of
from selfloop.data.series import SERIES_SUFFIXES, as_series, is_number, read_series
from selfloop.data.tables import Table
from selfloop.errors import DataError, nearest
from selfloop.untrusted import is_file

LABELS = ("label", "class", "target", "y", "category")
TEXTS = ("text", "sentence")
SERIES = ("series", "values")
INPUTS = (*TEXTS, *SERIES, "x", "input", "sequence", "image", "path", "file", "file_name", "filename")
_COUNTERS = {"", "id", "index", "unnamed: 0"}  # of rows; a wide table may have one, which is no number of the series
_FIRST = 100  # rows that are looked at


def items_of_table(table: Table, wanted: Wanted) -> Items:
    """The examples of a table.

    Raises:
        DataError: the columns cannot be told, or the named ones do not exist.

    >>> table = Table("a.csv", Path(), ["0", "1", "label"], [{"0": "3", "1": "4", "label": "up"}], ["a.csv, line 2"])
    >>> items = items_of_table(table, Wanted())
    >>> items.inputs[0].tolist(), items.labels
    ([[3.0], [4.0]], ['up'])
    """
    _check(table, wanted.input, "input")
    if wanted.labelled:
        _check(table, wanted.label, "label")
    label = wanted.label or next(_named(table.columns, LABELS), None)
    others = [name for name in table.columns if name != label]
    column = wanted.input or _input(table, others)
    wide = [] if column is not None else _wide(table, others)
    if column is None and not wide:
        candidates = [name for name in others if not _is_numeric(table, name)]
        if len(candidates) != 1:
            raise DataError(_unclear(table, "input", "no input", candidates or others))
        if label is None and wanted.labelled and len(others) > 2:  # numbers and one column of words, as iris.csv
            raise DataError(_unclear(table, "label", "no labels", candidates))
        column = candidates[0]
    if label is None and wanted.labelled:
        rest = [name for name in others if name not in (column, *wide)]
        if len(rest) != 1:
            raise DataError(_unclear(table, "label", "no labels", rest))
        label = rest[0]
    found: tuple[Family, Callable[[int], Any]] = (
        ("series", partial(_wide_row, table, wide)) if column is None else _reader(table, column, wanted)
    )
    family, read = found
    items = Items(family)
    for row, place in enumerate(table.places):
        name = label_of(table.value(row, label)) if label in table.columns else None
        items.add(place, name, partial(read, row), wanted.bad)
    return items


def choose(table: Table, given: str | None, names: Iterable[str], option: str, taken: str | None = None) -> str:
    """The column that is given, or the first that has one of these names; `taken` holds something else.

    Raises:
        DataError: there is none, or not the one that is given.
    """
    _check(table, given, option)
    column = given or next(_named(table.columns, names), None)
    if column is None:
        candidates = [name for name in table.columns if name != taken]
        raise DataError(_unclear(table, option, f"no {option}", candidates))
    return column


def _check(table: Table, column: str | None, option: str) -> None:
    if column is not None and column not in table.columns:
        raise DataError(
            f"{table.where} has no column '{column}' for the {option}, only {_listed(table.columns)}"
            f"{nearest(column, table.columns)}"
        )


def _input(table: Table, columns: list[str]) -> str | None:
    """The column by its name; one of single numbers is part of a wide table, unless its name says that it is text."""
    found = _named(columns, INPUTS)
    return next((name for name in found if name.lower() in TEXTS or not _is_numeric(table, name)), None)


def _wide(table: Table, columns: list[str]) -> list[str]:
    """The columns that make up one series a row, or none where one of them does not hold numbers."""
    columns = [name for name in columns if name.strip().lower() not in _COUNTERS]
    return columns if all(_is_numeric(table, name, unless_empty=True) for name in columns) else []


def _is_numeric(table: Table, column: str, *, unless_empty: bool = False) -> bool:
    """Whether most cells of a column are numbers, so that one which is not is a fault of its row."""
    cells = [cell for cell in _cells(table, column) if not _is_empty(cell)]
    numbers = sum(isinstance(cell, int | float) or (isinstance(cell, str) and is_number(cell)) for cell in cells)
    return 2 * numbers > len(cells) if cells else unless_empty


def _wide_row(table: Table, columns: list[str], row: int) -> Any:
    cells = [table.rows[row].get(name) for name in columns]
    while cells and _is_empty(cells[-1]):
        cells.pop()
    for name, cell in zip(columns, cells, strict=False):
        if _is_empty(cell):
            raise Unusable(f"holds no number in column '{name}', and numbers after it")
        if not (isinstance(cell, int | float) or is_number(str(cell))):
            raise Unusable(f"must hold a number in column '{name}'. It holds {str(cell)[:40]!r}")
    return as_series(np.array(cells, np.float64))


def _reader(table: Table, column: str, wanted: Wanted) -> tuple[Family, Callable[[int], Any]]:
    """What a column holds, and how one of its cells is read."""
    cells = [cell for cell in _cells(table, column) if not _is_empty(cell)]
    first = cells[0] if cells else ""
    if isinstance(first, dict) and "bytes" in first:  # as `datasets` stores images
        return "images", lambda row: _stored_image(table, column, row, wanted)
    suffixes = {suffix_of(Path(cell)) for cell in cells if isinstance(cell, str)}
    if wanted.kind != "text" and suffixes and suffixes <= IMAGE_SUFFIXES | SERIES_SUFFIXES:
        images = suffixes <= IMAGE_SUFFIXES
        return "images" if images else "series", lambda row: _from_path(table, column, row, images, wanted)
    numbers = wanted.kind is None and column.lower() in SERIES and all(map(_are_numbers, cells))
    if wanted.kind == "series" or isinstance(first, list) or numbers:
        return "series", lambda row: _listed_series(table, column, row)
    return "text", lambda row: _text(table, column, row)


def _are_numbers(cell: Any) -> bool:
    return isinstance(cell, str) and all(is_number(piece) for piece in re.split(r"[\s,;]+", cell.strip()))


def _text(table: Table, column: str, row: int) -> str:
    value = table.value(row, column)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = label_of(value)
    if _is_empty(value):
        raise Unusable(f"has no text in column '{column}'")
    if not isinstance(value, str):
        raise Unusable(f"must hold text in column '{column}'. It holds {str(value)[:40]!r}")
    return value


def _listed_series(table: Table, column: str, row: int) -> Any:
    value = table.value(row, column)
    if _is_empty(value):
        raise Unusable(f"has no series in column '{column}'")
    if not isinstance(value, list):
        raise Unusable(f"must hold a list of numbers, as [1, 2.5], in column '{column}'. It holds {str(value)[:40]!r}")
    return as_series(value)


def _stored_image(table: Table, column: str, row: int, wanted: Wanted) -> Any:
    value = table.value(row, column)
    if not isinstance(value, dict) or not (value.get("bytes") or value.get("path")):
        raise Unusable(f"has no image in column '{column}'")
    return read_image(value["bytes"] or Path(value["path"]), wanted.size)


def _from_path(table: Table, column: str, row: int, images: bool, wanted: Wanted) -> Any:
    value = table.value(row, column)
    if _is_empty(value):
        raise Unusable(f"has no path in column '{column}'")
    path = table.folder / str(value)
    if not is_file(path):
        raise Unusable(f"names '{value}', and there is no such file")
    if images != (suffix_of(path) in IMAGE_SUFFIXES):
        raise Unusable(f"names '{value}', and other rows name {'images' if images else 'series'}")
    try:
        return read_image(path, wanted.size) if images else read_series(path, wanted.encoding)
    except Unusable as fault:
        raise Unusable(f"names '{value}', which {fault}") from fault


def _cells(table: Table, column: str) -> list[Any]:
    return [row.get(column) for row in table.rows[:_FIRST]]


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _named(columns: list[str], names: Iterable[str]) -> Iterator[str]:
    """The columns that have one of these names, in any case, in the order of the names."""
    return iter([column for name in names for column in columns if column.lower() == name])


def _unclear(table: Table, option: str, lacks: str, candidates: list[str]) -> str:
    if not candidates:
        return f"{table.where} holds {lacks} in its columns {_listed(table.columns)}: add one, or give another file."
    return (
        f"{table.where} has the columns {_listed(table.columns)}, of which none is known to hold the {option}: name "
        f"one with {option}={candidates[0]!r} (on the command line --set data.{option}={candidates[0]})."
    )


def _listed(names: Iterable[str]) -> str:
    names = [f"'{name}'" for name in names]
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:10])} and {len(names) - 10} more"
