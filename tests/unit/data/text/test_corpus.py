import errno
import gzip
import json
import os
from functools import partial

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from read_data import refused

from selfloop.data import Corpus, read_corpus
from selfloop.data.examples import BadItems
from selfloop.data.reading import Reading
from selfloop.data.tables.separated import TableFormat
from selfloop.data.text import files
from selfloop.data.text.files import text_of_files
from selfloop.errors import ConfigError, DataError


def whole(corpus: Corpus) -> str:
    return "".join(corpus.train) + "".join(corpus.valid)


@pytest.fixture
def place(tmp_path):
    """Writes files into an empty folder, by name, and gives the folder."""

    def write(**files):
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


refusal = partial(refused, lambda source, **options: whole(read_corpus(source, **options)))


# ------------------------------------------------------------------------------------------------ what is kept


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_every_character_of_a_text_is_kept_but_for_line_ends(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(b"a" + text.encode())
    assert whole(read_corpus(path)) == "a" + text.replace("\r\n", "\n").replace("\r", "\n")


def test_form_feeds_and_unicode_line_separators_are_characters_like_others(place):
    text = "a\x0cb\x0b\x1cc\x85d\u2028e\u2029\n\n f \n"
    assert whole(read_corpus(place(a_txt=text) / "a.txt")) == text


def test_a_byte_order_mark_is_left_out(place):
    assert whole(read_corpus(place(a_txt="\ufeffhé\n".encode()) / "a.txt")) == "hé\n"


def test_an_encoding_that_is_named_is_used(place):
    folder = place(latin_txt="café\n".encode("latin-1"), wide_txt="café\n".encode("utf-16"))
    assert whole(read_corpus(folder / "latin.txt", encoding="latin-1")) == "café\n"
    assert whole(read_corpus(folder / "wide.txt", encoding="utf-16")) == "café\n"


def test_compressed_text_is_read(place):
    assert whole(read_corpus(place(a_txt_gz=gzip.compress(b"to be\n")) / "a.txt.gz")) == "to be\n"


@pytest.mark.parametrize("name", ["we[i]rd *?.txt", ".hidden", "with space#.txt", "no-suffix"])
def test_any_name_of_a_file_is_read(tmp_path, name):
    (tmp_path / name).write_text("to be\n")
    assert whole(read_corpus(tmp_path / name)) == "to be\n"


def test_a_text_is_streamed_in_pieces(place):
    corpus = read_corpus(place(a_txt="to be or not to be\n" * 30_000) / "a.txt")
    assert len(list(corpus.train)) > 5


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 16])
@pytest.mark.parametrize("zipped", [False, True])
def test_wherever_it_is_cut_the_text_is_what_python_reads(place, monkeypatch, encoding, block, zipped):
    monkeypatch.setattr(files, "_BLOCK", block)
    letters = "né\r\n\r\n\rß\n\n" + ("" if encoding == "latin-1" else "你好😀\u2028\x85")
    contents = [letters, letters + "x", "\r", "\n", "end"]
    folder = place(**{f"a{n}_txt": text.encode(encoding) for n, text in enumerate(contents)})
    paths = sorted(folder.iterdir())
    plain = [path.read_text(encoding=encoding) for path in paths]
    if zipped:
        for path in paths:
            path.write_bytes(gzip.compress(path.read_bytes()))
    expected = "".join(text if text.endswith("\n") else text + "\n" for text in plain).removesuffix("\n")
    pieces = list(text_of_files(paths, Reading(encoding=encoding)))
    assert "".join(pieces) == expected
    assert max(map(len, pieces)) <= block + 1  # with the newline between two files


def test_a_pipe_or_a_device_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(DataError, match="is a pipe or a device, and data are read more than once: write them to a"):
            read_corpus(path)


def test_one_character_is_a_corpus_for_others_to_refuse(place):
    assert whole(read_corpus(place(a_txt=" ") / "a.txt")) == " "


# ------------------------------------------------------------------------------------------------ tables


def test_documents_of_a_table_are_joined_by_newlines(place):
    rows = ["a", "b\n", "", "NA", "d"]
    folder = place(
        a_jsonl="\n".join(json.dumps({"n": n, "body": row}) for n, row in enumerate(rows)),
        b_json=json.dumps([{"body": row} for row in rows]),
        c_csv='n,body\n0,a\n1,"b\n"\n2,\n3,NA\n4,d\n',
    )
    datasets.Dataset.from_dict({"n": range(5), "body": rows}).to_parquet(folder / "e.parquet")
    for name in ("a.jsonl", "b.json", "c.csv", "e.parquet"):
        assert whole(read_corpus(folder / name)) == "a\nb\n\nNA\nd", name
    (folder / "d.tsv").write_text('n\tbody\n0\ta\n1\t"b\n"\n2\t\n3\tNA\n4\td\n')
    assert whole(read_corpus(folder / "d.tsv", format=TableFormat(quotes=True))) == "a\nb\n\nNA\nd"


