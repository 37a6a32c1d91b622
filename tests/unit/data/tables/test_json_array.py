import io
import json

import pytest

from selfloop.data.examples import BadItems
from selfloop.data.reading import Reading
from selfloop.data.tables import json_array
from selfloop.data.tables.json_array import entries
from selfloop.data.tables.separated import TableFormat
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


@pytest.mark.parametrize("before", [1, 9_000])
def test_an_array_of_another_encoding_is_no_fault_of_its_json(tmp_path, before):
    path = tmp_path / "a.json"
    entries = [{"text": "to be or not"}] * before + [{"text": "né"}]
    path.write_bytes(json.dumps(entries, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.json is not utf-8: byte \d+ .* Name the encoding it has"):
        read_table(path, Reading())


HALF, WHOLE = '"\\ud83d"', '"\\ud83d\\ude00"'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{{"text": {0}}}\n{{"text": {1}}}\n'),
        ("a.jsonl", '{{"words": ["be", {0}]}}\n{{"words": [{{"to": {1}}}]}}\n'),
        ("a.jsonl", '{{{0}: 1}}\n{{{1}: 1}}\n'),
        ("a.jsonl", '{{"deep": ' + 900 * "[" + "{0}" + 900 * "]" + '}}\n{{"text": {1}}}\n'),
        ("a.json", '[{{"text": {0}}}, {{"text": {1}}}]'),
        ("a.csv", "words;n\n[{0}];1\n[{1}];2\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_half_of_a_surrogate_pair_is_a_row_that_cannot_be_used(tmp_path, monkeypatch, name, text, block):
    """It ended in an error of Python's where the text was encoded."""
    monkeypatch.setattr(json_array, "BLOCK", block)
    path = tmp_path / name
    path.write_text(text.format(WHOLE, WHOLE))
    format = TableFormat(quotes=False)
    whole = read_table(path, Reading(format=format))
    assert "😀" in str(whole.rows[0])
    path.write_text(text.format(WHOLE, HALF))
    with pytest.raises(DataError, match=r"(line|entry) [23] holds '\\ud83d', half of a pair of surrogates and no char"):
        read_table(path, Reading(format=format))
    bad = BadItems(skip=True)
    assert read_table(path, Reading(format=format, bad=bad)).rows == whole.rows[:1]
    assert len(bad.found) == 1


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_brackets_that_are_nested_too_deeply_are_said(tmp_path, monkeypatch, block):
    monkeypatch.setattr(json_array, "BLOCK", block)
    path = tmp_path / "a.json"
    path.write_text("[{}, " + "[" * 100_000 + "]" * 100_000 + "]")
    with pytest.raises(DataError, match=r"a\.json is not JSON \(its brackets are nested too deeply.*\)\. Fix it"):
        read_table(path, Reading())
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n" + "[" * 100_000 + "]" * 100_000)
    with pytest.raises(DataError, match=r"line 2 is not JSON \(its brackets are nested too deeply"):
        read_table(path, Reading())
