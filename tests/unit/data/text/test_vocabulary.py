from hypothesis import given
from hypothesis import strategies as st

from selfloop.data.text.vocabulary import LONGEST, Vocabulary

WORDS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), min_size=1, max_size=6)


@given(sentence=WORDS)
def test_what_was_seen_is_known(sentence):
    vocabulary = Vocabulary.of([sentence, sentence])
    rows = vocabulary.encode(sentence)
    assert rows.shape == (len(sentence), 1 + LONGEST)
    for row, word in zip(rows, sentence, strict=True):
        assert vocabulary.words[row[0]] == word
        spelt = "".join(vocabulary.characters[c - 1] for c in row[1:] if c)
        assert spelt == (word if len(word) <= LONGEST else word[:10] + word[-10:])


def test_rare_words_and_strange_characters_are_unknown_but_spelt():
    vocabulary = Vocabulary.of([["cat", "cat", "act"]])
    rows = vocabulary.encode(["act", "cäb"])
    assert rows[:, 0].tolist() == [0, 0]
    assert rows[0, 1:5].tolist() == [vocabulary.characters.index(c) + 1 for c in "act"] + [0]
    assert rows[1, 2] == 1