def test_the_column_is_the_named_one_or_text_or_the_only_one(place):
    folder = place(two_jsonl='{"text": "t", "title": "u"}\n', none_csv="n\n1\n", several_csv="a,b\nx,y\n")
    assert whole(read_corpus(folder / "two.jsonl")) == "t"
    assert whole(read_corpus(folder / "two.jsonl", column="title")) == "u"
    assert "no column 'titel', only 'text', 'title'; did you mean 'title'?" in refusal(
        folder / "two.jsonl", column="titel"
    )
    assert "The column 'n' of" in refusal(folder / "none.csv", column="n")
    assert "Got 'n' (numbers) instead" in refusal(folder / "none.csv")
    assert "several columns of text, 'a', 'b': name one with --column=a" in refusal(folder / "several.csv")


def test_a_row_without_text_is_left_out(place):
    assert whole(read_corpus(place(a_jsonl='{"text": "a"}\n{"text": null}\n{"text": "b"}\n') / "a.jsonl")) == "a\nb"


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.csv", "b.csv", "a.tsv"])
def test_rows_without_text_are_counted(place, name):
    rows = [{"n": 1, "text": "a"}, {"n": 2, "text": None}, {"n": 3}, {"n": 4, "text": ""}, {"n": 5, "text": "b"}]
    folder = place(
        a_jsonl="\n".join(map(json.dumps, rows)),
        a_csv="n,text\n1,a\n\n3\n4,\n5,b\n",
        b_csv='text\na\n\n\n""\nb\n',
        a_tsv="n\ttext\n1\ta\n\n3\n4\t\n5\tb\n",
    )
    datasets.Dataset.from_list(rows).to_parquet(folder / "a.parquet")
    bad = BadItems()
    assert whole(read_corpus(folder / name, bad=bad)) == "a\n\nb"
    path = folder / name
    assert bad.notes == ["text: 'text'", f"2 rows of {path} hold no text (null, or an empty line) and are left out"]


def test_dates_and_numbers_are_no_text_unless_they_are_named(place):
    rows = [{"when": f"12:3{n}", "what": word} for n, word in enumerate("abc", 1)]
    folder = place(
        a_jsonl="\n".join(map(json.dumps, rows)),
        a_csv="when,what\n12:31,a\n12:32,b\n",
        b_csv="when,n\n2016-07-01,1\n2016-07-02,2\n",
    )
    for name in ("a.jsonl", "a.csv"):
        bad = BadItems()
        assert whole(read_corpus(folder / name, bad=bad)).startswith("a\nb")
        assert bad.notes == ["text: 'what'"]
        assert whole(read_corpus(folder / name, column="when")).startswith("12:31\n12:32")
    assert "Got 'when' (dates or numbers), 'n' (numbers) instead" in refusal(folder / "b.csv")


def test_a_line_of_too_many_cells_is_named(place):
    assert "a.csv, line 3 has 3 cells, and line 1 names 2 columns. Fix it." in refusal(
        place(a_csv="n,text\n1,a\n2,b,c\n") / "a.csv"
    )


def test_a_long_csv_may_turn_to_digits_and_be_left_half_read(place):
    path = place(a_csv="text\n" + "word\n" * 10_500 + "7\n" * 10_500) / "a.csv"
    corpus = read_corpus(path)
    assert whole(corpus) == "\n".join(["word"] * 10_500 + ["7"] * 10_500)
    next(iter(corpus.train))  # an open file that nobody closes would warn


# ------------------------------------------------------------------------------------------------ splits


def test_tiny_shakespeare_is_split_as_nanogpt_splits_it(real_data):
    corpus = read_corpus(real_data("tinyshakespeare/input.txt"))
    assert (sum(map(len, corpus.train)), sum(map(len, corpus.valid)), corpus.test) == (1_003_854, 111_540, None)


def test_names_of_files_mark_the_splits(place):
    corpus = read_corpus(place(ptb_train_txt="a", ptb_valid_txt="b", ptb_test_txt="c", README_txt="x", about_md="y"))
    assert ["".join(text) for text in (corpus.train, corpus.valid, corpus.test)] == ["a", "b", "c"]


