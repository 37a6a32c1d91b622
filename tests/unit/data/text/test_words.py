"""Which texts are read as words, and how they are split."""

import pytest

from selfloop.data.text.words import split_words, suits_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A fine, funny film!", "A fine , funny film !"),
        ("It isn't what she's said: we'd know.", "It is n't what she 's said : we 'd know ."),
        ("they wo n't sit", "they wo n't sit"),
        ("Naïve café №5", "Naïve café № 5"),
        ("well-known (2,000)", "well - known ( 2 , 000 )"),
        (" \n ", ""),
    ],
)
def test_words_are_split_from_their_punctuation(text, words):
    assert " ".join(split_words(text)) == words


def test_text_that_is_split_already_stays_as_it_is():
    once = split_words("She's said: “it isn't” – and who'd know?")
    assert split_words(" ".join(once)) == once


SENTENCES = ["the film is good", "the film is bad", "the end is good", "the end is bad", "a bad film"]


@pytest.mark.parametrize(
    ("texts", "as_words"),
    [
        (SENTENCES, True),
        (["Abe", "Ahmed", "Anderson", "Abe"], False),
        (["yes", "no"] * 50, False),  # equal texts tell nothing of new ones
        (["我喜欢这部电影", "我不喜欢这部电影"], False),
        (["ACGT", "GGTA"], False),
        (["?", "!"], False),
        ([""], False),
    ],
)
def test_texts_most_of_whose_words_come_once_are_read_as_characters(texts, as_words):
    assert suits_words(texts) is as_words
