"""The examples that the rows of a table are, a row each: texts, series, images or sound, and their labels."""

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from selfloop.data.examples import Columns, Family, Items, Unusable
from selfloop.data.labels import label_of
from selfloop.data.media.images import read_image
from selfloop.data.media.kinds import family_of, read_one
from selfloop.data.media.series import as_series, knowing_channels
from selfloop.data.reading import Reading
from selfloop.data.tables.columns import (
    INPUTS,
    LABELS,
    SERIES,
    TEXTS,
    cells_of,
    check,
    check_rivals,
    holds_words,
    is_counter,
    is_empty,
    is_numeric,
    listed,
    named,
    unclear,
)
from selfloop.data.tables.known import steps_of
from selfloop.data.tables.separated import is_number
from selfloop.data.tables.table import Table
from selfloop.errors import DataError
from selfloop.untrusted import is_file

_Found = tuple[Family, Callable[[int], Any], Columns]
"""What an example is, how that of a row is read, and the columns of numbers that are known then."""


def examples_of_table(table: Table, reading: Reading) -> Items:
    """The examples of a table.

    Raises:
        DataError: the columns cannot be told, or the named ones do not exist.

    >>> table = Table("a.csv", Path(), ["0", "1", "label"], [{"0": "3", "1": "4", "label": "up"}], ["a.csv, line 2"])
    >>> items = examples_of_table(table, Reading())
    >>> items.inputs[0].tolist(), items.labels
    ([[3.0], [4.0]], ['up'])
    """
    check(table, reading.input, "input")
    if reading.labelled:
        check(table, reading.label, "label")
    steps = set(reading.columns.steps)
    columns = [name for name in table.columns if name != reading.id]
    label = reading.label or next(named([name for name in columns if name not in steps], LABELS), None)
    others = [name for name in columns if name != label]
    column = reading.input or (_input(table, others) if steps.isdisjoint(others) else None)
    wide = [] if column is not None else _wide(table, others, reading)
    if reading.label is None:
        check_rivals(table, label, wide, LABELS)
    if column is None and not wide:
        candidates = [name for name in others if holds_words(table, name)]
        if len(candidates) != 1:
            raise DataError(unclear(table, "input", "no input", candidates))
        if label is None and reading.labelled and len(others) > 2:  # numbers and one column of words, as iris.csv
            raise DataError(unclear(table, "label", "no labels", candidates))
        column = candidates[0]
    if label is None and reading.labelled:
        rest = [name for name in others if name not in (column, *wide) and not is_counter(name)]
        if len(rest) != 1:
            raise DataError(unclear(table, "label", "no labels", rest))
        label = rest[0]
    found = _reader(table, column, reading) if column is not None else _wide_reader(table, wide, reading)
    family, read, known = found
    what = f"'{column}' ({family})" if column is not None else f"a series a row, the numbers in {listed(wide)}"
    reading.bad.note(f"input: {what}; label: '{label}'")
    items = Items(family, columns=known)
    for row, place in enumerate(table.places):
        name = label_of(table.value(row, label)) if label in table.columns else None
        items.add(place, name, partial(read, row), reading.bad)
    return items


def _input(table: Table, columns: list[str]) -> str | None:
    """The column by its name; one of numbers or dates is none, unless its name says that it is text."""
    return next((name for name in named(columns, INPUTS) if name.lower() in TEXTS or _is_input(table, name)), None)


def _is_input(table: Table, column: str) -> bool:
    return not is_numeric(table, column) if column.lower() in SERIES else holds_words(table, column)


def _wide(table: Table, columns: list[str], reading: Reading) -> list[str]:
    """The columns that make up one series a row: those of training, or all; none where one holds no numbers."""
    known = reading.columns.steps
    columns = [name for name in columns if not is_counter(name)]
    numbers = [name for name in columns if is_numeric(table, name, unless_empty=True)]
    if not known or (len(numbers) < len(columns) and set(known).isdisjoint(columns)):
        return numbers if len(numbers) == len(columns) else []
    steps = steps_of(table.where, known, table.columns, numbers)
    if reading.format.header is False and not reading.labelled and len(steps) < len(known):
        raise DataError(
            f"{table.where} has no column '{known[len(steps)]}', which the training data have, and without names "
            "columns go by their place: give all that the training data have, also that of the labels, which may be "
            "empty, or a table with names."
        )
    return steps


