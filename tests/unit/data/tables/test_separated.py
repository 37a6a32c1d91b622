import gzip
import json

import pytest
from read_data import read_classified, read_pairs, read_sources, read_unlabelled

from selfloop.data.examples import BadItems
from selfloop.data.readers.captioned import CaptionReader
from selfloop.data.reading import Reading
from selfloop.data.tables.separated import HEAD, TableFormat
from selfloop.data.tables.table import read_table
from selfloop.data.text.corpus import read_corpus
from selfloop.errors import DataError

NAMELESS, QUOTED = TableFormat(header=False), TableFormat(quotes=True)


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


def table(path, **options):
    return read_table(path, Reading(format=TableFormat(**options)))


def rows(path, **options):
    return [tuple(row.values()) for row in table(path, **options).rows]


# ------------------------------------------------------------------------------------------------ quotes, separators

STRAY = 'text\tlabel\nfive " of rain\tx\nno\ty\nyes\tx\n"so\ty\nit is "\tx\nend\ty\n'


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_quotation_marks_in_tsv_are_characters(write, name):
    path = write(name, STRAY)
    texts = ['five " of rain', "no", "yes", '"so', 'it is "', "end"]
    assert [text for text, _ in rows(path)] == texts
    found = read_classified(path, valid=path, bad=BadItems())
    assert list(found.train.inputs) == texts
    corpus = read_corpus(path, column="text", valid_fraction=0.1)
    assert "".join(corpus.train) + "".join(corpus.valid) == "\n".join(texts)


def test_quotes_in_tsv_are_read_where_they_are_asked_for(write):
    path = write("a.tsv", 'text\tlabel\n"a\tb"\tx\nc\ty\n')
    assert rows(path, quotes=True) == [("a\tb", "x"), ("c", "y")]
    assert rows(write("a.csv", 'text,label\n"a,x\nb",y\n'), quotes=False) == [('"a', "x"), ('b"', "y")]


def test_quotes_round_whole_cells_of_tsv_are_kept_and_said(write):
    bad = BadItems()
    assert read_table(write("a.tsv", 'text\tlabel\n"a"\tx\nc\ty\n'), Reading(bad=bad)).rows[0]["text"] == '"a"'
    assert bad.notes == ["cells of a.tsv stand in quotes, which are kept: --set data.quotes=true takes them off"]
    bad = BadItems()
    read_table(write("b.tsv", STRAY), Reading(bad=bad))
    assert not bad.notes


def test_semicolons_are_recognised_and_said(write):
    bad = BadItems()
    path = write("a.csv", 'text;label\n"one; or, two";x\nthree, four;y\n;x\n')
    assert read_table(path, Reading(bad=bad)).rows[0] == {"text": "one; or, two", "label": "x"}
    assert bad.notes == ["a.csv is read with ';' between cells"]
    corpus = read_corpus(path, column="text", valid_fraction=0.1)
    assert "".join(corpus.train) + "".join(corpus.valid) == "one; or, two\nthree, four\n"


def test_decimal_commas_between_semicolons_are_read_as_points_and_said(write):
    bad = BadItems()
    path = write("a.csv", "x;y;label\n1,5;-2,5e3;up\n2;,5;down\n;1,25;up\n")
    read = read_table(path, Reading(bad=bad))
    assert [tuple(row.values()) for row in read.rows] == [
        ("1.5", "-2.5e3", "up"),
        ("2", ".5", "down"),
        ("", "1.25", "up"),
    ]
    assert bad.notes == ["a.csv is read with ';' between cells", "numbers of a.csv have a decimal comma"]
    found = read_classified(write("b.csv", "a;b;label\n" + "1,5;2,5;up\n2,25;1;down\n" * 9), bad=BadItems())
    assert {tuple(series.ravel().tolist()) for series in found.train.inputs} == {(1.5, 2.5), (2.25, 1.0)}


def test_decimal_commas_need_no_names_above_them(write):
    assert rows(write("a.csv", "1,5;2,5\n3,5;4\n"), header=False) == [("1.5", "2.5"), ("3.5", "4")]
    with pytest.raises(DataError, match=r"Got the number '1\.5' above a column of numbers"):
        table(write("b.csv", "1,5;2,5\n3,5;4\n"))


