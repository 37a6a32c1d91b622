"""Tables with a row a step: their rows, gathered to a series each.

| id | time | x | y | label |
| -- | ---- | - | - | ----- |
| a | 1 | 0.5 | 2 | up |
| a | 2 | 0.7 | 3 | up |
| b | 1 | 0.1 | 2 | down |

has the series a and b, of 2 and 1 steps and the channels x and y. A series has a label a step, or one for all steps.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timezone
from math import isfinite
from typing import Any

from selfloop.data.examples import BadItems, Place, Unusable
from selfloop.data.labels import label_of
from selfloop.data.tables.columns import check, check_rivals, is_counter, is_empty, is_numeric, listed
from selfloop.data.tables.known import check_channels
from selfloop.data.tables.separated import TableFormat, is_number
from selfloop.data.tables.table import Table
from selfloop.errors import DataError

SERIES = "series"
"""The column of a gathered table that holds the numbers, [[...], ...]: a list a step, a number a channel."""


def gather(
    table: Table,
    format: TableFormat,
    *,
    input: str | None,
    known: Sequence[str] = (),
    label: str | None,
    id: str | None,
    named: bool,
    labels: Iterable[str],
    one_label: bool,
    bad: BadItems,
) -> tuple[Table, list[str]]:
    """A table with a row a series, and the columns that its channels are.

    Args:
        table: one with a row a step.
        format: has the column that tells the series apart (None: the table is one series) and the one that orders it
            (None: the rows are in order).
        input: the one column to take; None takes those that are known, or else all that hold numbers.
        known: the channels of the training data.
        label: the column of labels, if there is one.
        id: the column of ids, which is no channel.
        named: whether the user has named the column of labels.
        labels: names of columns that hold labels, which are not taken as input unseen.
        one_label: whether a series must have one label for all its steps; else a list of labels is kept, one a step.
        bad: takes the series that cannot be used.

    Raises:
        DataError: there is no such column, none of numbers, or not all that are known.
    """
    for option, column in (("series", format.series), ("time", format.time), ("input", input), ("id", id)):
        check(table, column, option)
    taken = {format.series, format.time, label, id}
    if input is not None:
        channels = [input]
    elif known:
        check_channels(table.where, known, table.columns)
        channels = [*known]
    else:
        rest = (
            name for name in table.columns if name not in taken and name.lower() != "split" and not is_counter(name)
        )
        channels = [name for name in rest if is_numeric(table, name)]
    if not channels:
        raise DataError(f"{table.where} must have columns of numbers to take as series. Got {listed(table.columns)}.")
    if not named:
        check_rivals(table, label, channels, labels)
    parts = [name for name in table.columns if name.lower() == "split" and name not in taken]
    groups: dict[str | None, list[int]] = {}
    for row, place in enumerate(table.places):
        key = "" if format.series is None else label_of(table.value(row, format.series))
        if key is None:
            bad.refuse(place, f"has nothing in column '{format.series}'")
        else:
            groups.setdefault(key, []).append(row)
    once = [*parts, label] if one_label and label is not None else parts
    found = Table(table.where, table.folder, [SERIES, *parts, *([] if label is None else [label])])
    for key, rows in groups.items():
        place = table.places[rows[0]]
        if format.series is not None:
            place = Place(f"{place} (series '{key}')", key)
        try:
            ordered = _in_order(table, rows, format.time)
            series: dict[str, Any] = {SERIES: [[_number(table, row, name) for name in channels] for row in ordered]}
            series |= {name: _one(table, rows, name) for name in once}
        except Unusable as fault:
            bad.refuse(place, str(fault))
            continue
        if label is not None and not one_label:
            series[label] = [table.value(row, label) for row in ordered]
        found.rows.append(series)
        found.places.append(place)
    of = "all rows" if format.series is None else f"the rows of one '{format.series}'"
    order = "" if format.time is None else f", by '{format.time}'"
    bad.note(f"a series: {of}{order}; channels: {listed(channels)}")
    return found, channels


def _in_order(table: Table, rows: list[int], column: str | None) -> list[int]:
    """The rows of a series by time."""
    if column is None:
        return rows
    times: dict[float, int] = {}
    for row in rows:
        time = _time(table.value(row, column))
        if time is None:
            raise Unusable(
                f"must hold a number or a date, as 2016-07-01 12:30, in column '{column}'. "
                f"It holds {str(table.value(row, column))[:40]!r} ({_line(table, row)})"
            )
        if time in times:
            raise Unusable(
                f"has two steps of time {str(table.value(row, column))[:40]!r} ({_line(table, times[time])}, "
                f"{_line(table, row)})"
            )
        times[time] = row
    return [times[time] for time in sorted(times)]


def _time(value: Any) -> float | None:
    """A number, or a date in seconds: as ISO 8601 has it, or with slashes behind a year of four digits.

    >>> _time("7.5"), _time("1970-01-02"), _time("1970-01-01T00:01:00Z"), _time("noon")
    (7.5, 86400.0, 60.0, None)
    >>> _time("1970/1/2"), _time("1970/01/02 00:01"), _time("01/02/1970")
    (86400.0, 86460.0, None)
    """
    if isinstance(value, int | float) or (isinstance(value, str) and is_number(value)):
        return float(value) if isfinite(float(value)) else None
    try:
        moment = value if isinstance(value, date) else datetime.fromisoformat(_as_iso(str(value).strip()))
    except ValueError:
        return None
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _as_iso(moment: str) -> str:
    return _SLASHED.sub(lambda found: "{}-{:0>2}-{:0>2}".format(*found.groups()), moment).replace("Z", "+00:00")


_SLASHED = re.compile(r"^(\d{4})/(\d{1,2})/(\d{1,2})(?!\d)")


def _number(table: Table, row: int, column: str) -> float:
    cell = table.value(row, column)
    if is_empty(cell) or not (isinstance(cell, int | float) or is_number(str(cell))):
        held = "nothing" if is_empty(cell) else repr(str(cell)[:40])
        raise Unusable(f"must hold a number in column '{column}'. It holds {held} ({_line(table, row)})")
    return float(cell)


def _one(table: Table, rows: list[int], column: str) -> Any:
    """The value that a column has in all rows of a series."""
    values = {label_of(value): value for row in rows if not is_empty(value := table.value(row, column))}
    if len(values) > 1:
        first, second, *_ = values
        raise Unusable(f"must have one value in column '{column}'. It has '{first}' and '{second}'")
    return next(iter(values.values()), None)


def _line(table: Table, row: int) -> str:
    return table.places[row].rpartition(", ")[2]
