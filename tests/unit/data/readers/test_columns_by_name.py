"""Columns of numbers go by their names, which training chooses, in all parts and in all that a model reads later."""

import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from read_data import read_classified, read_labelled, read_labelled_steps, read_steps, read_unlabelled, refused

from selfloop.data.examples import BadItems, Columns
from selfloop.data.reading import Reading
from selfloop.data.tables.separated import TableFormat
from selfloop.errors import DataError

BY_WALK = TableFormat(series="walk", time="second")
LONG = [
    {"walk": walk, "second": second, "x": 10 * walk + second, "y": -second, "gait": "ab"[walk % 2]}
    for walk in range(4)
    for second in range(3)
]
WIDE = [{"t1": row, "t2": 10 + row, "t3": 20 + row, "label": "ab"[row % 2]} for row in range(4)]
NAMES = Columns(channels=("x", "y"))


@pytest.fixture
def write(tmp_path):
    """Writes some columns of rows as CSV, or as JSON Lines."""

    def write(name, rows, columns=None, header=True):
        columns = columns or [*rows[0]]
        if name.endswith(".jsonl"):
            text = "".join(json.dumps({column: row[column] for column in columns}) + "\n" for row in rows)
        else:
            lines = [",".join(str(row[column]) for column in columns) for row in rows]
            text = "\n".join([*([",".join(columns)] if header else []), *lines, ""])
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def classified(source, **options):
    return read_classified(source, label="gait", format=BY_WALK, bad=BadItems(), **options)


def values(examples):
    return [array.tolist() for array in examples.inputs]


# ------------------------------------------------------------------------------------------------ a column a channel


@pytest.mark.parametrize("name", ["{}.csv", "{}.jsonl"])
@pytest.mark.parametrize("given", [False, True])
def test_parts_have_the_channels_of_training_in_its_order(write, tmp_path, name, given):
    """Also where the file of another part stands before it, and has a column more."""
    rows = [{**row, "z": 5} for row in LONG]
    train = write(f"data/{name.format('train')}", LONG)
    others = {part: write(f"data/{name.format(part)}", rows, ["z", "y", "x", "gait", "second", "walk"])
              for part in ("valid", "test")}  # fmt: skip
    found = classified(train, **others) if given else classified(tmp_path / "data")
    assert values(found.train) == values(found.valid) == values(found.test)
    assert found.train.inputs[1].tolist() == [[10, 0], [11, -1], [12, -2]]
    assert found.columns == NAMES
    steps = read_labelled_steps(train, Reading(label="gait", format=BY_WALK), valid=others["valid"])
    assert values(steps.train) == values(steps.valid) == values(found.train)


def test_several_files_to_train_with_are_of_the_channels_of_the_first(write, tmp_path):
    for number, columns in enumerate((["walk", "second", "x", "y", "gait"], ["gait", "y", "x", "second", "walk"])):
        write(f"data/train-{number}.csv", LONG, columns)
        write(f"data/valid-{number}.csv", LONG, columns)
    found = classified(tmp_path / "data")
    for part in (found.train, found.valid):
        assert values(part)[:4] == values(part)[4:]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(order=st.sampled_from([*permutations(["walk", "second", "x", "y", "gait", "note"])]))
def test_a_trained_model_reads_the_same_numbers_in_any_order_of_columns(write, order):
    rows = [{**row, "note": row["second"]} for row in LONG]
    path = write("a.csv", rows, order)
    how = {"label": "gait", "format": BY_WALK, "columns": NAMES, "kind": "series"}
    expected = values(read_unlabelled(write("b.csv", LONG), **how))
    assert values(read_unlabelled(path, **how)) == values(read_labelled(path, classes="ab", **how)) == expected
    how.pop("kind")
    assert values(read_steps(path, Reading(**how), kind="series", classes="ab")) == expected


def test_channels_that_are_missing_are_named(write):
    path = write("a.csv", LONG, ["walk", "second", "x", "gait"])
    for how in ({"columns": NAMES}, {"columns": NAMES, "labelled": False}):
        said = refused(read_labelled, path, label="gait", format=BY_WALK, kind="series", classes="ab", **how)
        assert said == (
            f"{path} has no column 'y', which the training data have, only 'walk', 'second', 'x', 'gait': name its "
            "columns as the training data do."
        )
    said = refused(classified, write("train.csv", LONG), valid=path)
    assert f"{path} has no column 'y', which the training data have" in said


def test_a_channel_is_one_whatever_stands_in_its_first_rows(write):
    """A column of which no cell is a number is no channel, of a table that training knows nothing of."""
    rows = [{**row, "y": "" if row["walk"] < 3 else row["y"]} for row in LONG]
    bad = BadItems(skip=True)
    found = read_labelled(write("a.csv", rows), label="gait", format=BY_WALK, columns=NAMES, bad=bad, classes="ab")
    assert values(found) == [[[30, 0], [31, -1], [32, -2]]]
    assert "must hold a number in column 'y'. It holds nothing" in bad.found[0][1]


