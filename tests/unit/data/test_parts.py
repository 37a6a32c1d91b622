import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from read_data import read_captioned, read_classified, read_labelled_steps, read_pairs, read_references

from selfloop.data.examples import BadItems
from selfloop.data.parts import part_of
from selfloop.data.reading import Reading
from selfloop.data.text.corpus import read_corpus
from selfloop.errors import DataError

SENTENCES = "to\tP\nbe\tV\n\nor\tC\nbe\tV\n"
TABLE = "text,label\na {0},x\nb {0},y\n"


@pytest.fixture
def place(tmp_path):
    """Writes files, given by their path and content; gives their folder."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def classified(source, **options):
    return read_classified(source, **options, bad=BadItems())


def steps(source, **options):
    return read_labelled_steps(source, Reading(), **options)


# ------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("train", "train.csv training TRN.tsv wnut17train.conll GunPoint_TRAIN.ts X_eq_TRAIN.ts 00_train"),
        ("train", "train2017 train-images-idx3-ubyte.gz ptb.train.txt Flickr_8k.trainImages.txt trainset.csv"),
        ("valid", "valid validation_1.csv val2014 emerging.dev.conll devel.tsv development Flickr_8k.devImages.txt"),
        ("valid", "eng.testa"),
        ("test", "test.jsonl testing TST.csv t10k-labels-idx1-ubyte emerging.test.annotated test_2016.en eng.testb"),
        (None, "latest.csv contest trainer.py retrain.txt device.csv devices protest.txt invalid evaluation"),
        (None, "eval.csv train_test_split.csv train-dev.txt data.csv attest.md constrain strain.txt 10k.csv"),
    ],
)  # fmt: skip
def test_a_name_marks_a_part_by_one_of_its_words(part, names):
    assert {name: part_of(name) for name in names.split()} == dict.fromkeys(names.split(), part)


def test_wnut17_as_it_is_published_is_three_parts(real_data, tmp_path):
    for path in real_data("wnut17").glob("*.gz"):
        with gzip.open(path) as packed, (tmp_path / path.stem).open("wb") as file:
            shutil.copyfileobj(packed, file)
    found = steps(tmp_path)
    assert (len(found.train), len(found.valid), len(found.test)) == (3394, 1009, 1287)


@pytest.fixture
def emerging(place):
    """A folder as WNUT 2017's, and a file about it."""
    names = ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
    return place({**dict.fromkeys(names, SENTENCES), "notes.pdf": "About\nthis.\n\n", "README.md": "About it.\n"})


def test_a_file_of_unknown_suffix_is_read_as_its_siblings_are(emerging):
    found = steps(emerging)
    assert (len(found.train), len(found.valid), len(found.test)) == (2, 2, 2)
    assert found.origin.files == {
        "train": ("wnut17train.conll",),
        "valid": ("emerging.dev.conll",),
        "test": ("emerging.test.annotated",),
        "ignored": ("README.md", "notes.pdf"),
    }
    assert found.origin.repeated == {"valid": 2, "test": 2}


def test_a_file_of_unknown_suffix_may_be_named(emerging):
    found = steps(emerging / "wnut17train.conll", valid=emerging / "emerging.test.annotated")
    assert len(found.valid) == 2
    with pytest.raises(DataError, match=r"notes\.pdf holds no labelled sequences that can be read"):
        steps(emerging / "notes.pdf")


@pytest.mark.parametrize("read", [classified, steps])
@pytest.mark.parametrize("marked", ["train", "test"])
def test_names_of_which_some_mark_a_part_are_refused(place, read, marked):
    rows = '{"text": "a b", "label": ["x", "y"]}\n' * 2 if read is steps else None
    content = rows or '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'
    folder = place({f"some_{marked}.jsonl": content, "more.jsonl": content})
    with pytest.raises(DataError, match=rf"some_{marked}\.jsonl.* more\.jsonl, of which no name tells the use"):
        read(folder)


def test_two_versions_of_an_archive_are_not_pooled(place):
    content = "@classLabel true a b\n@data\n1,2,3:a\n3,4,5:b\n"
    folder = place({f"Gun_{name}.ts": content for name in ("TRAIN", "TEST", "eq_TRAIN", "eq_TEST")})
    with pytest.raises(DataError, match=r"two versions of one file, Gun_(eq_)?TEST.ts and Gun_(eq_)?TEST.ts: take one"):
        classified(folder)
    assert (
        len(classified(folder / "Gun_TRAIN.ts", test=folder / "Gun_TEST.ts", valid=folder / "Gun_TEST.ts").train) == 2
    )