def test_names_of_folders_mark_the_splits(place):
    corpus = read_corpus(
        place(train__0_jsonl='{"text": "a"}', dev__0_jsonl='{"text": "b"}', train__1_jsonl='{"text": "c"}')
    )
    assert ["".join(text) for text in (corpus.train, corpus.valid)] == ["a\nc", "b"]
    assert corpus.test is None


def test_a_folder_of_which_few_names_mark_splits_is_one_text(place):
    corpus = read_corpus(place(train_py="import a\n", test_py="import b", model_py="import c\n"))
    assert whole(corpus) == "import c\nimport b\nimport a\n"


def test_a_folder_is_read_in_order_and_without_what_is_hidden_binary_or_of_the_lesser_kind(place):
    folder = place(
        b_txt="b\n" * 99, a_txt="a", sub__c_md="c", _git="hidden", x_png=b"\x89PNG\0" * 999, p_json='{"a": 1}'
    )
    assert whole(read_corpus(folder)) == "a\n" + "b\n" * 99 + "c"
    assert read_corpus(folder).name == folder.name


def test_valid_and_test_may_be_files_of_their_own(place):
    folder = place(a_txt="a", b_txt="b", c_txt="c")
    corpus = read_corpus(folder / "a.txt", valid=folder / "b.txt", test=folder / "c.txt")
    assert ["".join(text) for text in (corpus.train, corpus.valid, corpus.test)] == ["a", "b", "c"]


def test_the_embedded_default_is_the_language_reference():
    corpus = read_corpus(None)
    assert corpus.name == "python"
    assert "The assert statement" in whole(corpus).replace('"assert"', "assert")
    assert corpus.train.fingerprint == read_corpus(None).train.fingerprint


def test_a_fingerprint_changes_with_what_the_file_holds_and_how_it_is_read(place):
    path = place(a_txt="abc") / "a.txt"
    first = read_corpus(path).train.fingerprint
    assert first == read_corpus(path).train.fingerprint
    assert first != read_corpus(path, encoding="latin-1").train.fingerprint
    assert first != read_corpus(path, valid_fraction=0.2).train.fingerprint
    before = path.stat()
    path.write_text("cba")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the size and the time are as they were
    assert first != read_corpus(path).train.fingerprint
    path.write_text("abc")
    os.utime(path, ns=(0, 0))
    assert first == read_corpus(path).train.fingerprint  # a copy of a text is the same text


def test_the_parts_of_a_folder_are_not_confused(place):
    folder = place(**{"a.txt": "ab\n", "b.txt": "c\n"})
    first = read_corpus(folder).train.fingerprint
    place(**{"a.txt": "a\n", "b.txt": "bc\n"})
    assert first != read_corpus(folder).train.fingerprint