def test_a_channel_is_no_label_by_its_name(write):
    """'y' beside 'z' is a coordinate, and it still is where 'z' is missing."""
    how = {"format": BY_WALK, "columns": Columns(channels=("y", "z")), "kind": "series"}
    path = write("a.csv", LONG, ["walk", "second", "x", "y"])
    assert "has no column 'z', which the training data have" in refused(read_unlabelled, path, **how)


@pytest.mark.parametrize("name", ["target", "class", "y"])
def test_a_further_column_that_is_called_as_labels_are_is_passed_over(write, name):
    """Training would ask which of them is the label; what a model knows leaves no doubt about its channels."""
    rows = [{"walk": row["walk"], "x": row["x"], "label": row["gait"], name: row["second"]} for row in LONG]
    train, further = write("a.csv", rows, ["walk", "x", "label"]), write("b.csv", rows)
    how = {"format": TableFormat(series="walk")}
    assert "both may hold the label" in refused(read_classified, further, **how)
    found = read_classified(train, valid=further, **how)
    assert values(found.valid) == values(found.train)
    how |= {"columns": Columns(channels=("x",)), "kind": "series"}
    assert len(read_labelled(further, classes="ab", **how)) == len(read_unlabelled(further, **how)) == 4


def test_a_column_that_the_user_names_is_taken_as_it_is(write):
    how = {"label": "gait", "format": BY_WALK, "columns": Columns(channels=("x",)), "classes": "ab"}
    assert values(read_labelled(write("a.csv", LONG), input="y", **how))[0] == [[0], [-1], [-2]]


def test_columns_without_names_go_by_their_place(write):
    nameless = TableFormat(header=False, series="1", time="2")
    rows = [dict(zip("12345", row.values(), strict=True)) for row in LONG]
    path = write("a.csv", rows, header=False)
    found = read_classified(path, label="5", format=nameless, bad=BadItems())
    assert found.columns == Columns(channels=("3", "4"))
    how = {"label": "5", "format": nameless, "kind": "series", "classes": "ab"}
    assert values(read_labelled(path, columns=found.columns, **how))[1] == [[10, 0], [11, -1], [12, -2]]
    assert "has no columns 'x', 'y', which the training data have" in refused(read_labelled, path, columns=NAMES, **how)


# ------------------------------------------------------------------------------------------------ a column a step


def read_wide(path, steps="t1 t2 t3", **options):
    columns = Columns(steps=tuple(steps.split()))
    return values(read_unlabelled(path, columns=columns, kind="series", bad=BadItems(), **options))


@pytest.mark.parametrize("name", ["{}.csv", "{}.jsonl"])
@pytest.mark.parametrize("given", [False, True])
def test_parts_have_the_steps_of_training_in_its_order(write, tmp_path, name, given):
    train = write(f"data/{name.format('train')}", WIDE)
    valid = write(f"data/{name.format('dev')}", WIDE, ["t3", "label", "t1", "t2"])
    found = read_classified(train, valid=valid) if given else read_classified(tmp_path / "data")
    assert values(found.train) == values(found.valid)
    assert found.valid.inputs[1].tolist() == [[1], [11], [21]]
    assert found.columns == Columns(steps=("t1", "t2", "t3"))


@given(order=st.sampled_from([*permutations(["t1", "t2", "t3", "label", "note"])]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
def test_a_trained_model_reads_the_same_steps_in_any_order_of_columns(write, order):
    path = write("a.csv", [{**row, "note": "good morning"} for row in WIDE], order)
    assert read_wide(path) == [[[row], [10 + row], [20 + row]] for row in range(4)]


def test_a_series_may_end_before_those_of_training_or_after_them(write):
    assert read_wide(write("a.csv", WIDE, ["t2", "t1"]))[1] == [[1], [11]]
    longer = [{**row, "t5": 5, "t4": ""} for row in WIDE]
    assert "holds no number in column 't4', and numbers after it" in refused(read_wide, write("b.csv", longer))
    longer = [{**row, "t5": 5, "t4": 4} for row in WIDE]
    assert read_wide(write("c.csv", longer))[1] == [[1], [11], [21], [4], [5]]
    found = read_classified(write("a.csv", WIDE), valid=write("c.csv", longer))
    assert {len(array) for array in found.valid.inputs} == {5}


def test_steps_of_several_files_are_those_of_the_longest(write, tmp_path):
    longer = [{**row, "t4": 5} for row in WIDE]
    write("data/train-1.csv", WIDE)
    write("data/train-2.csv", longer, ["t4", "t3", "t2", "t1", "label"])
    found = read_classified(tmp_path / "data", valid=write("valid.csv", longer, ["t4", "t3", "t2", "t1", "label"]))
    assert found.columns == Columns(steps=("t1", "t2", "t3", "t4"))
    assert values(found.train)[4:] == values(found.valid)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("t1 t3 label", "has no column 't2', which the training data have before 't3', only 't1', 't3', 'label': name"),
        ("t3 label", "has no columns 't1', 't2', which the training data have before 't3'"),
        ("t1 t2 t4", "has no column 't3', which the training data have before 't4'"),
        (
            "t1 t2 t3 age",
            "has the column 'age', which the training data have not, and which cannot follow 't3': name",
        ),
        ("t1 t2 t3 t0", "has the column 't0', which the training data have not"),
        ("age t4", "has no columns 't1', 't2', 't3', which the training data have"),
    ],
)
def test_steps_that_do_not_follow_those_of_training_are_refused(write, columns, said):
    rows = [{**row, "age": 40, "t0": 1, "t4": 2} for row in WIDE]
    assert said in refused(read_wide, write("a.csv", rows, columns.split()))