def _wide_reader(table: Table, steps: list[str], reading: Reading) -> _Found:
    known = reading.columns
    columns = known.extended(Columns(steps=tuple(dict.fromkeys((*known.steps, *steps)))))
    return "series", partial(_wide_row, table, steps), columns


def _wide_row(table: Table, columns: list[str], row: int) -> Any:
    cells = [table.rows[row].get(name) for name in columns]
    while cells and is_empty(cells[-1]):
        cells.pop()
    for name, cell in zip(columns, cells, strict=False):
        if is_empty(cell):
            raise Unusable(f"holds no number in column '{name}', and numbers after it")
        if not (isinstance(cell, int | float) or is_number(str(cell))):
            raise Unusable(f"must hold a number in column '{name}'. It holds {str(cell)[:40]!r}")
    return as_series(np.array(cells, np.float64))


def _reader(table: Table, column: str, reading: Reading) -> _Found:
    """What a column holds, and how one of its cells is read."""
    cells = cells_of(table, column)
    first = cells[0] if cells else ""
    if isinstance(first, dict) and "bytes" in first:  # as `datasets` stores images
        return "images", lambda row: _stored_image(table, column, row, reading), reading.columns
    families = Counter(family_of(Path(cell)) for cell in cells if isinstance(cell, str))
    family = families.most_common(1)[0][0] if families else None  # a cell of another is refused
    if reading.kind != "text" and family not in (None, "text"):
        paths = (table.folder / cell for cell in cells if isinstance(cell, str))
        how = knowing_channels(reading, family, filter(is_file, paths))
        return family, lambda row: _from_path(table, column, row, family, how), how.columns
    numbers = reading.kind is None and column.lower() in SERIES and all(map(_are_numbers, cells))
    if reading.kind == "series" or isinstance(first, list) or numbers:
        return "series", lambda row: _listed_series(table, column, row), reading.columns
    return "text", lambda row: _text(table, column, row), reading.columns


def _are_numbers(cell: Any) -> bool:
    return isinstance(cell, str) and all(is_number(piece) for piece in re.split(r"[\s,;]+", cell.strip()))


def _text(table: Table, column: str, row: int) -> str:
    value = table.value(row, column)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = label_of(value)
    if is_empty(value):
        raise Unusable(f"has no text in column '{column}'")
    if not isinstance(value, str):
        raise Unusable(f"must hold text in column '{column}'. It holds {str(value)[:40]!r}")
    return value


def _listed_series(table: Table, column: str, row: int) -> Any:
    value = table.value(row, column)
    if is_empty(value):
        raise Unusable(f"has no series in column '{column}'")
    if not isinstance(value, list):
        raise Unusable(f"must hold a list of numbers, as [1, 2.5], in column '{column}'. It holds {str(value)[:40]!r}")
    return as_series(value)


def _stored_image(table: Table, column: str, row: int, reading: Reading) -> Any:
    value = table.value(row, column)
    if not isinstance(value, dict) or not (value.get("bytes") or value.get("path")):
        raise Unusable(f"has no image in column '{column}'")
    return read_image(value["bytes"] or Path(value["path"]), reading.size)


def _from_path(table: Table, column: str, row: int, family: Family, reading: Reading) -> Any:
    value = table.value(row, column)
    if is_empty(value):
        raise Unusable(f"has no path in column '{column}'")
    path = table.file_named(str(value))
    if family_of(path) != family:
        raise Unusable(f"names '{value}', and other rows name {family}")
    try:
        return read_one(path, family, reading)
    except Unusable as fault:
        raise Unusable(f"names '{value}', which {fault}") from fault