def test_a_file_that_cannot_be_opened_is_said(place, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    path = place(a_txt="abc") / "a.txt"
    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(DataError, match=r"a\.txt cannot be read \(Permission denied\): give another"):
        read_corpus(path)


# ------------------------------------------------------------------------------------------------ the hub


@pytest.fixture
def hub(monkeypatch):
    """A hub that has what is put into it and is not reached otherwise."""
    found = {}

    def load_dataset(name, config):
        if (name, config) not in found:
            raise ConnectionError(f"Couldn't reach '{name}' on the Hub\nsecond line")
        return found[name, config]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return found


def split(*rows):
    return datasets.Dataset.from_dict({"text": list(rows)})


def test_a_dataset_on_the_hub_brings_its_splits(hub):
    hub["wiki/text", "v2"] = datasets.DatasetDict(
        train=split(" = A = \n", "", "b"), validation=split("c"), extra=split("d")
    )
    corpus = read_corpus("wiki/text:v2")
    assert corpus.name == "text"
    assert ["".join(text) for text in (corpus.train, corpus.valid)] == [" = A = \n\nb", "c"]
    assert corpus.test is None


def test_a_dataset_without_a_split_to_train_on_is_refused(hub):
    hub["wiki", None] = datasets.DatasetDict(test=split("a"))
    assert "must have a split 'train'. Got 'test' instead" in refusal("wiki")


def test_a_name_that_nobody_knows_says_what_the_hub_said_and_what_is_near(hub, place, monkeypatch):
    monkeypatch.chdir(place(plays_txt="a"))
    message = refusal("plays")
    assert message.startswith(
        "'plays' is no file or folder here, nor a dataset that the Hugging Face hub gives (Couldn't"
    )
    assert message.endswith("; did you mean 'plays.txt'?")
    assert "second line" not in message


@pytest.mark.parametrize("name", ["pley.txt", "./plays", "/nowhere/at/all", "here/plays"])
def test_what_can_only_be_a_path_is_not_asked_of_the_hub(hub, place, monkeypatch, name):
    monkeypatch.chdir(place(play_txt="a", here__play="a"))
    assert refusal(name).startswith("There is no file or folder")


def test_a_missing_file_offers_the_nearest(place):
    assert refusal(place(play_txt="a") / "pley.txt").endswith("pley.txt; did you mean 'play.txt'?")


# ------------------------------------------------------------------------------------------------ what is refused


def test_nothing_leaves_the_machine_or_stays_on_it_for_a_local_file(place, tmp_path_factory, monkeypatch, capfd):
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("a local file needs no network"))
    whole(read_corpus(place(a_txt="a", b_txt="b")))
    assert list(cache.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.parquet"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    assert "It is empty" in refusal(tmp_path / name)


def test_an_empty_validation_file_is_named(place):
    folder = place(a_txt="a", empty_txt="")
    assert refusal(folder / "a.txt", valid=folder / "empty.txt").startswith(f"The valid text of {folder / 'empty.txt'}")


@pytest.mark.parametrize("content", [bytes(range(256)), b"MZ\0\0text", b"\x01\x02\xff\xfe\x03" * 9], ids=str)
def test_a_binary_file_is_called_binary(place, content):
    assert "It is binary" in refusal(place(a_txt=content) / "a.txt")


def test_a_nul_far_into_a_text_is_refused(place):
    assert "NUL character" in refusal(place(a_txt=b"a\n" * 50_000 + b"\0") / "a.txt")


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv"])
def test_another_encoding_is_told_with_its_place(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b'{"text": "a"}\n' * 100_000 + b'{"text": "caf\xe9"}\n')
    assert refusal(path, format=TableFormat(header=False)) == (
        f"{path} is not utf-8: byte 1400013 (line 100001) is 0xe9. Name the encoding it has, "
        "perhaps encoding='latin-1' (on the command line --set data.encoding=latin-1)."
    )


def test_a_character_cut_off_at_the_end_is_told(place):
    assert "byte 5 (line 2) is 0xe2" in refusal(place(a_txt=b"abc\nd\xe2\x82") / "a.txt")


def test_utf_16_is_recognised(place):
    assert "perhaps encoding='utf-16'" in refusal(place(a_txt="hello\n".encode("utf-16")) / "a.txt")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "line 2 is not JSON"),
        ("a.jsonl", '"a"\n', "line 1 must be one JSON object"),
        ("a.csv", 'text\n"a', "near line 2, is not CSV (unexpected end of data)"),
        ("a.parquet", "no", "cannot be read as parquet"),
        ("a.txt.gz", "no", "cannot be read as text (Not a gzipped file"),
    ],
)
def test_a_malformed_file_is_told(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    message = refusal(tmp_path / name)
    assert said in message
    assert str(tmp_path / name) in message


def test_a_folder_without_text_is_refused(place, tmp_path):
    assert "holds no text" in refusal(tmp_path)
    assert "holds no text" in refusal(place(a_png=b"\x89PNG\0\0", empty_txt=""))


def test_a_file_that_vanishes_is_told(place):
    path = place(a_txt="abc") / "a.txt"
    corpus = read_corpus(path)
    path.unlink()
    with pytest.raises(DataError, match="No such file"):
        list(corpus.train)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5])
def test_a_fraction_must_be_one(fraction):
    with pytest.raises(ConfigError, match="'valid_fraction'"):
        read_corpus(None, valid_fraction=fraction)


@pytest.mark.parametrize(("name", "near"), [("latin1x", "did you mean 'latin-1'"), ("hex", "instead.")])
def test_an_encoding_must_exist(name, near):
    with pytest.raises(ConfigError, match="'encoding'") as caught:
        read_corpus(None, encoding=name)
    assert near in str(caught.value)


@pytest.mark.parametrize("code", [28, 30])
def test_a_table_without_room_for_temporary_files_is_one_sentence(tmp_path, monkeypatch, code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    datasets.Dataset.from_list([{"text": "the cat"}]).to_parquet(tmp_path / "rows.parquet")
    monkeypatch.setattr("tempfile.mkdtemp", fail)
    with pytest.raises(DataError, match=rf"rows\.parquet takes a folder .*\({os.strerror(code)}\): .* set TMPDIR to"):
        read_corpus(str(tmp_path / "rows.parquet"))