@pytest.mark.parametrize("read", [classified, read_corpus])
def test_a_file_and_its_compressed_copy_are_not_pooled(place, read):
    folder = place({"a.csv": TABLE.format(1), "a.csv.gz": gzip.compress(TABLE.format(1).encode())})
    with pytest.raises(DataError, match=r"two versions of one file, a\.csv and a\.csv\.gz"):
        read(folder)


def test_folders_of_one_part_are_pooled(place):
    folder = place(
        {f"{part}/{c}/{k}.txt": f"{part} {c}" for part in ("train1", "train2", "val2017") for c in "ab" for k in "12"}
    )
    found = classified(folder)
    assert (len(found.train), len(found.valid)) == (8, 4)


# ------------------------------------------------------------------------------------------------ files


def test_files_that_are_read_and_files_that_are_ignored(place):
    folder = place(
        {"train.csv": TABLE.format(1), "dev.csv": TABLE.format(2), "old/x.csv": "", "photo.png": "", ".x": ""}
    )
    assert classified(folder).origin.files == {
        "train": ("train.csv",),
        "valid": ("dev.csv",),
        "ignored": ("old/x.csv", "photo.png"),
    }
    other = place({"other/more.csv": TABLE.format(3)}) / "other" / "more.csv"
    files = classified(folder, valid=other).origin.files
    assert files["valid"] == ("other/more.csv",) and "dev.csv" in files["ignored"]


def test_what_rows_may_name_is_not_ignored(place):
    array = place({}) / "a.npy"
    np.save(array, np.zeros((2, 1)))
    rows = "".join(f'{{"path": "a.npy", "labels": ["x", "y"], "split": "{part}"}}\n' for part in ("train", "valid"))
    folder = place({"clips.jsonl": rows, "more/b.mp4": "", "notes.md": "x"})
    found = steps(folder)
    assert found.origin.files == {"train": ("clips.jsonl",), "valid": ("clips.jsonl",), "ignored": ("notes.md",)}


def test_files_of_a_corpus(place):
    corpus = read_corpus(place({"a.train.txt": "abc", "a.valid.txt": "b", "README.txt": "c", "x.jsonl": "{}"}))
    assert corpus.origin.files == {
        "train": ("a.train.txt",),
        "valid": ("a.valid.txt",),
        "ignored": ("README.txt", "x.jsonl"),
    }


def test_what_comes_with_selfloop_has_no_files():
    assert not read_classified(None, bad=BadItems()).origin.files
    assert not read_corpus(None).origin.files


# ------------------------------------------------------------------------------------------------ rows


ROWS = [("train", "a"), ("train", "b"), ("", "c"), ("dev", "d"), ("Test", "e")]


def table_of(place, name, *columns):
    """A table whose parts are told by a column; cells of the others begin with the row's letter."""
    rows = [
        {"split": part, **{c: f"{letter} {c}" for c in columns}, "label": "xy"[k % 2]}
        for k, (part, letter) in enumerate(ROWS)
    ]
    return place({name: "".join(f"{json.dumps(row)}\n" for row in rows)}) / name


def test_a_column_tells_the_parts_of_examples(place):
    found = classified(table_of(place, "a.jsonl", "text"))
    assert found.train.inputs == ["a text", "b text", "c text"]
    assert (found.valid.inputs, found.test.inputs) == (["d text"], ["e text"])


def test_a_column_tells_the_parts_of_numbers(place):
    rows = "".join(f"{part},{k},{k + 1},{'xy'[k % 2]}\n" for k, (part, _) in enumerate(ROWS))
    found = classified(place({"a.csv": f"Split,t0,t1,label\n{rows}"}) / "a.csv")
    assert [series.ravel().tolist() for series in found.test.inputs] == [[4, 5]]


def test_a_column_tells_the_parts_of_pairs(place):
    path = str(table_of(place, "a.jsonl", "source", "target"))
    found = read_pairs(path, None, bad=BadItems())
    assert found.train.inputs == ["a source", "b source", "c source"]
    assert (found.valid.labels, found.test.labels) == (["d target"], ["e target"])
    assert read_references(path, None, bad=BadItems()).inputs == ["e source"]


def test_a_column_of_that_name_may_be_the_label(place):
    path = place({"a.csv": "text,split\na,x\nb,y\nc,x\nd,y\n"}) / "a.csv"
    with pytest.raises(DataError, match="line 2 has split 'x', which is none of train, valid and test"):
        classified(path)
    assert set(classified(path, label="split").train.labels) == {"x", "y"}


