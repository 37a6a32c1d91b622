"""A corpus that is read while it is trained on: where it is can be kept, and no process reads what another does."""

import gzip
import json
from itertools import islice

import pyarrow as pa
import pytest
from pyarrow import parquet

from selfloop.data.examples import BadItems
from selfloop.data.reading import Reading
from selfloop.data.text import streaming
from selfloop.data.text.streaming import read_streamed
from selfloop.errors import DataError
from selfloop.world import ALONE, World

SIZES = (7, 12, 3, 9)  # of the files


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(streaming, "ROWS", 4)


def texts(file, size):
    return [f"text {row} of {file}" for row in range(size)]


@pytest.fixture(params=["txt", "jsonl", "parquet", "txt.gz"])
def folder(request, tmp_path):
    for file, size in enumerate(SIZES):
        path, found = tmp_path / f"{file}.{request.param}", texts(file, size)
        if request.param == "txt":
            path.write_text("\ufeff" * (file == 1) + "".join(f"{text}\n" for text in found))
        elif request.param == "jsonl":
            path.write_text("".join(json.dumps({"n": n, "body": text}) + "\n" for n, text in enumerate(found)))
        elif request.param == "txt.gz":
            path.write_bytes(gzip.compress("\n".join(found).encode()))
        else:
            parquet.write_table(pa.table({"n": range(size), "body": found}), path, row_group_size=5)
    return tmp_path


def opened(folder, world=ALONE, **options):
    return read_streamed(folder, Reading(bad=BadItems()), **options).open(world)


WHOLE = [text for file, size in enumerate(SIZES) for text in texts(file, size)]
HELD_OUT = 9


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_share_all_that_is_not_held_out(folder, size):
    """Four files are shards of two processes; three get every third text."""
    valid = read_streamed(folder, Reading(bad=BadItems()), valid_examples=HELD_OUT)
    held_out = [line for line in "".join(valid.valid).split("\n") if line]
    assert held_out == WHOLE[: len(held_out)]
    parts = []
    for rank in range(size):
        stream, part = opened(folder, World(rank, size), valid_examples=HELD_OUT), []
        while stream.position()["epoch"] == 0:
            part.append(next(stream))
        parts.append(part[:-1])
    read = [text for part in parts for text in part]
    assert len(read) == len({*read})
    assert not {*read} & {*held_out}
    assert {*read} <= {*WHOLE}
    if size != 2:  # of two, each leaves out as many as are held out
        assert {*read} == {*WHOLE[len(held_out) :]}


@pytest.mark.parametrize("world", [World(), World(1, 2), World(2, 3)])
def test_a_stream_goes_on_from_any_position_and_again_from_there(folder, world):
    whole = [*islice(opened(folder, world, valid_examples=3), 60)]
    assert len({*whole}) < 60  # it has begun anew
    for first in (0, 13, 29, 41):
        stream = opened(folder, world, valid_examples=3)
        assert [*islice(stream, first)] == whole[:first]
        for place in (first, first + 2, first + 9):
            position = json.loads(json.dumps(stream.position()))
            stream = opened(folder, world, valid_examples=3)
            stream.go_to(position)
            step = {first: 2, first + 2: 7}.get(place, 1)
            assert [*islice(stream, step)] == whole[place : place + step]


def test_parts_are_marked_by_names_and_may_be_given(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for path, name in zip(sorted(folder.iterdir()), ("train-a", "train-b", "valid", "test"), strict=True):
        path.rename(other / path.name.replace(path.name.partition(".")[0], name, 1))
    corpus = read_streamed(other, Reading(bad=BadItems()))
    assert [line for line in "".join(corpus.valid).split("\n") if line] == texts(2, SIZES[2])
    assert texts(3, 9)[-1] in "".join(corpus.test)
    assert next(corpus.open(World())) == texts(0, 1)[0]
    assert [*corpus.origin.files] == ["train", "valid", "test"]
    given = read_streamed(other, Reading(bad=BadItems()), valid=next(other.glob("train-b*")))
    assert texts(1, 1)[0] in "".join(given.valid)


def test_empty_lines_are_text_and_null_is_none(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\r\n\n\nthree")
    assert [*islice(opened(tmp_path / "a.txt", valid_examples=1), 6)] == ["", "two", "", "", "three", ""]
    rows = ['{"text": "one"}', '{"text": null}', '{"text": "two"}', '{"text": "three"}']
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    assert [*islice(opened(tmp_path / "a.jsonl", valid_examples=1), 3)] == ["two", "three", "two"]


def test_what_is_read_to_validate_is_bounded(folder, monkeypatch):
    monkeypatch.setattr(streaming, "MOST_VALID", 30)
    corpus = read_streamed(folder, Reading(bad=BadItems()), valid=folder)
    assert len("".join(corpus.valid)) < 30 + 4 * 20


def test_the_vocabulary_is_of_the_first_examples_behind_those_that_are_held_out(folder):
    bad = BadItems()
    corpus = read_streamed(folder, Reading(bad=bad), valid_examples=HELD_OUT, learn_from=60)
    first = [line for line in "".join(corpus.train).split("\n") if line]
    held_out = sum(bool(line) for line in "".join(corpus.valid).split("\n"))
    assert first == WHOLE[held_out : held_out + len(first)]
    assert 60 <= len("".join(first)) + len(first) < 60 + 4 * 20
    assert f"the first {HELD_OUT} examples are held out for validation" in bad.notes
    assert any(note.startswith("the vocabulary is that of ") and note.endswith("from 10 on") for note in bad.notes)


def test_a_source_on_the_hub_is_opened_as_a_stream(folder, monkeypatch):
    """As `load_dataset(…, streaming=True)` does it, which here reads files."""
    import datasets

    asked = []

    def load_dataset(name, config, streaming):
        asked.append((name, config, streaming))
        opened = datasets.IterableDataset.from_list([{"text": text} for text in WHOLE])
        return datasets.IterableDatasetDict({"train": opened, "validation": opened.take(2), "unused": opened})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    corpus = read_streamed("owner/corpus:en", Reading(bad=BadItems()))
    assert asked == [("owner/corpus", "en", True)]
    assert "".join(corpus.valid) == "\n".join(WHOLE[:2])
    assert [*islice(corpus.open(World()), 40)] == [*WHOLE, *WHOLE][:40]
    assert corpus.name == "corpus"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "text\nhello\n", "A corpus that is streamed must be text, .* Got .*a.csv"),
        ("a.parquet", "no parquet", r"a\.parquet cannot be read as parquet"),
        ("a.txt", "", r"must hold text\. It is empty: give another"),
        ("a.jsonl", '{"text": null}\n', r"The valid text of .*a\.jsonl must hold something\. It is empty"),
        ("a.jsonl", '{"n": 1}\n', "must have a column of text"),
        ("a.jsonl", "{no json\n", "cannot be read"),
    ],
)
def test_what_cannot_be_streamed_is_refused_in_one_sentence(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        read_streamed(tmp_path / name, Reading(bad=BadItems()))
    assert "\n" not in str(caught.value)


def test_a_stream_that_is_all_held_out_or_breaks_off_says_so(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in WHOLE))
    with pytest.raises(DataError, match=r"must hold text for every process\. There is too little: give more"):
        next(opened(path, valid_examples=100))
    stream = opened(path, valid_examples=2)
    path.write_text("")
    path.unlink()
    with pytest.raises(DataError, match=r"cannot be read further .*what was saved is whole; .*go on with --resume"):
        [*islice(stream, 100)]
