import itertools

import pytest
import torch

from selfloop.models import n_grams
from selfloop.models.n_grams import n_grams_of


@pytest.fixture(autouse=True)
def none_known(monkeypatch):
    monkeypatch.setattr(n_grams, "_KNOWN", {})


def of_each(words):
    """The numbers of each word's n-grams, whatever is known."""
    for word in words:
        numbers, there = n_grams.n_grams(word.view(2, -1))
        yield numbers[there].tolist()


def found(words):
    numbers, counts, place = n_grams_of(words)
    each = [part.tolist() for part in numbers.split(counts.tolist())]
    return [each[k] for k in place.tolist()]


def some_words(count, letters=6):
    """Spellings and shapes of up to so many letters, some of them twice."""
    words = torch.randint(97, 99, (count, 2, letters))
    lengths = torch.randint(0, letters + 1, (count, 1, 1))
    return words.masked_fill(torch.arange(letters) >= lengths, 0).flatten(1)


@pytest.mark.parametrize("count", [0, 1, 300])
def test_words_that_were_there_before_have_the_same_n_grams(count):
    for words in (some_words(count), some_words(count), some_words(count)):
        assert found(words) == [*of_each(words)]


def test_each_word_that_differs_is_there_once():
    words = some_words(300)
    _, counts, place = n_grams_of(words)
    assert len(counts) == len(words.unique(dim=0)) < 300
    for (a, k), (b, m) in itertools.combinations(zip(words, place.tolist(), strict=True), 2):
        assert torch.equal(a, b) == (k == m)


def test_no_more_words_are_known_than_may_be(monkeypatch):
    monkeypatch.setattr(n_grams, "MOST_KNOWN", 40)
    for _ in range(10):
        words = some_words(30)
        assert found(words) == [*of_each(words)]
        assert len(n_grams._KNOWN) <= 40


def test_traced_words_are_not_looked_up(monkeypatch):
    words = some_words(20)
    monkeypatch.setattr(n_grams, "has_numbers", lambda v: False)
    assert found(words) == [*of_each(words)]
    assert not n_grams._KNOWN
