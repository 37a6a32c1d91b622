r"""The words of a text, for training and prediction alike.

>>> split_words("I don't like it!")
['I', 'do', "n't", 'like', 'it', '!']
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

MANY = 20_000
"""Texts that are looked at to see what suits them."""

MOSTLY_NEW = 0.5
"""The share of words that come once above which texts are read as characters. It is 0.98 in surnames by language, 0.66
in single words, and in sentences from 0.42 (60 of them) to 0.03 (10,000)."""

_WORD = re.compile(r"\w+?(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|\w+|[^\w\s]", re.IGNORECASE)


def split_words(text: str) -> list[str]:
    """The words of a text, and its punctuation, a mark each.

    Contractions are cut as in the Penn Treebank, which pretrained vectors follow: do n't, it 's.
    """
    return _WORD.findall(text)


def suits_words(texts: Sequence[str]) -> bool:
    """Whether texts are to be read as words: whether few of their words come once.

    The share of words that come once is what Good and Turing estimate the share of unknown words in new texts by: high
    for names, which differ in one word, and low for sentences. Equal texts count once.

    >>> suits_words(["Ahmed", "Anderson", "Abe"]), suits_words(["it is good", "it is not", "is it good"])
    (False, True)
    """
    step = max(1, len(texts) // MANY)
    counts = Counter(
        word for text in dict.fromkeys(islice(texts, None, None, step)) for word in split_words(text.lower())
    )
    once = sum(count == 1 for count in counts.values())
    return bool(counts) and once < MOSTLY_NEW * counts.total()
