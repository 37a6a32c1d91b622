import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from selfloop.data.text.vocabulary import LONGEST, Vocabulary, shape

WORDS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), min_size=1, max_size=6)


@given(sentence=WORDS)
def test_what_was_seen_is_known(sentence):
    vocabulary = Vocabulary.of([sentence, sentence])
    rows = vocabulary.encode(sentence)
    assert rows.shape == (len(sentence), 1 + 2 * LONGEST)
    for row, word in zip(rows, sentence, strict=True):
        assert vocabulary.words[row[0]] == word.lower()
        for half, whole in zip(np.split(row[1:], 2), (word.lower(), shape(word)), strict=True):
            read = whole if len(whole) <= LONGEST else whole[:10] + whole[-10:]
            assert "".join(map(chr, half[: len(read)])) == read
            assert not half[len(read) :].any()


def test_rare_words_are_unknown_but_spelt():
    vocabulary = Vocabulary.of([["cat", "cat", "act"]])
    rows = vocabulary.encode(["act", "cäb"])
    assert rows[:, 0].tolist() == [0, 0]
    assert ["".join(map(chr, row[1:4])) for row in rows] == ["act", "cäb"]


def test_the_most_frequent_words_are_kept_and_others_where_they_are_asked_for():
    sentences = [["a", "b", "b", "c", "c", "c", "d"]]
    assert Vocabulary.of(sentences).words == ("<unk>", "b", "c")
    assert Vocabulary.of(sentences, size=2).words == ("<unk>", "c")
    assert Vocabulary.of(sentences, also={"d", "e"}).words == ("<unk>", "b", "c", "d")