@pytest.mark.parametrize("cell", ["1.234", "-1.5", " 2.0"])
@pytest.mark.parametrize("before", [1, HEAD + 1])
def test_a_point_among_decimal_commas_is_refused(write, cell, before):
    """1.234 was read as a number near 1, where it may be one above 1000."""
    path = write("a.csv", "x;label\n" + "1,5;up\n" * before + f"{cell};up\n-2,5;down\n")
    said = (
        rf"a\.csv, line {before + 2} holds '{cell}' in a column of numbers with a decimal comma, where a point may sep"
    )
    with pytest.raises(DataError, match=said):
        read_table(path, Reading())
    bad = BadItems(skip=True)
    rows = read_table(path, Reading(bad=bad)).rows
    assert [row["x"] for row in rows] == ["1.5"] * before + ["-2.5"] and len(bad.found) == 1


@pytest.mark.parametrize("skip", [False, True])
def test_names_above_decimal_commas_may_have_points(write, skip):
    """Such as moments: with --skip-bad the row below became the names."""
    path, bad = write("a.csv", "label;0.1;0.2;0.3\nup;1,5;2,5;3,5\ndown;2;3,5;1\n"), BadItems(skip)
    found = read_table(path, Reading(bad=bad))
    assert found.columns == ["label", "0.1", "0.2", "0.3"] and not bad.found
    assert [tuple(row.values()) for row in found.rows] == [("up", "1.5", "2.5", "3.5"), ("down", "2", "3.5", "1")]
    with pytest.raises(DataError, match=r"line 1 holds '0\.1' in a column of numbers with a decimal comma"):
        table(path, header=False)


def test_a_point_in_another_column_is_a_point(write):
    rows = read_table(write("a.csv", "x;y\n1,5;1.5\n2;2.5\n"), Reading()).rows
    assert rows == [{"x": "1.5", "y": "1.5"}, {"x": "2", "y": "2.5"}]


def test_commas_of_what_is_no_number_stay(write):
    path = write("a.csv", "series;price;label\n1,2;1,5;3,5 stars\n1,2,3;2.5;2,5\n4,5;much;0,5\n")
    assert rows(path) == [("1,2", "1,5", "3,5 stars"), ("1,2,3", "2.5", "2,5"), ("4,5", "much", "0,5")]
    assert rows(write("b.csv", 'x,y\n"1,5","2,5"\n')) == [("1,5", "2,5")]


@pytest.mark.parametrize(
    "text", ['"a;b",c\n1,2\n', "a;b\nno more\nthan one cell\n", "a;b\n1;2;3\n", "a,b;c\n1,2\n"], ids=repr
)
def test_semicolons_that_are_in_cells_separate_nothing(write, text):
    bad = BadItems(skip=True)
    read_table(write("a.csv", text), Reading(bad=bad, format=TableFormat(header=True)))
    assert not bad.notes


def test_a_first_line_of_semicolons_alone_may_be_long(write):
    names = ";".join(map(str, range(300)))
    assert table(write("a.csv", f"{names}\n{names}\n")).columns == names.split(";")


# ------------------------------------------------------------------------------------------------ names, or none

LOST = {
    "a number above numbers": ("a.tsv", "good film\t1\nbad film\t0\nso so\t1\n", "the number '1' above a column of"),
    "a class that comes again": ("a.csv", "good film,pos\nbad film,neg\nso so,pos\n", "'pos', which stands in the"),
    "numbers alone": ("a.csv", "0.5,0.1,up\n0.2,0.7,down\n0.1,0.2,up\n", "the number '0.5' above a column of numbers"),
    "digits": ("a.csv", "5,0,9,17\n1,0,3,0\n7,2,0,0\n", "the number '5' above"),
    "no name": ("a.csv", "text,,label\na,b,x\nc,d,y\n", "no name for column 2"),
    "a class, semicolons": ("a.csv", "good film;pos\nbad film;neg\nso so;pos\n", "'pos', which stands in the"),
}


@pytest.mark.parametrize("case", LOST)
def test_a_first_line_that_looks_like_data_is_not_taken_as_names(write, case):
    name, text, said = LOST[case]
    path = write(name, text)
    with pytest.raises(DataError, match=r"must name its columns in line 1\. Got .*--no-header") as caught:
        table(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    separator = "\t" if name == "a.tsv" else ";" if ";" in text else ","
    assert rows(path, header=False) == [tuple(line.split(separator)) for line in text.splitlines()]
    assert table(path, header=True).columns == text.splitlines()[0].split(separator)


@pytest.mark.parametrize(
    "text",
    [
        "label,0,1,2\nx,1,2,3\ny,1,2,3\n",
        "1,2,3,4\n0.5,0.5,0.5,0.5\n",
        "country,1990,1995,2000\nHungary,1,2,3\n",
        ",text,label\n0,a,x\n1,b,y\n",
        "id,Word,Tag\n1,Word,N\n2,perfect,A\n3,Word,N\n",
        "text,label\na,x\nb,y\n",
        "series,label\n[1],a\n[2],b\n",
    ],
    ids=repr,
)
def test_a_first_line_of_names_is_taken_as_names(write, text):
    assert table(write("a.csv", text)).columns == text.splitlines()[0].split(",")


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "a great film!\nso so\n"), ("a.tsv", "Abe\nAdam\nAbe\n"), ("b.csv", "Abe\n")]
)
def test_one_column_may_be_rows_from_line_1_on(write, name, text):
    path = write(name, text)
    with pytest.raises(DataError, match=r"Got one column, '.*', which may be a row: .*--no-header.*--header if these"):
        table(path)
    assert rows(path, header=False) == [(line,) for line in text.splitlines()]
    with pytest.raises(DataError, match="which may be a row"):
        "".join(read_corpus(path).train)


