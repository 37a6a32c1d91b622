import json
import os
import unicodedata
from functools import partial

import numpy as np
import pytest
from read_data import read_classified, read_labelled, read_labelled_steps, read_steps, read_unlabelled, refused

from selfloop.data.examples import BadItems, Columns
from selfloop.data.reading import Reading
from selfloop.data.tables.separated import TableFormat
from selfloop.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def notes(source, **options):
    bad = BadItems()
    read_classified(source, bad=bad, **options)
    return bad.notes


refusal = partial(refused, read_classified, bad=BadItems())


def everything(dataset):
    rows = [
        (place, value.tolist(), label)
        for part in (dataset.train, dataset.valid)
        for place, value, label in zip(part.places, part.inputs, part.labels, strict=True)
    ]
    return [row[1:] for row in sorted(rows, key=lambda row: (len(row[0]), row[0]))]


# ------------------------------------------------------------------------------------------------ which column is taken


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "text,stars\na,1\nb,2\nc,1\n", "input: 'text' (text); label: 'stars'"),
        ("a.csv", "0,1,up\n1,2,a\n3,4,b\n5,6,a\n", "input: a series a row, the numbers in '0', '1'; label: 'up'"),
        ("a.jsonl", "".join(f'{{"x": [{n}], "y": {n % 2}}}\n' for n in range(4)), "input: 'x' (series); label: 'y'"),
    ],
)
def test_the_columns_that_are_taken_are_said(write, name, text, said):
    options = {"label": "up"} if "up" in text else {}
    assert notes(write(name, text), **options) == [said]


LONG = "date,load,label\n2016-07-01 00:00:00,5.8,low\n2016-07-01 01:00:00,7.1,high\n2016-07-01 02:00:00,6.0,low\n"


def test_a_timestamp_is_no_text(write):
    said = refusal(write("a.csv", LONG))
    assert "holds no input in its columns 'date', 'load', 'label'" in said
    assert "give --series and --time" in said
    assert notes(write("a.csv", LONG), input="date") == ["input: 'date' (text); label: 'label'"]


@pytest.mark.parametrize("cell", ["2016-07-01", "12:30", "5:30 PM", "1 2 3", "12 %"])
def test_numbers_and_times_are_no_text_unless_they_are_named(write, cell):
    path = write("a.csv", f"input,label\n{cell},a\n{cell},b\n{cell},a\n")
    assert "holds no input" in refusal(path)
    assert notes(path, input="input") == ["input: 'input' (text); label: 'label'"]


def test_numbers_alone_are_a_series(write):
    path = write("a.csv", "input,label\n7,a\n8,b\n9,a\n")
    assert notes(path) == ["input: a series a row, the numbers in 'input'; label: 'label'"]
    assert notes(path, input="input") == ["input: 'input' (text); label: 'label'"]


def test_of_two_columns_of_labels_none_becomes_input(write):
    path = write("a.csv", "a,b,label,target\n1,2,0,0\n3,4,1,1\n5,6,0,0\n")
    assert "has the columns 'label' and 'target', which both may hold the label" in refusal(path)
    assert notes(path, label="label") == ["input: a series a row, the numbers in 'a', 'b', 'target'; label: 'label'"]


def test_y_beside_z_is_a_coordinate(write):
    path = write("a.csv", "x,y,z,label\n1,2,3,up\n2,3,4,down\n3,4,5,up\n")
    assert notes(path) == ["input: a series a row, the numbers in 'x', 'y', 'z'; label: 'label'"]


@pytest.mark.parametrize("cells", [("3.5", "2.5"), ("2016-07-01", "2016-07-02"), ("12:30", "12:45")])
def test_a_number_or_a_time_is_no_word_to_label(write, cells):
    rows = "".join(f"{cell},{label}\n" for cell in cells for label in "ab")
    with pytest.raises(DataError, match=r"has the input 'x', which holds a number.*--series and --time"):
        read_labelled_steps(write("a.csv", f"x,label\n{rows}"), Reading())


