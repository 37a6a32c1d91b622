"""A quick run leaves out no row and no column of a table of combinations."""

from itertools import chain

import combinations
import pytest
from combinations import pairs, some

EVERY = ("a", "b", "c", "d", "e")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(combinations, "ALL", False)


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_parts_are_apart_and_make_the_whole(of):
    parts = [some(EVERY, number, of) for number in range(of)]
    assert sorted(chain(*parts)) == sorted(EVERY)
    assert some(EVERY, of, of) == parts[0]
    assert some(EVERY, "name", of) in parts


@pytest.mark.parametrize("columns", [(1,), (1, 2), (1, 2, 3, 4, 5, 6, 7)])
def test_each_row_and_each_column_has_a_pair(columns):
    found = pairs(EVERY, columns)
    assert {row for row, _ in found} == {*EVERY}
    assert {column for _, column in found} == {*columns}
    assert len(found) == max(len(EVERY), len(columns))


def test_all_is_all(monkeypatch):
    monkeypatch.setattr(combinations, "ALL", True)
    assert some(EVERY, 1, 3) == [*EVERY]
    assert len(pairs(EVERY, (1, 2))) == 10
