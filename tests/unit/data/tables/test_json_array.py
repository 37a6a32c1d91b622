import io
import json

import pytest

from selfloop.data.reading import Reading
from selfloop.data.tables import json_array
from selfloop.data.tables.json_array import entries
from selfloop.data.tables.table import read_table
from selfloop.errors import DataError

VALUES = [{"text": 'a, ] " [', "n": 1.5}, [], [1, [2]], "long " * 40, 12345, None, True, {}, -1e3]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(json_array, "BLOCK", 7)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", ["", " \n"])
def test_entries_are_those_of_the_array_however_blocks_cut_it(indent, before):
    for first in range(len(VALUES)):
        values = VALUES[first:] + VALUES[:first]
        assert list(entries(io.StringIO(before + json.dumps(values, indent=indent) + "\n \n\n"))) == values
    assert list(entries(io.StringIO("[" + " " * 30 + "]"))) == []


@pytest.mark.parametrize("end", ["", ",", ", {", "} ]", "] 1", "] " + " " * 20 + "x", '  "b"]'])
def test_an_array_that_is_cut_short_or_goes_on_is_an_error(end):
    with pytest.raises(json.JSONDecodeError):
        list(entries(io.StringIO('[{"a": "bcdefghijk"}, 2345678' + end)))


def test_no_more_than_a_few_entries_are_read_before_the_first_is_there():
    file = io.StringIO(json.dumps([{"n": n} for n in range(1000)]))
    assert next(entries(file)) == {"n": 0}
    assert file.tell() < 30


def test_what_is_wrong_is_named_by_the_entry_before_it(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1}, {"a": 2}, {"a" 3}]')
    with pytest.raises(DataError, match=r"a\.json is not JSON \(Expecting ':' delimiter behind entry 2\)\. Fix it"):
        read_table(path, Reading())