def test_numbers_in_a_string_are_a_series_to_label(write):
    path = write("a.csv", "x,labels\n1 2.5 3,a b a\n4 5,b a\n6 7,a b\n")
    bad = BadItems()
    found = read_labelled_steps(path, Reading(bad=bad))
    assert (found.kind, found.train.inputs[0].shape[1]) == ("series", 1)
    assert bad.notes == ["input: 'x' (series); labels: 'labels'"]
    path = write("b.csv", "x,labels\n1 2.5 3,a b a\n4 five,b a\n6 7,a b\n")
    with pytest.raises(DataError, match=r"line 3 must hold numbers in column 'x'\. It holds 'five'"):
        read_labelled_steps(path, Reading())


def test_a_year_among_words_stays_a_word(write):
    path = write("a.csv", "text,labels\nin 1999,P N\n1999,N\nthe year,D N\n")
    found = read_labelled_steps(path, Reading())
    assert ["1999"] in [*found.train.inputs, *found.valid.inputs]


# ------------------------------------------------------------------------------------------------ labels that are twins


@pytest.mark.parametrize(
    ("one", "two", "how"),
    [
        ("Pos", "pos", "differ only in case"),
        ("1", "1.0", "are the same number"),
        ("True", "true", "differ only in case"),
        (*sorted(unicodedata.normalize(form, "é") for form in ("NFC", "NFD")), "look alike and differ in Unicode"),
    ],
)
def test_labels_that_may_be_one_are_said_and_stay_apart(write, one, two, how):
    path = write("a.jsonl", "".join(json.dumps({"text": "a", "label": name}) + "\n" for name in (one, two, one, two)))
    bad = BadItems()
    found = read_classified(path, bad=bad)
    assert {*found.train.labels} == {one, two}
    assert f"labels '{one}' and '{two}' {how}" in bad.notes[-1]
    assert bad.notes[-1].endswith("are they one?")
    steps = [{"words": ["a", "b"], "tags": [one, two]}] * 3
    bad = BadItems()
    read_labelled_steps(write("b.jsonl", "".join(json.dumps(row) + "\n" for row in steps)), Reading(bad=bad))
    assert how in bad.notes[-1]


def test_labels_that_differ_are_not_said(write):
    assert len(notes(write("a.csv", "text,label\na,1\nb,2\nc,-1\nd,one\ne,two\nf,1\n"))) == 1


# ------------------------------------------------------------------------------------------------ a row a step

WALKS = (
    "walk,second,x,y,z,note,gait\n"
    "a,2,3,30,0,n,slow\nb,1,7,70,0,n,fast\na,1,1,10,0,n,slow\nb,2,8,80,0,n,fast\nc,10,9,90,0,n,slow\nc,9,5,50,0,n,slow\n"
    "d,1,6,60,0,n,fast\n"
)
BY_WALK = TableFormat(series="walk", time="second")
SERIES = [
    ([[1, 10, 0], [3, 30, 0]], "slow"),
    ([[7, 70, 0], [8, 80, 0]], "fast"),
    ([[5, 50, 0], [9, 90, 0]], "slow"),
    ([[6, 60, 0]], "fast"),
]


def test_rows_of_one_series_are_one_example_in_the_order_of_time(write):
    path, bad = write("a.csv", WALKS), BadItems()
    found = read_classified(path, label="gait", format=BY_WALK, bad=bad)
    assert found.kind == "series"
    assert everything(found) == SERIES
    assert bad.notes == [
        "a series: the rows of one 'walk', by 'second'; channels: 'x', 'y', 'z'",
        "input: 'series' (series); label: 'gait'",
    ]
    places = [*found.train.places, *found.valid.places]
    assert f"{path}, line 2 (series 'a')" in places
    assert all(f"(series '{place.id}')" in place for place in places)


def test_rows_of_one_series_have_a_label_each_to_label(write):
    path = write("a.tsv", WALKS.replace(",", "\t"))
    found = read_labelled_steps(path, Reading(label="gait", format=BY_WALK))
    labels = [["slow"] * 2, ["fast"] * 2, ["slow"] * 2, ["fast"]]
    assert everything(found) == [(values, names) for (values, _), names in zip(SERIES, labels, strict=True)]
    changing = WALKS.replace("a,1,1,10,0,n,slow", "a,1,1,10,0,n,fast")
    found = read_labelled_steps(write("b.csv", changing), Reading(label="gait", format=BY_WALK))
    assert everything(found)[0][1] == ["fast", "slow"]


