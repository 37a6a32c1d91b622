import gzip
import json
import re
from pathlib import Path

import pytest
from read_data import read_pairs, read_references, read_sources

from selfloop.data.examples import BadItems
from selfloop.data.readers.pairs import read_lines
from selfloop.errors import DataError

ENGLISH = ["one dog", "two dogs", "three dogs", "four dogs"]
GERMAN = ["ein Hund", "zwei Hunde", "drei Hunde", "vier Hunde"]


@pytest.fixture
def write(tmp_path):
    """Writes a file of lines, or of any text; gives its path as a string."""

    def write(name, content):
        text = content if isinstance(content, str) else "".join(f"{line}\n" for line in content)
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return str(path)

    return write


@pytest.fixture
def files(write):
    return write("train.en", ENGLISH), write("train.de.gz", GERMAN)


def pairs(dataset):
    return sorted(
        pair for part in (dataset.train, dataset.valid) for pair in zip(part.inputs, part.labels, strict=True)
    )


def test_two_files_plain_or_zipped_are_pairs_line_by_line(files):
    dataset = read_pairs(*files, valid_fraction=0.25, bad=BadItems())
    assert (dataset.name, len(dataset.train), len(dataset.valid), dataset.test) == ("train", 3, 1, None)
    assert pairs(dataset) == sorted(zip(ENGLISH, GERMAN, strict=True))
    assert dataset.train.places[-1].endswith(f"train.en, line {1 + ENGLISH.index(dataset.train.inputs[-1])}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pairs.tsv", "en\tde\none dog\tein Hund\ntwo dogs\tzwei Hunde\n"),
        ("pairs.csv", 'id,target,Source\n1,ein Hund,one dog\n2,zwei Hunde,"two dogs"\n'),
        ("pairs.jsonl", '{"src": "one dog", "tgt": "ein Hund"}\n{"src": "two dogs", "tgt": "zwei Hunde"}\n'),
    ],
)
def test_a_table_names_its_columns(write, name, content):
    dataset = read_pairs(write(name, content), None, bad=BadItems())
    assert pairs(dataset) == [("one dog", "ein Hund"), ("two dogs", "zwei Hunde")]


def test_columns_of_other_names_are_given(write):
    path = write("pairs.tsv", "id\ten\tde\n1\tone dog\tein Hund\n2\ttwo dogs\tzwei Hunde\n")
    dataset = read_pairs(path, None, input="de", label="en", bad=BadItems())
    assert pairs(dataset) == [("ein Hund", "one dog"), ("zwei Hunde", "two dogs")]


def test_a_column_of_translations_as_the_hub_has_them_is_a_column_a_language(write):
    rows = [{"id": n, "translation": {"en": f"{n} dogs", "de": f"{n} Hunde"}} for n in range(3)]
    path = write("pairs.jsonl", "\n".join(map(json.dumps, rows)))
    expected = [(f"{n} Hunde", f"{n} dogs") for n in range(3)]
    assert pairs(read_pairs(path, None, input="de", label="en", bad=BadItems())) == expected
    assert read_sources(path, column="de", bad=BadItems()).inputs == ["0 Hunde", "1 Hunde", "2 Hunde"]


def test_what_is_named_for_validation_and_test_is_taken(files, write):
    other = write("val.en", ["five dogs"]), write("val.de", ["fünf Hunde"])
    test = write("test.tsv", "en\tde\nsix dogs\tsechs Hunde\n")
    dataset = read_pairs(*files, valid=other[0], valid_target=other[1], test=test, bad=BadItems())
    assert (len(dataset.train), dataset.valid.labels, dataset.test.inputs) == (4, ["fünf Hunde"], ["six dogs"])


def test_what_has_one_source_is_not_both_learnt_and_judged(write):
    source, target = write("a.en", ["yes", "no"] * 20), write("a.de", [f"{n}" for n in range(40)])
    dataset = read_pairs(source, target, bad=BadItems())
    assert not {*dataset.train.inputs} & {*dataset.valid.inputs}


def test_only_newlines_end_a_line(write):
    lines = read_lines(Path(write("a.txt", "one\u2028more\r\ntwo\x0bthree\n\nlast")), "utf-8")
    assert lines == ["one\u2028more", "two\x0bthree", "", "last"]


