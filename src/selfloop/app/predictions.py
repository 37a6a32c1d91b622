"""Predictions as a table."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from selfloop.atomic import replacing
from selfloop.data.tables.separated import cells_of_any_length

Rows = Iterable[Mapping[str, Any]]
"""The cells of each row, by column."""


def save_table(path: Path, rows: Rows) -> None:
    """Write rows as CSV in UTF-8 to a file, which is there whole or not at all."""
    with replacing(path) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")  # of half a surrogate pair
        write_rows(rows, text)
        text.detach()


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a file that `save_table` has written."""
    with cells_of_any_length(), path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(rows: Rows, file: TextIO) -> None:
    """Write rows as CSV, with the columns that any of them has in line 1; of no rows nothing."""
    rows = [*rows]
    if rows:
        table = csv.DictWriter(file, dict.fromkeys(name for row in rows for name in row), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    file.flush()


def write_as_they_come(rows: Rows, file: TextIO) -> None:
    """Write rows as CSV, each at once, with the columns of the first in line 1."""
    table = None
    for row in rows:
        if table is None:
            table = csv.DictWriter(file, row, lineterminator="\n")
            table.writeheader()
        table.writerow(row)
        file.flush()