def test_dates_order_steps(write):
    rows = ["2016-07-01 10:00,2,b", "2016-07-01T09:00:00Z,1,a", "2016-06-30,0,a"]
    path = write("a.csv", "\n".join(["id,date,load,label", *(f"{s},{row}" for s in "pqr" for row in rows)]))
    found = read_labelled_steps(path, Reading(format=TableFormat(series="id", time="date")))
    assert everything(found) == [([[0], [1], [2]], ["a", "a", "b"])] * 3


def test_what_is_to_be_predicted_needs_no_labels(write):
    path = write("a.csv", WALKS.replace(",gait", "").replace(",slow", "").replace(",fast", ""))
    found = read_unlabelled(path, label="gait", format=BY_WALK, kind="series", bad=BadItems())
    assert [array.tolist() for array in found.inputs] == [values for values, _ in SERIES]
    steps = Reading(label="gait", format=BY_WALK, labelled=False)
    assert np.array_equal(read_steps(path, steps, kind="series", classes=["slow"]).inputs[0], SERIES[0][0])
    mixed = write("b.csv", WALKS.replace("a,1,1,10,0,n,slow", "a,1,1,10,0,n,fast"))
    assert len(read_unlabelled(mixed, label="gait", format=BY_WALK, kind="series", bad=BadItems())) == 4


def test_the_input_of_a_long_table_is_one_of_its_columns(write):
    found = read_classified(write("a.csv", WALKS), input="y", label="gait", format=BY_WALK, bad=BadItems())
    assert everything(found)[0] == ([[10], [30]], "slow")


def test_a_file_may_be_one_series_and_rows_may_be_in_order(write):
    path = write("a.csv", "t,v,label\n2,20,a\n1,10,b\n")
    found = read_steps(path, Reading(format=TableFormat(time="t")), kind="series", classes=["a", "b"])
    assert (found.inputs[0].tolist(), found.labels) == ([[10], [20]], [["b", "a"]])
    found = read_classified(
        write("b.csv", WALKS), label="gait", input="second", format=TableFormat(series="walk"), bad=BadItems()
    )
    assert everything(found)[0] == ([[2], [1]], "slow")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a,1,", "a,2,", "line 2 (series 'a') has two steps of time '2' (line 2, line 4)"),
        ("a,1,", "a,2.0,", "line 2 (series 'a') has two steps of time '2.0' (line 2, line 4)"),
        (
            "a,1,",
            "a,noon,",
            "must hold a number or a date, as 2016-07-01 12:30, in column 'second'. It holds 'noon'",
        ),
        ("a,1,1,", "a,1,,", "line 2 (series 'a') must hold a number in column 'x'. It holds nothing (line 4)"),
        ("a,1,1,", "a,1,one,", "must hold a number in column 'x'. It holds 'one' (line 4)"),
        ("a,1,1,10,0,n,slow", "a,1,1,10,0,n,fast", "must have one value in column 'gait'. It has 'slow' and 'fast'"),
        ("a,1,", ",1,", "line 4 has nothing in column 'walk'"),
    ],
)
def test_a_bad_series_is_named_or_left_out(write, old, new, said):
    path = write("a.csv", WALKS.replace(old, new))
    assert said in refusal(path, label="gait", format=BY_WALK)
    bad = BadItems(skip=True)
    left = [label for _, label in everything(read_classified(path, label="gait", format=BY_WALK, bad=bad))]
    assert (len(bad.found), left) in [(1, ["fast", "slow", "fast"]), (1, ["slow", "fast", "slow", "fast"])]


def test_columns_that_do_not_fit_are_refused(write):
    path = write("a.csv", WALKS)
    assert "no column 'wlak' for the series" in refusal(path, label="gait", format=TableFormat(series="wlak"))
    assert "no column 'minute' for the time" in refusal(path, label="gait", format=TableFormat(time="minute"))
    words = write("b.csv", "walk,gait\na,slow\nb,fast\n")
    assert "must have columns of numbers" in refusal(words, label="gait", format=TableFormat(series="walk"))
    both = write("c.csv", "walk,v,label,target\na,1,0,1\nb,2,1,0\n")
    assert "'label' and 'target', which both may" in refusal(both, format=TableFormat(series="walk"))


