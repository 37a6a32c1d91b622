"""Rows of text: the strings of one column of a table, a batch at a time."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from shlex import quote
from typing import Any

from selfloop.data.reading import Reading
from selfloop.data.tables.arrow import BATCH, arrow_tables
from selfloop.data.tables.columns import is_empty, listed
from selfloop.data.tables.separated import is_number, is_wordless
from selfloop.data.tables.table import Row
from selfloop.errors import DataError, nearest

_FIRST = 100  # rows that are looked at, to tell what a column holds
_TEXT, _WORDLESS, _NUMBERS = "text", "dates or numbers", "numbers"
_KINDS = {str: _TEXT, int: _NUMBERS, float: _NUMBERS, bool: "true and false", list: "lists", dict: "objects"}


def text_of_rows(rows: Iterator[Row], reading: Reading, where: str) -> Iterator[list[str]]:
    """The text of rows; those that hold none, null or nothing at all, are left out, and noted.

    Raises:
        DataError: `choose_column` finds no column of text.
    """
    head = list(islice(rows, BATCH))
    if not head:
        return
    column, empty = chosen_column([row for _, row in head], reading, where), 0
    rows = chain(head, rows)
    while batch := list(islice(rows, BATCH)):
        found = []
        for place, row in batch:
            text = row.get(column)
            if isinstance(text, str):
                found.append(text)
            elif text is None:
                empty += 1
            else:
                reading.bad.refuse(place, f"must hold text in column '{column}'. It holds {str(text)[:40]!r}")
        yield found
    _note_empty(empty, reading, where)


def text_of_dataset(dataset: Any, reading: Reading, where: str) -> Iterator[list[str]]:
    """Likewise the text of an open dataset, of which one column alone is taken out of Arrow's tables."""
    column, empty = None, 0
    for table in arrow_tables(dataset):
        if column is None:
            column = chosen_column(table[:_FIRST].to_pylist(), reading, where)
        values = table[column]
        empty += values.null_count
        yield [row for row in values.to_pylist() if row is not None]
    _note_empty(empty, reading, where)


def choose_column(kinds: dict[str, str], column: str | None, where: str) -> str:
    """The column that holds the text: the one that was named, else "text", else the only one of strings with words.

    Raises:
        DataError: there is no such column, it is not text, or several could be meant.

    >>> choose_column({"id": "numbers", "body": "text"}, None, "posts.csv")
    'body'
    """
    texts = [name for name, kind in kinds.items() if kind == _TEXT]
    if column is not None and column not in kinds:
        raise DataError(f"{where} has no column '{column}', only {listed(kinds)}{nearest(column, kinds) or '.'}")
    if column is not None and kinds[column] not in (_TEXT, _WORDLESS):
        raise DataError(f"The column '{column}' of {where} must be text. Got {kinds[column]} instead.")
    if column is None and not texts:
        got = ", ".join(f"'{name}' ({kind})" for name, kind in kinds.items())
        raise DataError(f"{where} must have a column of text. Got {got} instead: give another file.")
    if column is None and len(texts) > 1 and "text" not in texts:
        raise DataError(
            f"{where} has several columns of text, {listed(texts)}: name one with --column={quote(texts[0])}."
        )
    return column or ("text" if "text" in texts else texts[0])


def chosen_column(rows: list[dict[str, Any]], reading: Reading, where: str) -> str:
    """The column that holds the text, by the first rows; it is noted."""
    names = dict.fromkeys(name for row in rows for name in row)
    kinds = {name: _kind(name, [row.get(name) for row in rows[:_FIRST]]) for name in names}
    chosen = choose_column(kinds, reading.input, where)
    reading.bad.note(f"text: '{chosen}'")
    return chosen


def _kind(name: str, cells: Iterable[Any]) -> str:
    """What most of the cells of a column are that hold something; of one without any, text."""
    known = [cell for cell in cells if not is_empty(cell)]
    texts = [cell for cell in known if isinstance(cell, str)]
    if 2 * len(texts) < len(known):
        return _KINDS.get(type(next(cell for cell in known if not isinstance(cell, str))), "values")
    if not texts or name == "text":
        return _TEXT
    if all(map(is_number, texts)):
        return _NUMBERS
    return _WORDLESS if 2 * sum(map(is_wordless, texts)) > len(texts) else _TEXT


def _note_empty(count: int, reading: Reading, where: str) -> None:
    if count:
        reading.bad.note(f"{count:,} rows of {where} hold no text (null, or an empty line) and are left out")