@pytest.mark.parametrize(
    ("names", "following", "stray"),
    [
        ("t1 t2 t3", "t4 t5", "t6 t7 t10"),
        ("t10 t20 t30", "t40", "t31 t50"),
        ("v1990 v1995", "v2000 v2005", "v2001"),
        ("s1_t1 s1_t2", "s1_t3", "s1_t4 s2_t1"),
        ("t08 t09", "t10 t11", "t12"),
        ("t1", "", "t2"),
        ("t1 t2 t4", "", "t5 t6 t8"),
        ("t3 t2", "", "t1 t4"),
    ],
)
def test_steps_go_on_at_the_spacing_of_those_of_training(write, names, following, stray):
    """Of columns behind a gap nobody knows which steps they are."""
    there = [*names.split(), *following.split()]
    rows = [dict(zip([*there, *stray.split()], range(9), strict=False))] * 2
    assert read_wide(write("a.csv", rows, there[::-1]), names)[0] == [[number] for number in range(len(there))]
    for name in stray.split():
        path = write("b.csv", rows, [*names.split(), name])
        assert f"has the column '{name}', which the training data have not" in refused(read_wide, path, names)


def test_steps_without_a_rising_number_have_none_after_them(write):
    """Lags count down, and the next of months is not known."""
    for names in ("lag3 lag2 lag1", "Jan Feb Mar"):
        rows = [dict(zip([*names.split(), "lag4", "Apr"], range(5), strict=True))] * 2
        last = "lag4" if "lag" in names else "Apr"
        path = write("a.csv", rows, [*names.split(), last])
        assert f"has the column '{last}', which the training data have not" in refused(read_wide, path, names)


def test_a_table_without_names_or_labels_has_all_steps_of_training(write):
    """Without its labels the place of each step would be another."""
    rows = [dict(zip("1234", "a123", strict=True))] * 2
    how = {"steps": "2 3 4", "label": "1", "format": TableFormat(header=False)}
    assert read_wide(write("a.csv", rows, header=False), **how)[0] == [[1], [2], [3]]
    said = refused(read_wide, write("b.csv", rows, ["2", "3", "4"], header=False), **how)
    assert "has no column '4', which the training data have, and without names columns go by their place" in said
    shorter = write("c.csv", rows, ["1", "2", "3"], header=False)
    how = {"label": "1", "format": TableFormat(header=False), "columns": Columns(steps=("2", "3", "4"))}
    assert values(read_labelled(shorter, classes="a", **how))[0] == [[1], [2]]


# ------------------------------------------------------------------------------------------------ a file a series


@pytest.fixture
def folder(tmp_path):
    """A folder with a folder a class, of a file a series."""

    def folder(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return folder


def test_files_of_one_series_are_of_the_same_channels(folder, write):
    files = {
        "data/train/a/1.csv": "x,y\n1,2\n",
        "data/train/a/2.csv": "z,y,x\n9,2,1\n",
        "data/train/b/1.tsv": '"y"\t"x"\n2\t1\n',
        "data/train/b/2.csv": "y,x\n2,1\n",
        "data/valid/a/1.csv": "y,x\n2,1\n",
        "data/valid/b/1.csv": "x,y\n1,2\n",
    }
    found = read_classified(folder(files) / "data")
    assert values(found.train) == [[[1, 2]]] * 4 and values(found.valid) == [[[1, 2]]] * 2
    assert found.columns == NAMES
    new = folder({"new/1.csv": "y,x\n2,1\n"}) / "new"
    assert values(read_unlabelled(new, columns=NAMES, kind="series")) == [[[1, 2]]]
    listed = [{"path": f"data/train/{name}", "label": name[0]} for name in ("a/1.csv", "a/2.csv", "b/2.csv")] * 2
    listed = read_classified(write("list.csv", listed))
    assert values(listed.train) == [[[1, 2]]] * len(listed.train) and listed.columns == NAMES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x,z\n1,2\n", "has no column 'y', which the training data or other files have, only 'x', 'z'"),
        ("1,2\n", "names no columns in line 1, and other files have 'x', 'y'"),
        ("x,y,y\n1,2,3\n", "names the column 'y' twice"),
        ("x,y\n1,2,3\n", "has a line of 3 cells, and line 1 names 2 columns"),
    ],
)
def test_files_of_other_columns_are_refused(folder, text, said):
    files = {"a/1.csv": "x,y\n1,2\n", "a/2.csv": text, "b/1.csv": "x,y\n1,2\n"}
    assert said in refused(read_classified, folder(files))
    refused(read_classified, folder({"a/0.csv": text}))  # the first one, too