def test_a_split_column_tells_the_parts_of_long_tables(write):
    rows = "".join(f"{walk},{n},{label},{split}\n" for walk, split in zip("abcd", ("train", "train", "valid", "test"),
                   strict=True) for n, label in enumerate("xy"))  # fmt: skip
    path = write("a.csv", f"walk,v,label,split\n{rows}")
    found = read_labelled_steps(path, Reading(format=TableFormat(series="walk")))
    assert (len(found.train), len(found.valid), len(found.test)) == (2, 1, 1)
    path = write("b.csv", f"walk,v,label,split\n{rows.replace('d,1,y,test', 'd,1,y,train')}")
    with pytest.raises(DataError, match=r"series 'd'.*one value in column 'split'\. It has 'test' and 'train'"):
        read_labelled_steps(path, Reading(format=TableFormat(series="walk")))


def test_places_know_the_ids_of_their_rows(write):
    table = "id,ID,text,label\n" + "".join(f"{n},k{n},{'ab'[n % 2] * n},{'ab'[n % 2]}\n" for n in range(1, 9))
    path = write("a.csv", table)
    for named, of in ((None, "{}"), ("ID", "k{}")):
        found = read_classified(path, id=named)
        for place, text in zip(found.train.places, found.train.inputs, strict=True):
            assert place.id == of.format(len(text)) and place == f"{path}, line {len(text) + 1}"
    with pytest.raises(DataError, match="has no column 'key' for the id, only 'id', 'ID', 'text', 'label'"):
        read_classified(path, id="key")


def test_ids_are_neither_input_nor_label(write):
    rows = "".join(f"{n},{n},{-n},{'ab'[n % 2]}\n" for n in range(1, 9))
    found = read_classified(write("a.csv", "patient,t1,t2,label\n" + rows), id="patient")
    assert found.columns.steps == ("t1", "t2")
    for place, series in zip(found.train.places, found.train.inputs, strict=True):
        assert place.id == str(int(series[0, 0])) and series.tolist() == [[int(place.id)], [-int(place.id)]]
    found = read_classified(write("b.csv", "class,t1,t2,target\n" + rows), id="class")
    assert {*found.train.labels} == {*"ab"}
    refused(read_classified, write("c.csv", "code,text\n" + "".join(f"k{n},to be\n" for n in range(9))), id="code")
    long = write("d.csv", "walk,row,x,label\n" + "".join(f"{n % 4},{n},{n},{'ab'[n % 2]}\n" for n in range(16)))
    by_walk = {"format": TableFormat(series="walk")}
    assert read_classified(long, id="row", **by_walk).columns.channels == ("x",)
    said = refused(read_classified, long, id="key", **by_walk)
    assert "has no column 'key' for the id, only 'walk', 'row', 'x', 'label'" in said


def test_the_columns_of_a_table_without_numbers_are_listed(write):
    """Also where they are those of labels and ids alone."""
    path = write("a.csv", "id,label\nk1,a\nk2,b\n")
    said = refused(read_labelled, path, columns=Columns(steps=("t1", "t2")), kind="series", classes="ab")
    assert "has no columns 't1', 't2', which the training data have, only 'id', 'label': name" in said


@pytest.mark.parametrize("name", ["no\0file.csv", "pipe.csv", "folder.csv", "missing.csv"])
def test_a_row_that_names_no_file_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "1.csv").write_text("x\n1\n")
    rows = [{"path": name, "label": "a"}, *({"path": "1.csv", "label": label} for label in "ab" * 4)]
    (tmp_path / "all.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    bad = BadItems(skip=True)
    assert len(read_classified(tmp_path / "all.jsonl", bad=bad).train) == 7
    assert bad.found == [(f"{tmp_path / 'all.jsonl'}, line 1", f"names '{name}', and there is no such file")]


def test_ids_can_be_written_as_json(tmp_path):
    path = tmp_path / "a.jsonl"
    ids = [1, "x", 2.5, None, {"a": 1}, [1]]
    rows = [{"id": ids[n % 6], "text": "ab"[n % 2] * (n + 1), "label": "ab"[n % 2]} for n in range(12)]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    found = read_unlabelled(str(path), kind="text")
    assert [place.id for place in found.places][:6] == [1, "x", "2.5", None, "{'a': 1}", "[1]"]