@pytest.mark.parametrize("read", [classified, steps, lambda path: read_pairs(str(path), None, bad=BadItems())])
def test_an_unknown_part_is_refused(place, read):
    path = table_of(place, "a.jsonl", "text", "source", "target")
    path.write_text(path.read_text().replace("dev", "eval"))
    with pytest.raises(DataError, match=r"line 4 has split 'eval', which is none of train, valid and test"):
        read(path)


def test_two_lists_of_images_for_one_part_are_refused(place):
    token = "".join(f"{name}.png#0\tcaption\n" for name in "ab")
    folder = place({"a.token.txt": token, "trainImages.txt": "a.png\n", "train_2.txt": "b.png\n"})
    with pytest.raises(DataError, match=r"one list of images for each part. Got trainImages\.txt and train_2\.txt"):
        read_captioned(folder)


# ------------------------------------------------------------------------------------------------ held out


def test_equal_texts_are_held_out_together(place):
    rows = "".join(f"{'  ' if k % 2 else ''}text {k // 4},{'xyzw'[k % 4]}\n" for k in range(400))
    found = classified(place({"a.csv": f"text,label\n{rows}"}) / "a.csv")
    assert not {text.strip() for text in found.valid.inputs} & {text.strip() for text in found.train.inputs}
    assert len(found.valid) == 40 and not found.origin.repeated
    assert set(found.train.labels) == set("xyzw")


def test_equal_sentences_and_series_are_held_out_together(place):
    rows = [{"words": ["to", str(k // 3)], "labels": ["P", "N"]} for k in range(60)]
    found = steps(place({"a.jsonl": "".join(f"{json.dumps(row)}\n" for row in rows)}) / "a.jsonl")
    assert not {*map(tuple, found.valid.inputs)} & {*map(tuple, found.train.inputs)} and len(found.valid) == 6
    rows = "".join(f"{k // 3},1,{'xyz'[k % 3]}\n" for k in range(60))
    found = classified(place({"a.csv": f"t0,t1,label\n{rows}"}) / "a.csv")
    assert not {x[0, 0] for x in found.valid.inputs} & {x[0, 0] for x in found.train.inputs}


def test_inputs_of_other_parts_that_training_has_are_counted(place):
    folder = place({"train.csv": TABLE.format(1), "dev.csv": TABLE.format(2), "test.csv": "text,label\na  1,y\nc,x\n"})
    assert classified(folder).origin.repeated == {"test": 1}


def test_a_class_of_one_input_gives_its_share_and_it_is_said(place):
    rows = "same,x\n" * 50 + "".join(f"{k},y\n" for k in range(50))
    found = classified(place({"a.csv": f"text,label\n{rows}"}) / "a.csv")
    assert sorted(found.valid.labels) == ["x"] * 5 + ["y"] * 5
    assert found.origin.repeated == {"valid": 5}


def test_an_input_in_many_rows_is_not_held_out(place):
    rows = "same,x\n" * 50 + "".join(f"{k},{'xy'[k % 2]}\n" for k in range(100))
    for seed in range(5):
        found = classified(place({"a.csv": f"text,label\n{rows}"}) / "a.csv", seed=seed)
        assert sorted(found.valid.labels) == ["x"] * 10 + ["y"] * 5 and not found.origin.repeated


def test_real_surnames_share_none_between_training_and_validation(real_data):
    found = classified(real_data("names"))
    assert not {" ".join(name.split()) for name in found.valid.inputs} & {
        " ".join(name.split()) for name in found.train.inputs
    }
    assert len(found.valid) == pytest.approx(2005, abs=18)


def test_translations_of_held_out_sentences(place):
    folder = place(
        {"a.en": "".join(f"dog {k // 2}\n" for k in range(40)), "a.de": "".join(f"Hund {k}\n" for k in range(40))}
    )
    found = read_pairs(str(folder / "a.en"), str(folder / "a.de"), valid_fraction=0.1, bad=BadItems())
    assert not {*found.valid.inputs} & {*found.train.inputs} and len(found.valid) == 4
    swapped = read_pairs(str(folder / "a.de"), str(folder / "a.en"), valid_fraction=0.1, bad=BadItems())
    assert not {*swapped.valid.labels} & {*swapped.train.labels} and len(swapped.valid) == 4
    more = place({"b.en": "cat\ndog 1\n", "b.de": "Hund 0\nHündchen\n"})
    given = {"valid": str(more / "b.en"), "valid_target": str(more / "b.de")}
    found = read_pairs(str(folder / "a.en"), str(folder / "a.de"), **given, bad=BadItems())
    assert found.origin.repeated == {"valid": 2}
    assert Path(found.origin.files["train"][0]).name == "a.en"