@pytest.mark.parametrize("text", ["sensor offline\n", "sensor offline\n1\n", "", "\n", "x,x\n1,2\n"])
@pytest.mark.parametrize("names", ["x,y\n", ""])
def test_one_file_does_not_name_the_channels_of_all(folder, text, names):
    """Neither the first one."""
    files = {f"{label}/{number}.csv": f"{names}1,2\n" for label in "ab" for number in range(1, 4)}
    bad = BadItems(skip=True)
    found = read_classified(folder({**files, "a/0.csv": text}), bad=bad)
    assert len(found.train) + len(found.valid) == 6 and len(bad.found) == 1 and "0.csv" in bad.found[0][0]
    assert found.columns == (NAMES if names else Columns())


def test_it_is_said_where_most_files_name_no_columns_and_some_do(folder):
    files, bad = {f"{label}/{number}.csv": "1,2\n" for label in "ab" for number in range(3)}, BadItems()
    found = read_classified(folder({**files, "a/0.csv": "x,y\n1,2\n"}), bad=bad)
    assert values(found.train) + values(found.valid) == [[[1, 2]]] * 6
    assert bad.notes == ["most files name no columns in line 1: channels go by their place"]


def test_most_files_name_the_channels_in_the_order_of_their_first(folder):
    files = {"a/1.csv": "z\n1\n", "a/2.csv": "y,x\n2,1\n", "b/1.csv": "x,y\n1,2\n", "b/2.csv": "x,y\n1,2\n"}
    bad = BadItems(skip=True)
    found = read_classified(folder(files), bad=bad)
    assert found.columns == Columns(channels=("y", "x"))
    assert values(found.train) + values(found.valid) == [[[2, 1]]] * 3 and len(bad.found) == 1


def test_names_in_quotes_may_hold_separators(folder):
    files = {f"{label}/{n}.csv": '"acc x, m/s2", "5, 6",gyro\n1,2,3\n' for label in "ab" for n in range(3)}
    files["b/2.csv"] = 'gyro,"acc x, m/s2","5, 6"\n3,1,2\n'
    found = read_classified(folder(files))
    assert found.columns == Columns(channels=("acc x, m/s2", "5, 6", "gyro"))
    assert values(found.train) + values(found.valid) == [[[1, 2, 3]]] * 6


def test_a_table_beside_texts_names_no_channels(folder):
    files = {f"{label}/{number}.txt": "to be" for label in "ab" for number in range(3)}
    assert read_classified(folder({**files, "a/notes.csv": "x,y\n1,2\n"}), bad=BadItems(skip=True)).columns == Columns()


def test_files_that_name_no_columns_go_by_their_place(folder):
    files = {f"data/{label}/{n}.csv": "1,2\n" for label in "ab" for n in range(3)}
    found = read_classified(folder(files) / "data")
    assert found.columns == Columns()
    np.save(folder({"new/1.csv": "5,6\n"}) / "new" / "2.npy", np.array([[7, 8]]))
    new = folder({"new/3.csv": "5,6\n"}) / "new"
    assert values(read_unlabelled(new, columns=found.columns, kind="series")) == [[[5, 6]], [[7, 8]], [[5, 6]]]
    (new / "1.csv").unlink()
    (new / "3.csv").unlink()
    assert values(read_unlabelled(new, columns=NAMES, kind="series")) == [[[7, 8]]]  # an array has no names


def test_a_column_of_lists_has_no_names(write):
    path = write("a.jsonl", [{"series": [[1, 2], [3, 4]], "label": "ab"[n % 2]} for n in range(8)])
    assert read_classified(path).columns == Columns()
    with pytest.raises(DataError, match="no column 'y'"):
        classified(write("b.csv", LONG), valid=write("c.csv", LONG, ["walk", "second", "x", "gait"]))
