"""Columns of numbers that the training data have: other tables are made of the same ones, wherever these stand."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise, takewhile

from selfloop.data.tables.columns import listed
from selfloop.errors import DataError

_NUMBER = re.compile(r"\d+")


def lacks(known: Iterable[str], there: Iterable[str], has_them: str = "the training data have") -> str | None:
    """What is wrong, as the end of a sentence without a full stop, where a column that is known is not there.

    >>> lacks(["x", "y"], ["y", "z"])
    "has no column 'x', which the training data have, only 'y', 'z'"
    >>> lacks(["x", "y"], ["y", "x", "z"])
    """
    there = dict.fromkeys(there)
    missing = [name for name in known if name not in there]
    if not missing:
        return None
    return f"has no {_columns(missing)}, which {has_them}, only {listed(there)}"


def check_channels(where: str, known: Iterable[str], there: Iterable[str]) -> None:
    """Raises a DataError where a table with a row a step has not all channels of the training data."""
    if fault := lacks(known, there):
        raise _other_columns(where, fault)


def steps_of(where: str, known: Sequence[str], there: Sequence[str], numbers: Sequence[str]) -> list[str]:
    """The steps of a table with a row a series, in the order of the training data.

    The last ones may be missing, as a series may be shorter; and more may follow whose numbers go on without a gap:
    t101, t102 after t100.

    Args:
        where: the table.
        known: the steps of the training data, at least one.
        there: the columns.
        numbers: those that hold numbers.

    Raises:
        DataError: a step is missing before one that is there, or a column of numbers is no step.

    >>> steps_of("a.csv", ["t1", "t2"], ["t2", "note", "t1", "t4", "t3"], ["t2", "t1", "t4", "t3"])
    ['t1', 't2', 't3', 't4']
    """
    is_known, is_there = set(known), set(there)
    others = [name for name in numbers if name not in is_known]
    further = _further(known, others)
    steps = [*(name for name in known if name in is_there), *further]
    before = known if further or not steps else known[: known.index(steps[-1])]
    fault = lacks(before, there, f"the training data have before '{steps[-1]}'" if steps else "the training data have")
    if fault is None and (stray := [name for name in others if name not in further]):
        fault = f"has the {_columns(stray)}, which the training data have not, and which cannot follow '{known[-1]}'"
    if fault is not None:
        raise _other_columns(where, fault)
    return steps


def _further(known: Sequence[str], others: Iterable[str]) -> list[str]:
    """The columns that follow the steps, in order: of their name, with numbers that go on rising as theirs do."""
    stems = {_NUMBER.sub("#", name) for name in known}
    if len(stems) > 1 or _numbers(known[-1]) <= _numbers(known[0]):
        return []
    rises = {_rise(before, after) for before, after in pairwise(known)}
    higher = (name for name in others if _NUMBER.sub("#", name) in stems and _numbers(name) > _numbers(known[-1]))
    pairs = pairwise([known[-1], *sorted(higher, key=_numbers)])
    return [after for before, after in takewhile(lambda pair: {_rise(*pair)} == rises, pairs)]


def _rise(before: str, after: str) -> tuple[int, ...]:
    """By how much each number of a name is higher in the next."""
    return tuple(b - a for a, b in zip(_numbers(before), _numbers(after), strict=True))


def _numbers(name: str) -> list[int]:
    return [int(number) for number in _NUMBER.findall(name)]


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {listed(names)}"


def _other_columns(where: str, fault: str) -> DataError:
    return DataError(f"{where} {fault}: name its columns as the training data do.")
