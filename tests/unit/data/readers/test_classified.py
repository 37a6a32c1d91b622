import io
import json
import os
import sys
from collections import Counter
from functools import partial

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from read_data import read_classified, read_labelled, read_unlabelled, refused

from selfloop.data.examples import BadItems, Items
from selfloop.data.readers.classified import ClassReader
from selfloop.data.reading import Reading
from selfloop.data.tables.separated import TableFormat
from selfloop.errors import ConfigError, DataError


@pytest.fixture
def place(tmp_path):
    """Writes files, by their path in an empty folder, and gives the folder."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, np.ndarray):
                np.save(path, content)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def read(source, *, skip=False, **options):
    return read_classified(source, bad=BadItems(skip), **options)


def everything(dataset):
    """Input and label of all examples that are not for testing, whatever was held out, in the order of their places."""
    rows = [
        (place, value.tolist() if isinstance(value, np.ndarray) else value, label)
        for part in (dataset.train, dataset.valid)
        for place, value, label in zip(part.places, part.inputs, part.labels, strict=True)
    ]
    return [row[1:] for row in sorted(rows)]


refusal = partial(refused, read)


def lines(*rows):
    return "\n".join(json.dumps(row) for row in rows)


FOUR = "text,label\na,x\nb,y\nc,x\nd,y\n"

# ------------------------------------------------------------------------------------------------ tables


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet"])
def test_a_table_of_text_and_labels_is_read(tmp_path, name):
    rows = [{"text": "to, be", "label": "007"}, {"text": "or\n not", "label": "7"}, {"text": "NA", "label": "null"}]
    if name == "a.parquet":
        datasets.Dataset.from_list(rows).to_parquet(tmp_path / name)
    elif name.startswith("a.j"):
        (tmp_path / name).write_text(lines(*rows) if name == "a.jsonl" else json.dumps(rows))
    else:
        sep = "," if name == "a.csv" else "\t"
        (tmp_path / name).write_text(f'text{sep}label\n"to, be"{sep}007\n"or\n not"{sep}7\nNA{sep}null\n', newline="")
    quoted = TableFormat(quotes=True)
    dataset = read(tmp_path / name, valid_fraction=0.5, valid=tmp_path / name, format=quoted)
    assert dataset.kind == "text"
    assert [*zip(dataset.train.inputs, dataset.train.labels, strict=True)] == [tuple(row.values()) for row in rows]


def test_a_place_is_the_line_where_a_row_begins(place):
    folder = place({"a.csv": 'text,label\n"a\nb",x\n\nc,y\nd,x\n', "b.jsonl": '{"text":"a","label":1}\n\n{"text": 1}'})
    assert sorted(read(folder / "a.csv", valid=folder / "a.csv").train.places) == [
        f"{folder / 'a.csv'}, line {n}" for n in (2, 5, 6)
    ]
    assert refusal(folder / "b.jsonl").startswith(f"{folder / 'b.jsonl'}, line 3 has no label. Fix it")


def test_labels_are_strings_whatever_a_table_holds(place):
    folder = place({"a.jsonl": lines(*({"text": "a", "label": label} for label in (1, 2.0, "1", True, 2.5)))})
    assert sorted(label for _, label in everything(read(folder / "a.jsonl"))) == ["1", "1", "2", "2.5", "true"]


def test_columns_are_found_by_name_or_named(place):
    folder = place(
        {
            "known.csv": "id,Sentence,Category,note\n1,a,x,n\n2,b,y,n\n3,c,x,n\n",
            "two.csv": "text,mood\na,x\nb,y\nc,x\n",
            "other.csv": "name,nation,n\na,x,1\nb,y,2\nc,x,3\n",
            "iris.csv": "width,height,species\n1,2,a\n3,4,b\n5,6,a\n",
        }
    )
    expected = [("a", "x"), ("b", "y"), ("c", "x")]
    assert everything(read(folder / "known.csv")) == expected
    assert everything(read(folder / "two.csv")) == expected
    assert everything(read(folder / "other.csv", input="name", label="nation")) == expected
    assert "has the columns 'name', 'nation', 'n', of which none is known to hold the input: name one with" in refusal(
        folder / "other.csv"
    )
    assert "no column 'nmae' for the input, only 'name', 'nation', 'n'; did you mean 'name'?" in refusal(
        folder / "other.csv", input="nmae"
    )
    assert "name one with label='species' (on the command line --label=species)" in refusal(folder / "iris.csv")
    assert everything(read(folder / "iris.csv", label="species"))[0] == ([[1.0], [2.0]], "a")


def test_a_wide_table_is_a_series_a_row_and_empty_cells_at_its_end_make_it_shorter(place):
    path = place({"a.csv": "id,label,0,1,2\n7,x,1,2,3\n8,y,4,5,\n9,x,6,,\n"}) / "a.csv"
    assert everything(read(path)) == [([[1], [2], [3]], "x"), ([[4], [5]], "y"), ([[6]], "x")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("x,1,,3", "line 4 holds no number in column '1', and numbers after it"),
        ("x,1,two,3", "line 4 must hold a number in column '1'. It holds 'two'"),
        ("x,,,", "line 4 is an empty series"),
        ("x,1,nan,3", "line 4 holds NaN at step 2, channel 1"),
        (",1,2,3", "line 4 has no label"),
        ("x,1,2,3,4", "line 4 has 5 cells, and line 1 names 4 columns"),
    ],
)
def test_a_bad_row_of_a_wide_table_is_refused_or_skipped(place, row, said):
    path = place({"a.csv": f"label,0,1,2\nx,1,2,3\ny,1,2,3\n{row}\nx,3,2,1\n"}) / "a.csv"
    assert said in refusal(path)
    bad = BadItems(skip=True)
    assert len(everything(read_classified(path, bad=bad))) == 3
    assert [where for where, _ in bad.found] == [f"{path}, line 4"]


def test_lists_of_numbers_are_series(place):
    rows = [{"series": [1, 2.5], "label": 0}, {"series": [3], "label": 1}, {"series": [4, 5, 6], "label": 0}]
    folder = place({"a.jsonl": lines(*rows)})
    datasets.Dataset.from_list(rows).to_parquet(folder / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        assert everything(read(folder / name)) == [([[1], [2.5]], "0"), ([[3]], "1"), ([[4], [5], [6]], "0")], name


def test_a_table_of_cells_that_are_lists_is_read_as_json_lines_are(place):
    folder = place({"a.csv": 'series,label\n"[1, 2.5]",0\n[3],1\n"[[4], [5], [6]]",0\n'})
    assert everything(read(folder / "a.csv")) == [([[1], [2.5]], "0"), ([[3]], "1"), ([[4], [5], [6]], "0")]
    folder = place({"b.csv": "series,label\n[1],a\n[1,b\n[2],b\n[3],a\n", "c.csv": "series,label\n1 2,a\n3 4,b\n"})
    assert "b.csv, line 3 must hold a list of numbers, as [1, 2.5], in column 'series'" in refusal(folder / "b.csv")
    assert "c.csv, line 2 must hold a list of numbers, as [1, 2.5], in column 'series'" in refusal(folder / "c.csv")
    folder = place({"d.csv": "text,label\n[sic],a\n[1],b\n[oh!],a\n"})
    assert everything(read(folder / "d.csv")) == [("[sic]", "a"), ("[1]", "b"), ("[oh!]", "a")]


def test_lists_of_lists_are_series_of_channels_and_their_number_is_one(place):
    good = [{"x": [[1, 2], [3, 4]], "y": "a"}, {"x": [[5, 6]], "y": "b"}, {"x": [[0, 0]], "y": "a"}]
    folder = place({"a.jsonl": lines(*good), "b.jsonl": lines(*good, {"x": [[1, 2, 3]], "y": "a"})})
    assert everything(read(folder / "a.jsonl"))[0] == ([[1, 2], [3, 4]], "a")
    assert "b.jsonl, line 4 has 3 channels, where others have 2" in refusal(folder / "b.jsonl")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1, None], "holds NaN at step 2"),
        ([[1, 2], [3]], "steps of unequal numbers of values"),
        ([], "is an empty series"),
        (["a", "b"], "must hold numbers. It holds 'a'"),
        ([10**400], "too large for float32"),
        ([1e300], "holds 1e+300, too large for float32"),
        ([[[1]]], "must hold numbers"),
        (None, "has no series in column 'x'"),
        ("abc", "must hold a list of numbers, as [1, 2.5], in column 'x'. It holds 'abc'"),
    ],
)
def test_a_list_that_is_no_series_is_refused(place, value, said):
    folder = place({"a.jsonl": lines({"x": [1], "y": 1}, {"x": [1], "y": 2}, {"x": value, "y": 1})})
    message = refusal(folder / "a.jsonl")
    assert "a.jsonl, line 3 " in message
    assert said in message


def test_paths_in_a_table_are_relative_to_it(place):
    folder = place(
        {"s/1.npy": np.array([1, 2]), "s/2.csv": "a,b\n3,4\n", "t.csv": "path,label\ns/1.npy,x\ns/1.npy,y\n"}
    )
    Image.new("L", (2, 1), 9).save(folder / "i.png")
    place({"i.csv": "file,label\ni.png,x\ni.png,y\n", "gone.csv": "file,label\ni.png,x\nj.png,y\ni.png,y\n"})
    assert everything(read(folder / "t.csv", valid=folder / "t.csv"))[0] == ([[1], [2]], "x")
    assert everything(read(folder / "i.csv", valid=folder / "i.csv"))[1] == ([[9], [9]], "x")
    assert "gone.csv, line 3 names 'j.png', and there is no such file" in refusal(folder / "gone.csv")
    place({"j.png": b"no image"})
    assert "names 'j.png', which cannot be read as an image" in refusal(folder / "gone.csv")


def test_a_path_that_is_another_kind_of_file_is_refused_and_the_others_are_read(place):
    """It made texts of all paths, in which folders are named like the classes."""
    rows = [{"image": f"{n}.png", "label": "ab"[n % 2]} for n in range(5)] + [{"image": "x.heic", "label": "a"}]
    image = io.BytesIO()
    Image.new("L", (2, 2)).save(image, "PNG")
    place({f"{n}.png": image.getvalue() for n in range(5)})
    folder = place({"a.jsonl": lines(*rows)})
    assert "line 6 names 'x.heic'" in refusal(folder / "a.jsonl")
    assert len(everything(read(folder / "a.jsonl", skip=True))) == 5


def test_a_counter_is_no_label(place):
    folder = place({"a.csv": "id,x1,x2,quality\n1,1,2,3\n1,2,3,4\n2,3,4,5\n2,4,5,6\n", "b.csv": "id,text\n1,a\n1,b\n"})
    for name in ("a.csv", "b.csv"):
        assert "holds no labels in its columns" in refusal(folder / name)


def test_the_column_split_is_no_input_of_what_is_predicted(place):
    folder = place({"a.csv": "split,t0,t1\ntrain,1,2\ntest,3,4\n", "b.csv": "review,split\nfine,train\n"})
    assert [v.tolist() for v in read_unlabelled(folder / "a.csv", bad=BadItems()).inputs] == [[[1], [2]], [[3], [4]]]
    assert read_unlabelled(folder / "b.csv", bad=BadItems()).inputs == ["fine"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_file_without_the_mark_that_its_encoding_has_is_said(place, encoding):
    folder = place({"a.csv": FOUR})
    assert f"a.csv is not {encoding}" in refusal(folder / "a.csv", encoding=encoding)


def test_a_first_record_of_many_lines_is_one(place):
    long = '"' + "Dear all;\n" * 80 + '"'
    folder = place({"a.csv": f"{long},x\nb,y\nc,x\nd,y\n"})
    options = {"format": TableFormat(header=False), "input": "1", "label": "2"}
    assert len(everything(read(folder / "a.csv", **options))) == 4


def test_kind_text_reads_numbers_and_paths_as_they_are_written(place):
    path = place({"a.csv": "x,label\n1.png,a\n2.png,b\n3.png,a\n"}) / "a.csv"
    assert everything(read(path, kind="text"))[0] == ("1.png", "a")


def test_a_table_of_images_as_datasets_stores_them_is_read(tmp_path):
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]))
    images = [Image.new("L", (2, 2), n) for n in range(4)]
    table = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 0, 1]}, features=features)
    table.to_parquet(tmp_path / "a.parquet")
    assert everything(read(tmp_path / "a.parquet", scan="rows"))[1] == ([[1, 1], [1, 1]], "dog")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", FOUR + " ,x\n", "line 6 has no text in column 'text'"),
        ("a.csv", FOUR + "e, \n", "line 6 has no label"),
        ("a.csv", FOUR + "e\n", "line 6 has no label"),
        ("a.csv", FOUR + '"e,x\n', "is not CSV"),
        ("a.csv", "", "must hold rows"),
        ("a.csv", "text,text\na,b\n", "Got 'text' twice"),
        ("a.csv", b"text,label\na\0\0b,x\n", "binary"),
        ("a.csv", "text,label\né,x\n".encode("latin-1"), "is not utf-8: byte 11 (line 2)"),
        ("a.csv", "text,label\na,x\nb,x\n", "must hold two labels or more to train on. All that it has is 'x'"),
        ("a.csv", "text,label\na,x\nb,y\n", "one example of each class"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text"', "line 2 is not JSON"),
        ("a.jsonl", '{"text": "a", "label": 1}\n[1]', "line 2 must be one JSON object"),
        ("a.json", "[1,", "is not JSON"),
        ("a.jsonl", lines({"text": ["a"], "label": 1}), "line 1 must hold numbers"),
        ("a.parquet", b"nothing", "cannot be read as parquet"),
        ("a.txt", "a\nb\n", "holds no labelled examples"),
        ("a.npy", b"", "holds no labelled examples"),
    ],
)
def test_a_bad_table_is_refused_in_one_sentence_that_names_it(place, name, content, said):
    path = place({name: content}) / name
    message = refusal(path)
    assert said in message
    assert str(path) in message
    assert "\n" not in message


# ------------------------------------------------------------------------------------------------ folders


def test_a_folder_for_each_class_holds_a_file_for_each_example(place):
    series = place({f"{label}/{n}.npy": np.arange(n + 1) for label in ("up", "down") for n in range(3)})
    found = everything(read(series))
    assert Counter(label for _, label in found) == {"up": 3, "down": 3}
    assert ([[0], [1], [2]], "up") in found


def test_folders_of_text_and_of_csv_are_read(place):
    files = {f"t/{label}/{n}.txt": f"{label} {n}\nmore\n" for label in ("pos", "neg") for n in range(2)}
    folder = place(files | {f"c/{label}/{n}.csv": f"{n},1\n{n},2\n" for label in ("pos", "neg") for n in range(2)})
    assert everything(read(folder / "t"))[0] == ("neg 0\nmore", "neg")
    assert everything(read(folder / "c"))[0] == ([[0, 1], [0, 2]], "neg")


def test_split_folders_above_the_classes_mark_the_splits(place):
    folder = place({f"{s}/{c}/1.txt": f"{s} {c}" for s in ("train", "val", "test") for c in ("a", "b")})
    dataset = read(folder)
    assert [part.inputs for part in (dataset.train, dataset.valid, dataset.test)] == [
        [f"{split} a", f"{split} b"] for split in ("train", "val", "test")
    ]


def test_classes_may_be_called_as_splits_are(place):
    folder = place({f"{c}/{n}.txt": c for c in ("train", "car") for n in range(2)})
    assert {label for _, label in everything(read(folder))} == {"train", "car"}


def test_a_file_for_each_class_holds_a_line_for_each_example(place):
    folder = place({"Irish.txt": "Adam\n\nByrne\n", "Greek.txt": "Kaló\r\nChris", "README.txt": "about"})
    dataset = read(folder)
    assert everything(dataset) == [("Kaló", "Greek"), ("Chris", "Greek"), ("Adam", "Irish"), ("Byrne", "Irish")]
    assert f"{folder / 'Irish.txt'}, line 3" in dataset.train.places + dataset.valid.places


def test_the_name_of_a_class_may_hold_dots(place):
    folder = place({"New.York.txt": "a\nb", "New.Jersey.txt": "c\nd"})
    assert {label for _, label in everything(read(folder))} == {"New.York", "New.Jersey"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom a folder can refuse")
def test_a_folder_that_cannot_be_read_is_said(place):
    folder = place({"a/1.txt": "a", "b/1.txt": "b"})
    (folder / "b").chmod(0)
    assert "cannot be read (Permission denied)" in refusal(folder)
    (folder / "b").chmod(0o700)


def test_files_whose_names_mark_splits_are_the_splits(place):
    folder = place({"x_train.csv": FOUR, "x_dev.csv": FOUR, "test.csv": "text,label\nt,x\n"})
    dataset = read(folder)
    assert (len(dataset.train), len(dataset.valid), dataset.test.inputs) == (4, 4, ["t"])
    place({"more.csv": FOUR})
    assert "more.csv, of which no name tells the use" in refusal(folder)


def test_a_file_of_another_kind_in_a_class_is_refused(place):
    folder = place({"a/1.txt": "a", "a/2.txt": "a", "b/1.txt": "b", "b/2.pdf": "x", ".git/c": "", "b/Thumbs.db": ""})
    assert "2.pdf is none of the text that other files here are" in refusal(folder)
    assert len(everything(read(folder, skip=True))) == 3


@pytest.mark.parametrize(
    ("content", "said"), [("", "is an empty text"), (b"\0\1", "is binary"), (b"\xff\xfe\xff", "is no text of encoding")]
)
def test_a_bad_text_file_is_refused(place, content, said):
    folder = place({"a/1.txt": "a", "a/2.txt": "a", "b/1.txt": "b", "b/2.txt": content})
    assert f"{folder / 'b' / '2.txt'} {said}" in refusal(folder)
    assert len(everything(read(folder, skip=True))) == 3


def test_a_folder_without_examples_is_refused(place):
    assert "holds no labelled examples" in refusal(place({}))
    assert "holds no examples" in refusal(place({"a/1.pdf": "x"}))


def test_real_surnames_are_read(real_data):
    dataset = read(real_data("names"))
    assert len(dataset.train) + len(dataset.valid) == 20_050
    assert len(set(dataset.train.labels)) == 18


# ------------------------------------------------------------------------------------------------ splits


@given(
    st.lists(st.sampled_from("abcd"), min_size=2, max_size=60).filter(lambda labels: max(Counter(labels).values()) > 1),
    st.floats(0.01, 0.99),
    st.integers(0, 9),
)
def test_what_is_held_out_is_a_seeded_share_of_each_class_and_leaves_one(labels, fraction, seed):
    items = Items("text", [str(n) for n in range(len(labels))], list(labels), [str(n) for n in range(len(labels))])
    train, valid = ClassReader(Reading()).hold_out(items, fraction, seed, "here")
    assert sorted(train.inputs + valid.inputs) == sorted(items.inputs)
    assert set(train.labels) == set(labels)
    assert valid.inputs
    assert ClassReader(Reading()).hold_out(items, fraction, seed, "here") == (train, valid)
    for label, count in Counter(labels).items():
        assert abs(valid.labels.count(label) - count * fraction) <= 1.5 or valid.labels.count(label) == count - 1


def test_another_seed_holds_out_others(place):
    path = place({"a.csv": "text,label\n" + "".join(f"{n},{n % 2}\n" for n in range(100))}) / "a.csv"
    assert len(read(path).valid) == 10
    assert read(path, seed=1).valid.inputs == read(path).valid.inputs != read(path, seed=2).valid.inputs


def test_a_class_that_training_does_not_have_is_refused(place):
    folder = place({"train.csv": FOUR, "test.csv": "text,label\na,x\nb,new\n"})
    assert "test.csv, line 3 has label 'new', which no training example has" in refusal(folder)
    assert read(folder, skip=True).test.labels == ["x"]
    place({"test.csv": "text,label\nb,new\n"})
    with pytest.raises(DataError, match=r"The test part of .* must hold examples. None of its 1 can be used"):
        read(folder, skip=True)


def test_valid_and_test_may_be_sources_of_their_own(place):
    folder = place(
        {"a.csv": FOUR, "v/valid.csv": "text,label\nv,x\n", "v/train.csv": FOUR, "t.csv": "text,label\nt,y\n"}
    )
    dataset = read(folder / "a.csv", valid=folder / "v", test=folder / "t.csv")
    assert (dataset.name, len(dataset.train), dataset.valid.inputs, dataset.test.inputs) == ("a", 4, ["v"], ["t"])


def test_nothing_left_to_train_on_is_refused(place):
    path = place({"a.csv": "text,label\n ,x\n ,y\n"}) / "a.csv"
    with pytest.raises(DataError, match="has no examples that can be used"):
        read(path, skip=True)


def test_parts_of_several_kinds_are_refused(place):
    folder = place({"a.csv": FOUR, "b.csv": "label,0,1\nx,1,2\n"})
    assert "must be alike. They hold series and text" in refusal(folder / "a.csv", test=folder / "b.csv")


def test_options_that_do_not_exist_are_refused(place):
    path = place({"a.csv": FOUR}) / "a.csv"
    with pytest.raises(ConfigError, match=r"'valid_fraction' must be above 0 and below 1\. Got 1"):
        read(path, valid_fraction=1.0)
    with pytest.raises(ConfigError, match="did you mean 'utf-8'"):
        read(path, encoding="utf-9")


# ------------------------------------------------------------------------------------------------ the hub, and nothing


def test_a_dataset_on_the_hub_brings_its_splits_and_names_of_classes(monkeypatch):
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["neg", "pos"]))

    def split(*labels):
        return datasets.Dataset.from_dict({"text": ["a"] * len(labels), "label": labels}, features=features)

    found = {"train": split(0, 1, 1), "test": split(1), "extra": split(0)}
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config: found if name == "some/reviews" else {}[name])
    dataset = read("some/reviews")
    assert (dataset.name, dataset.test.labels) == ("reviews", ["pos"])
    assert sorted(dataset.train.labels + dataset.valid.labels) == ["neg", "pos", "pos"]
    assert "'nowhere' is no file or folder here, nor a dataset" in refusal("nowhere")
    del found["train"]
    assert "must have a split 'train'. Got 'test' instead" in refusal("some/reviews")


def test_what_can_only_be_a_path_is_not_asked_of_the_hub(place, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: pytest.fail("the hub was asked"))
    monkeypatch.chdir(place({"a.csv": FOUR}))
    for name in ("b.csv", "b_TRAIN.ts", "./b"):
        assert refusal(name).startswith("There is no file or folder")


def test_the_embedded_default_is_the_digits_pixel_by_pixel():
    dataset = read(None)
    assert (dataset.name, dataset.kind, len(dataset.train), len(dataset.valid)) == ("digits", "series", 1617, 180)
    assert dataset.train.inputs[0].shape == (64, 1)
    assert dataset.train.inputs[0].dtype == np.uint8
    assert read(None, scan="rows", size=(4, 2)).train.inputs[0].shape == (4, 2)


def test_without_scikit_learn_the_default_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "pip install 'selfloop[demo]'" in refusal(None)


# ------------------------------------------------------------------------------------------------ to predict, to score


def predict(source, **options):
    return read_unlabelled(source, bad=BadItems(), **options)


def test_what_is_to_be_predicted_needs_no_labels_and_brings_none(place):
    folder = place(
        {
            "lines.txt": "Abe\n\nAdam\n",
            "bare.csv": "text\na\nb\n",
            "full.csv": FOUR,
            "wide.csv": "0,1\n1,2\n3,\n",
            "one.npy": np.arange(3),
            "f/1.npy": np.arange(2),
            "f/sub/2.npy": np.arange(1),
            "t/1.txt": "whole\nfile",
            "c/1.csv": "1\n2\n",
        }
    )
    assert predict(folder / "lines.txt").inputs == ["Abe", "Adam"]
    assert predict(folder / "lines.txt").places[1] == f"{folder / 'lines.txt'}, line 3"
    assert predict(folder / "bare.csv").inputs == ["a", "b"]
    assert predict(folder / "full.csv").inputs == ["a", "b", "c", "d"]
    assert [row.tolist() for row in predict(folder / "wide.csv").inputs] == [[[1], [2]], [[3]]]
    assert predict(folder / "one.npy").inputs[0].tolist() == [[0], [1], [2]]
    assert [len(row) for row in predict(folder / "f", kind="series").inputs] == [2, 1]
    assert predict(folder / "t", kind="text").inputs == ["whole\nfile"]
    assert predict(folder / "c").inputs[0].tolist() == [[1], [2]]
    assert {tuple(predict(folder / name).labels) for name in ("full.csv", "lines.txt", "f")} == {()}


def test_what_the_model_cannot_read_is_refused(place):
    folder = place({"lines.txt": "Abe\n", "empty.txt": "\n"})
    with pytest.raises(DataError, match="holds text, and the model reads series"):
        predict(folder / "lines.txt", kind="series")
    with pytest.raises(DataError, match="must hold examples"):
        predict(folder / "empty.txt")


def test_what_is_scored_is_the_test_part_and_of_known_classes(place):
    folder = place({"train.csv": FOUR, "test.csv": "text,label\nt,x\nu,z\n"})
    known = {"classes": ("x", "y"), "bad": BadItems()}
    assert read_labelled(folder / "train.csv", **known).labels == ["x", "y", "x", "y"]
    with pytest.raises(DataError, match="line 3 has label 'z', which the model was not trained on"):
        read_labelled(folder, **known)
    assert read_labelled(folder, classes=("x",), bad=BadItems(skip=True)).inputs == ["t"]