def test_empty_sides_are_refused_or_counted(write):
    source, target = write("a.en", ["one", "", "three", "four"]), write("a.de", ["eins", "zwei", " ", "vier"])
    with pytest.raises(DataError, match=r"a\.en, line 2 has no text in its source\. Fix it, or .* --skip-bad"):
        read_pairs(source, target, bad=BadItems())
    bad = BadItems(skip=True)
    assert pairs(read_pairs(source, target, bad=bad)) == [("four", "vier"), ("one", "eins")]
    assert [(place.rpartition("/")[2], reason) for place, reason in bad.found] == [
        ("a.en, line 2", "has no text in its source"),
        ("a.en, line 3", "has no text in its target"),
    ]


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("a.en", "short.de", r"translations line by line\. They have 4 and 3 lines: align them first\."),
        ("a.en", None, r"a\.en holds one language, a sentence a line: give the file of the other after it\."),
        ("a.en", "gone.de", r"There is no file or folder .*gone\.de"),
        ("gone.en", "a.en", r"There is no file or folder .*gone\.en"),
        ("pairs.tsv", "a.en", r"pairs\.tsv is a table, which holds both languages\. Got .*a\.en too: leave it out\."),
        (
            "headless.tsv",
            None,
            r"must name its columns 'source' and 'target' .*in their first line.*Got 'Hi!', 'Hallo!'",
        ),
        ("empty.en", "a.en", r"empty\.en must hold a sentence a line\. It is empty"),
        ("binary.en", "a.en", r"binary\.en must be a text file\. It is binary"),
        ("latin.en", "a.en", r"latin\.en is not utf-8: byte 1 \(line 1\) is 0xe9"),
        (None, "a.en", r"The translations of .*a\.en need their source"),
    ],
)
def test_what_are_no_pairs_is_said_in_one_sentence(write, tmp_path, source, target, message):
    write("a.en", ENGLISH)
    write("short.de", GERMAN[:3])
    write("pairs.tsv", "en\tde\none\teins\n")
    write("headless.tsv", "Hi!\tHallo!\nBye!\tTschüss!\n")
    write("empty.en", "")
    (tmp_path / "binary.en").write_bytes(bytes(range(256)))
    (tmp_path / "latin.en").write_bytes("né\n".encode("latin-1"))
    paths = [None if name is None else str(tmp_path / name) for name in (source, target)]
    with pytest.raises(DataError, match=message) as raised:
        read_pairs(*paths, bad=BadItems())
    assert "\n" not in str(raised.value)


def test_the_translations_of_no_sentences_are_refused(files, write):
    with pytest.raises(DataError, match=r"The translations of .* need their source: give --valid too"):
        read_pairs(*files, valid_target=write("val.de", ["x"]), bad=BadItems())


def test_one_sentence_cannot_be_held_out(write):
    with pytest.raises(DataError, match="has one example only"):
        read_pairs(write("a.en", ["one", "one"]), write("a.de", ["ein", "eins"]), bad=BadItems())


def test_references_are_all_of_a_source(files):
    assert read_references(*files, bad=BadItems()).labels == GERMAN


def test_sources_keep_empty_lines_and_need_no_translation(write):
    found = read_sources(write("new.en", ["one", "", "two"]), bad=BadItems())
    assert (found.inputs, found.labels) == (["one", "", "two"], [])
    assert read_sources(write("new.tsv", "en\tde\none\t\n"), bad=BadItems()).inputs == ["one"]
    bad = BadItems(skip=True)
    assert read_sources(write("new.jsonl", '{"source": "one"}\n{"source": 2}\n'), bad=bad).inputs == ["one"]
    assert bad.found[0][1] == "has no text in 'source'"


def test_without_a_source_dates_are_turned_round():
    dataset = read_pairs(None, None, bad=BadItems())
    assert (dataset.name, len(dataset.train) + len(dataset.valid)) == ("dates", 6000)
    for english, hungarian in zip(dataset.valid.inputs, dataset.valid.labels, strict=True):
        years = re.findall(r"\d{4}", english)
        assert years == re.findall(r"\d{4}", hungarian)
        assert english.endswith(years[-1])
        assert hungarian.startswith(f"{years[0]}. ")
