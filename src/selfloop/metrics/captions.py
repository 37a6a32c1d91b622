"""Captions against several references: BLEU-1 to 4 and CIDEr, as image captioning reports them.

The definitions, to the constants, are those of coco-caption (Chen et al., *Microsoft COCO Captions*, 2015), which
published figures come from; the tests hold figures that it computed.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

from selfloop.errors import ArgumentError

Gram = tuple[str, ...]
Vector = dict[Gram, float]

LONGEST = 4
"""n-grams are of 1 to 4 words."""

SIGMA = 6.0
"""How far CIDEr-D lets two lengths differ, in words."""

_ENDING = r"'(?:s|m|d|ll|re|ve)\b"
_WORD = re.compile(
    rf"{_ENDING}|n't\b|can(?=not\b)|\w+(?=n't\b)"  # what the Penn treebank cuts: it 's, is n't, can not
    rf"|\w+(?:(?!{_ENDING})(?:[-'./:&]|(?<=\d),(?=\d))\w+)*"
    r"|[#$%&+=@]"
)


def caption_words(caption: str) -> list[str]:
    """A caption's words in lower case, without punctuation: coco-caption's tokens, for English.

    Of Flickr8k's 40,460 captions 40,438 have the tokens of coco-caption, which runs Stanford's tokenizer in Java; the
    others hold abbreviations ("Mr.", "D.C.") or brackets.

    Example:
        >>> caption_words("A man's dog isn't running .")
        ['a', 'man', "'s", 'dog', 'is', "n't", 'running']
    """
    return _WORD.findall(caption.lower())


def caption_bleu(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, float, float, float]:
    """Corpus BLEU-1, 2, 3 and 4 (Papineni et al. 2002), 0 to 100.

    Clipped precisions without smoothing; the brevity penalty takes, for each caption, the reference length that is
    closest to its own, and of two the shorter.

    Args:
        predicted: N captions, one an image.
        references: for each image one caption or more.

    Raises:
        ArgumentError: there are no captions, or not references for each.

    Example:
        >>> scores = caption_bleu(["a dog runs"], [["a dog runs fast", "the dog is running"]])
        >>> [round(score, 1) for score in scores]
        [71.7, 71.7, 71.7, 0.0]
    """
    hits, said = [0] * LONGEST, [0] * LONGEST
    length = reference_length = 0
    for caption, others in _words("caption_bleu", predicted, references):
        length += len(caption)
        reference_length += min((abs(len(other) - len(caption)), len(other)) for other in others)[1]
        most: Counter[Gram] = Counter()
        for other in others:
            most |= _grams(other)
        for gram, count in _grams(caption).items():
            said[len(gram) - 1] += count
            hits[len(gram) - 1] += min(count, most[gram])
    brevity = math.exp(min(0.0, 1 - reference_length / length)) if length else 0.0
    precisions = [hit / total if total else 0.0 for hit, total in zip(hits, said, strict=True)]
    one, two, three, four = (100 * brevity * math.prod(precisions[:n]) ** (1 / n) for n in range(1, LONGEST + 1))
    return one, two, three, four


def cider(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D (Vedantam et al. 2015): do the captions share what is telling in their references? From 0 to 10.

    The mean over n = 1 to 4 of the cosines of tf-idf vectors of n-grams, with counts clipped and a Gaussian penalty on
    the difference in length, times 10. Rarity is counted over the references given here, by image: the figure depends
    on all of them, and for a single image it is 0. Papers that print 114.0 have multiplied by 100.

    Args:
        predicted: N captions, one an image.
        references: for each image one caption or more.

    Raises:
        ArgumentError: there are no captions, or not references for each.

    Example:
        >>> round(cider(["a dog runs", "two men"], [["a dog runs", "a dog is running"], ["two men talk"]]), 2)
        4.36
    """
    pairs = _words("cider", predicted, references)
    images = Counter(gram for _, others in pairs for gram in set().union(*map(_grams, others)))
    rarity = {gram: math.log(len(pairs) / count) for gram, count in images.items()}
    unseen = math.log(len(pairs))
    total = 0.0
    for caption, others in pairs:
        ours = _vector(caption, rarity, unseen)
        total += sum(_similarity(ours, _vector(other, rarity, unseen)) for other in others) / len(others)
    return 10 * total / len(pairs)


def _vector(words: list[str], rarity: Vector, unseen: float) -> tuple[list[Vector], int]:
    """The tf-idf vectors, one for each n, and the length in words."""
    vectors: list[Vector] = [{} for _ in range(LONGEST)]
    for gram, count in _grams(words).items():
        vectors[len(gram) - 1][gram] = count * rarity.get(gram, unseen)
    return vectors, len(words)


def _similarity(caption: tuple[list[Vector], int], reference: tuple[list[Vector], int]) -> float:
    (ours, length), (theirs, other_length) = caption, reference
    cosines = 0.0
    for a, b in zip(ours, theirs, strict=True):
        dot = sum(min(weight, b[gram]) * b[gram] for gram, weight in a.items() if gram in b)
        norms = math.hypot(*a.values()) * math.hypot(*b.values())
        cosines += dot / norms if norms else 0.0
    return cosines / LONGEST * math.exp(-((length - other_length) ** 2) / (2 * SIGMA**2))


def _grams(words: list[str]) -> Counter[Gram]:
    return Counter(tuple(words[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1))


def _words(
    caller: str, predicted: Sequence[str], references: Sequence[Sequence[str]]
) -> list[tuple[list[str], list[list[str]]]]:
    """Each caption and its references, in words."""
    if len(predicted) != len(references) or not predicted:
        raise ArgumentError(
            f"{caller} needs captions and references for each. "
            f"Got {len(predicted)} captions and references for {len(references)}."
        )
    for number, others in enumerate(references):
        if isinstance(others, str) or not others:
            raise ArgumentError(
                f"The 'references' of {caller} must be a list of captions for each image. "
                f"Got {others!r} for image {number}."
            )
    return [
        (caption_words(caption), [caption_words(other) for other in others])
        for caption, others in zip(predicted, references, strict=True)
    ]
