"""Pretrained word vectors, in the formats of GloVe and fastText."""

import gzip

import pytest

from selfloop.data.text.vectors import read_vectors
from selfloop.errors import DataError

GLOVE = "the 0.5 -1 2e-1\nThe 9 9 9\nat home 1 2 3\ncafé 4 5 6\nthe 7 7 7\n"
FASTTEXT = "2 3 \nthe 0.5 -1 0.2 \nKino 1 2 3 \n"


@pytest.fixture
def file(tmp_path):
    def write(text, name="vectors.txt"):
        path = tmp_path / name
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def read(path, *words):
    return {word: vector.tolist() for word, vector in read_vectors(path, words).items()}


def test_glove_is_a_word_and_its_numbers_a_line(file):
    found = read(file(GLOVE), "The", "café", "at home", "unheard")
    assert found == {"The": [9, 9, 9], "café": [4, 5, 6], "at home": [1, 2, 3]}


def test_of_a_word_twice_the_first_counts_and_capital_letters_do_where_there_is_no_other(file):
    upper_first = "Paris 1 1 1\nPARIS 2 2 2\nKino 3 3 3\nkino 4 4 4\nKINO 5 5 5\nkino 6 6 6\n"
    assert read(file(upper_first), "paris", "kino") == {"paris": [1, 1, 1], "kino": [4, 4, 4]}
    assert read(file(GLOVE), "the") == {"the": pytest.approx([0.5, -1, 0.2])}


@pytest.mark.parametrize("name", ["wiki.vec", "wiki.vec.gz", "plain-name.gz"])
def test_fasttext_begins_with_a_line_of_its_own_and_may_be_compressed(file, name):
    assert read(file(FASTTEXT, name), "Kino", "2") == {"Kino": [1, 2, 3]}


def test_line_ends_of_windows_and_empty_lines_at_the_end_are_no_damage(file):
    assert read(file(GLOVE.replace("\n", "\r\n") + "\r\n\n"), "café") == {"café": [4, 5, 6]}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("word 1 2", "'word 1 2'"),
        ("word 1 2 3 4", "'word 1 2 3 4'"),
        ("word 1 x 3", "'word 1 x 3'"),
        ("word 1 nan 3", "'word 1 nan 3'"),
        ("word,1,2,3", "'word,1,2,3'"),
    ],
)
def test_a_damaged_line_is_named(file, line, shown):
    path = file(f"the 1 2 3\na 1 2 3\n{line}\nend 1 2 3\n")
    with pytest.raises(DataError) as error:
        read_vectors(path, ["word", "the"])
    assert str(error.value) == (
        f"{path}, line 3 must hold a word and 3 numbers, with a space between. Got {shown}: "
        "give vectors in the text format of GloVe or fastText (.vec), or get the file again."
    )


def test_what_is_no_file_of_vectors_is_refused(file, tmp_path):
    with pytest.raises(DataError, match=r"line 1 must hold a word and its numbers, with a space between\. Got 'a,1,2'"):
        read_vectors(file("a,1,2\nb,3,4\n"), ["a"])
    with pytest.raises(DataError, match="none of the 2 words of the training data: give vectors of their language"):
        read_vectors(file(GLOVE), ["Haus", "Hof"])
    with pytest.raises(DataError, match="none of the 1 words"):
        read_vectors(file(""), ["Haus"])
    with pytest.raises(DataError, match=r"The word vectors .*none\.vec cannot be read \(.*No such file"):
        read_vectors(tmp_path / "none.vec", ["Haus"])


def test_a_file_that_is_cut_short_is_noticed(file):
    path = file(FASTTEXT.replace("2 3", "5 3", 1))
    with pytest.raises(DataError, match="is cut short: line 1 says that it has 5 words, and it has 2"):
        read_vectors(path, ["Kino"])
    short = file(FASTTEXT * 1000, "x.gz")
    short.write_bytes(short.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read_vectors(short, ["Kino"])
