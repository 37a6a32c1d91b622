import json

import numpy as np
import pytest
from read_data import read_labelled_steps, read_steps

from selfloop.data.examples import BadItems
from selfloop.data.readers.steps import StepReader
from selfloop.data.reading import Reading
from selfloop.data.tables.separated import TableFormat
from selfloop.errors import ConfigError, DataError


@pytest.fixture
def table(tmp_path):
    def write(*rows, name="all.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def array(tmp_path):
    def save(name, value):
        np.save(tmp_path / name, value)
        return name

    return save


WORDS = [{"words": ["to", "be"], "tags": ["P", "V"]}, {"words": ["be", "to", "be"], "tags": "V P V"}]
SENTENCES = "to\tP\nbe\tV\n\nbe\tV\nto\tP\nbe\tV\n"


def test_a_table_of_words_and_their_labels(table):
    found = read_labelled_steps(table(*WORDS), Reading(), valid_fraction=0.4)
    assert found.kind == "words"
    assert sorted([*found.train.inputs, *found.valid.inputs]) == [["be", "to", "be"], ["to", "be"]]
    assert sorted([*found.train.labels, *found.valid.labels]) == [["P", "V"], ["V", "P", "V"]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", SENTENCES),
        ("a.txt", SENTENCES.replace("\t", " ")),
        ("a.conll", SENTENCES.replace("\tP", "\tP\tx")),
        (
            "a.conllu",
            "# text = to be\n1\tto\tto\tP\n2\tbe\tbe\tV\n\n"
            "1-2\tbeto\t_\t_\n1\tbe\tbe\tV\n2\tto\tto\tP\n2.1\tx\tx\tX\n3\tbe\tbe\tV\n",
        ),
    ],
)
def test_words_in_columns(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    found = read_labelled_steps(tmp_path / name, Reading(), valid_fraction=0.4)
    pairs = zip([*found.train.inputs, *found.valid.inputs], [*found.train.labels, *found.valid.labels], strict=True)
    assert sorted(pairs) == [(["be", "to", "be"], ["V", "P", "V"]), (["to", "be"], ["P", "V"])]


NO_WORDS = {
    "CoNLL-2003": (
        "a.txt",
        "-DOCSTART- -X- -X- O\n\n# NN I-NP O\nto TO I-VP O\n\n-DOCSTART- -X- O O\nbe VB I-VP B-X\n",
        4,
    ),
    "CoNLL-2012": ("a.conll", "#begin document (nw/a); part 000\n# S O\nto P O\n\nbe V B-X\n#end document\n", 3),
    "CoNLL-U's comments": ("a.conll", "# newdoc id = 1\n# text = # to\n#\tO\nto\tO\n \n# sent_id = 2\nbe\tB-X\n", 2),
    "comments without a form": ("a.tsv", "# of a book\n#\tO\nto\tO\n\t\n# http://a.b\nbe\tB-X\n#x=y\n", 2),
    "MultiCoNER": ("a.conll", "# id 52-39\tdomain=train\n# _ _ O\nto _ _ O\n\n# id 5\tdomain=dev\nbe _ _ B-X\n", 4),
    "empty lines of tabs": ("a.tsv", "\t\n#\tO\nto\tO\n\t\t\n \t \nbe\tB-X\n\t\n", 2),
    "names": ("a.tsv", "Word\tPOS\tTag\n#\tN\tO\nto\tN\tO\n\nbe\tV\tB-X\n", 3),
    "names that stand alone": ("a.txt", "token label\n\n# O\nto O\n\nbe B-X\n", 2),
    "an unknown suffix": ("a.bio", "token label\n# text = # to\n# O\nto O\n\nbe B-X\n", 2),
}
"""Files that hold two sentences, "# to" and "be", and what is no word."""


@pytest.mark.parametrize("form", NO_WORDS)
def test_what_stands_between_words_in_columns_is_no_word(tmp_path, form):
    name, text, label = NO_WORDS[form]
    (tmp_path / name).write_text(text)
    found = StepReader(Reading(label=str(label))).file(tmp_path / name)["train"]
    assert (found.inputs, found.labels) == ([["#", "to"], ["be"]], [["O", "O"], ["B-X"]])
    assert (
        read_steps(tmp_path / name, Reading(label=str(label)), kind="words", classes=["O", "B-X"]).inputs
        == found.inputs
    )


@pytest.mark.parametrize("word", ["#", "#id", "#newdoc", "#text", "# id", "-DOCSTART", "word", "token"])
@pytest.mark.parametrize("between", [" ", "\t"])
def test_words_that_look_like_what_is_none_are_words(tmp_path, word, between):
    word = word.replace(" ", "_") if between == " " else word
    (tmp_path / "a.txt").write_text(f"{word}{between}O\nto{between}P\n\n{word}{between}O\n")
    found = StepReader(Reading()).file(tmp_path / "a.txt")["train"]
    assert found.inputs == [[word, "to"], [word]]


def test_whether_line_1_names_columns_can_be_said(tmp_path):
    (tmp_path / "a.tsv").write_text("Wort\tArt\nword\ttag\n\nbe\tV\n")
    (tmp_path / "b.tsv").write_text("word\ttag\nbe\tV\n")
    for name, header, words in (
        ("a.tsv", None, [["Wort", "word"], ["be"]]),
        ("a.tsv", True, [["word"], ["be"]]),
        ("b.tsv", None, [["be"]]),
        ("b.tsv", False, [["word", "be"]]),
    ):
        reading = Reading(format=TableFormat(header=header))
        assert StepReader(reading).file(tmp_path / name)["train"].inputs == words


@pytest.mark.parametrize("names", ["", "ID\tFORM\tLEMMA\tUPOS\n"])
def test_names_above_numbered_words_take_no_word_away(tmp_path, names):
    (tmp_path / "a.conllu").write_text(f"{names}1\tto\tto\tPART\n2\tbe\tbe\tAUX\n")
    for header in (None, True, False):
        found = StepReader(Reading(format=TableFormat(header=header))).file(tmp_path / "a.conllu")["train"]
        assert (found.inputs, found.labels) == ([["to", "be"]], [["PART", "AUX"]])


def test_another_column_of_labels_by_its_number(tmp_path):
    (tmp_path / "a.tsv").write_text("to\tP\tx\nbe\tV\ty\n\nto\tP\tx\nbe\tV\ty\n")
    found = read_labelled_steps(tmp_path / "a.tsv", Reading(label="3"))
    assert found.train.labels == [["x", "y"]]
    with pytest.raises(ConfigError, match=r"must be the number of a column, from 1\. Got 'tag'"):
        read_labelled_steps(tmp_path / "a.tsv", Reading(label="tag"))


def test_splits_by_the_names_of_files_and_by_a_column(tmp_path, table):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.tsv").write_text(SENTENCES)
    found = read_labelled_steps(tmp_path, Reading())
    assert (len(found.train), len(found.valid), len(found.test)) == (2, 2, 2)
    rows = [{**row, "split": split} for split in ("train", "valid", "test") for row in WORDS]
    found = read_labelled_steps(table(*rows), Reading())
    assert (len(found.train), len(found.valid), len(found.test)) == (2, 2, 2)


def test_series_frames_and_lists_of_numbers(table, array):
    draw = np.random.default_rng(0)
    series = [array(f"{k}.npy", draw.normal(size=(4, 3))) for k in range(3)]
    found = read_labelled_steps(table(*({"path": name, "labels": list("abab")} for name in series)), Reading())
    assert (found.kind, found.train.inputs[0].shape) == ("series", (4, 3))
    clips = [array(f"{k}.npy", draw.integers(0, 9, (4, 16, 12), dtype=np.uint8)) for k in range(3)]
    rows = [{"video": name, "labels": list("abab")} for name in clips]
    found = read_labelled_steps(table(*rows), Reading())
    assert (found.kind, found.train.inputs[0].shape) == ("frames", (4, 16, 12))
    rows = [{"x": [1, 2, 3, 4], "labels": list("abab")}] * 3
    assert read_labelled_steps(table(*rows), Reading()).train.inputs[0].tolist() == [[1], [2], [3], [4]]


def test_labels_that_are_missing_or_ignored_are_not_judged(table):
    rows = [{"x": [1, 2, 3], "labels": ["a", None, "b"]}, {"x": [1, 2, 3], "labels": ["a", "", "?"]}] * 2
    found = read_labelled_steps(table(*rows), Reading(ignore="?"))
    labels = sorted(map(str, [*found.train.labels, *found.valid.labels]))
    assert labels == sorted(["['a', None, 'b']", "['a', None, None]"] * 2)


def test_what_is_held_out_has_labels_that_training_knows(table):
    rows = [{"x": [1, 2], "labels": ["a", f"only {k}"]} for k in range(5)] + [{"x": [1], "labels": ["a"]}]
    found = read_labelled_steps(table(*rows), Reading(), valid_fraction=0.5)
    assert found.valid.labels == [["a"]]


BAD = {
    "counts": ({"x": [1, 2, 3], "labels": ["a", "b"]}, r"has 3 steps and 2 labels: give one a step"),
    "words": ({"x": "a b c", "labels": ["a", "b"]}, r"has 3 words and 2 labels"),
    "nan": ({"x": [1, None], "labels": ["a", "b"]}, r"holds NaN at step 2"),
    "nothing": ({"x": [], "labels": []}, r"has nothing in column 'x'"),
    "unlabelled": ({"x": [1]}, r"has no labels in column 'labels'"),
    "a number": ({"x": [1], "labels": 3}, r"must hold a list of labels\. It holds '3'"),
    "nested": ({"x": [1], "labels": [["a"]]}, r"must hold a label a step"),
    "gone": ({"x": "gone.mp4", "labels": ["a"]}, r"names 'gone\.mp4', and there is no such file"),
    "split": ({"x": [1], "labels": ["a"], "split": "tset"}, r"has split 'tset'"),
    "mixed": ({"x": ["a"], "labels": ["a"]}, r"holds words, where others hold series"),
    "outside": ({"x": [1], "labels": ["c"], "split": "test"}, r"has label 'c' at step 1, which no training"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_sequence_is_named_or_left_out(table, name):
    row, reason = BAD[name]
    good = [{"x": [1, 2], "labels": ["a", "b"], "split": "train"}] * 3
    more = [{"x": [1, 2], "labels": ["a", "b"], "split": "test"}]
    path = table(*good, *more, row)
    with pytest.raises(DataError, match=rf"all\.jsonl, line 5.* {reason}.*--skip-bad"):
        read_labelled_steps(path, Reading())
    bad = BadItems(skip=True)
    found = read_labelled_steps(path, Reading(bad=bad))
    assert (len(found.train) + len(found.valid), len(found.test)) == (3, 1)
    assert len(bad.found) == 1


def test_a_sentence_with_a_column_too_few_names_its_line(tmp_path):
    (tmp_path / "a.tsv").write_text("to\tP\nbe\n\nbe\tV\nto\tP\n")
    with pytest.raises(DataError, match=r"a\.tsv, line 1 begins a sentence whose line 2 has 1 columns, and 2 are read"):
        read_labelled_steps(tmp_path / "a.tsv", Reading())


def test_what_cannot_be_learnt_from_is_refused(table, tmp_path):
    with pytest.raises(DataError, match=r"two labels or more .* All that it has is 'a'"):
        read_labelled_steps(table({"x": [1], "labels": ["a"]}, {"x": [1], "labels": ["a"]}), Reading())
    with pytest.raises(DataError, match="has one example only"):
        read_labelled_steps(table({"x": [1, 2], "labels": ["a", "b"]}), Reading())
    with pytest.raises(DataError, match="columns 'z', 'w'"):
        read_labelled_steps(table({"z": [1, 2], "w": ["a", "b"]}), Reading())
    with pytest.raises(DataError, match="has no column 'tag' for the label"):
        read_labelled_steps(table({"x": [1, 2], "tags": ["a", "b"]}), Reading(label="tag"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no labelled sequences"):
        read_labelled_steps(tmp_path / "empty", Reading())
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.mp4 holds no labelled sequences that can be read"):
        read_labelled_steps(tmp_path / "a.mp4", Reading())


def test_sequences_to_label_need_no_labels_and_keep_those_they_have(table, tmp_path, array):
    unlabelled = Reading(labelled=False)
    found = read_steps(table({"x": [1, 2], "labels": ["a", "z"]}), unlabelled, kind="series", classes=["a", "b"])
    assert found.labels == [["a", None]]
    capital = Reading(label="Tag", labelled=False)
    found = read_steps(table({"x": [1, 2], "Tag": ["a", "b"]}), capital, kind="series", classes=["a", "b"])
    assert found.labels == [["a", "b"]]
    found = read_steps(table({"x": [1, 2]}), unlabelled, kind="series", classes=["a", "b"])
    assert found.labels == [[]]
    (tmp_path / "a.txt").write_text("to be\nor not\n")
    assert read_steps(tmp_path / "a.txt", unlabelled, kind="words", classes=["a"]).inputs == [
        ["to", "be"],
        ["or", "not"],
    ]
    array("one.npy", np.zeros((4, 2)))
    assert read_steps(tmp_path / "one.npy", unlabelled, kind="series", classes=["a"]).inputs[0].shape == (4, 2)
    with pytest.raises(DataError, match="holds series, and the model reads words"):
        read_steps(tmp_path / "one.npy", unlabelled, kind="words", classes=["a"])
    with pytest.raises(DataError, match="has label 'z' at step 2, which the model was not trained on"):
        read_steps(table({"x": [1, 2], "labels": ["a", "z"]}), Reading(), kind="series", classes=["a", "b"])