@pytest.mark.parametrize("text", ["text\nso so\n", "Sentence\na\n", "load\n1.5\n\n2.5\n"])
def test_one_column_of_a_usual_name_or_of_numbers_has_a_name(write, text):
    assert table(write("a.csv", text)).columns == [text.split()[0]]


def test_a_name_that_the_user_gives_is_one(write):
    path = write("a.csv", "pos,body\nneg,a\npos,b\n")
    with pytest.raises(DataError, match="Got 'pos'"):
        table(path)
    assert table(path, named=("body",)).columns == ["pos", "body"]
    with pytest.raises(DataError, match="Got the number '1'"):
        table(write("b.csv", "1,x\n5,y\n7,x\n"), named=("1",))


def test_a_name_that_stands_twice_is_told_how_to_read_it(write):
    with pytest.raises(DataError, match=r"Got 'a' twice: write a line of names above it, or give --no-header"):
        table(write("a.csv", "a,a,x\nb,c,y\nd,e,x\n"))


def test_every_task_reads_columns_by_number(write, tmp_path):
    path = write("a.tsv", "good film\tpos\nbad film\tneg\nso so\tpos\nugh\tneg\n")
    found = read_classified(path, input="1", label="2", format=NAMELESS, valid=path, bad=BadItems())
    assert (found.train.inputs[0], found.train.labels[0], len(found.train)) == ("good film", "pos", 4)
    assert read_unlabelled(path, input="1", label="2", format=NAMELESS, bad=BadItems()).inputs[0] == "good film"
    corpus = read_corpus(path, column="1", format=NAMELESS)
    assert "".join(corpus.train) + "".join(corpus.valid) == "good film\nbad film\nso so\nugh"
    bad = BadItems()
    pairs = read_pairs(str(path), None, input="1", label="2", format=NAMELESS, bad=bad)
    assert bad.notes == ["source: '1'; target: '2'"]
    assert {*pairs.train.inputs, *pairs.valid.inputs} == {"good film", "bad film", "so so", "ugh"}
    assert read_sources(str(path), column="1", format=NAMELESS, bad=BadItems()).inputs[0] == "good film"
    (tmp_path / "i.png").write_bytes(b"")
    captions = write("b.csv", "i.png,a dog\ni.png,a cat\n")
    bad = BadItems()
    assert CaptionReader(Reading("1", "2", bad=bad, format=NAMELESS)).score(captions).labels == [["a dog", "a cat"]]
    assert bad.notes == ["image: '1'; captions: '2'"]


def test_rows_of_a_nameless_table_may_differ_in_length(write):
    path = write("a.csv", "x,1,2\ny,1,2,3\n")
    assert table(path, header=False).columns == ["1", "2", "3", "4"]
    with pytest.raises(DataError, match=r"line 1002 has 5 cells, and the lines before have 4 at the most"):
        table(write("b.csv", "x,1,2,3\n" * 1001 + "x,1,2,3,4\n"), header=False)


@pytest.mark.parametrize("header", [None, False])
def test_empty_lines_above_the_first_are_passed_over(write, header):
    path = write("a.csv", "\n\ntext;label\na;x\nb;y\n")
    assert rows(path, header=header)[-2:] == [("a", "x"), ("b", "y")]
    assert table(path).places == [f"{path}, line {line}" for line in (4, 5)]
    for read in (table, lambda path: "".join(read_corpus(path).train)):
        with pytest.raises(DataError, match=r"must hold (rows|something)"):
            read(write("b.csv", "\n\n"))


def test_json_knows_no_first_line(write):
    assert rows(write("a.jsonl", json.dumps({"a": 1}) + "\n"), header=False) == [(1,)]
