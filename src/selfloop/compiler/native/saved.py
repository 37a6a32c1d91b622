"""A session's state as bytes, and files of weights that belong to the code."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selfloop.compiler.native.model import HEAD, MAGIC, SUM, Model, form
from selfloop.compiler.native.writer import Number, Value, Variable, Writer

MIXING = ((16, 0x85EBCA6B), (13, 0xC2B2AE35))
"""Of a word, twice: xor it with itself shifted right so far, and multiply."""


def write_save(w: Writer, model: Model) -> None:
    """A session's state as bytes, behind the head of its weights; and back, if they are those of the same model."""
    first, size = next(iter(model.states)), sum(model.states.values())
    saved = [("weights", "w"), ("state", "s"), ("words", "saved")]
    with w.function(f"{model.name}_save", saved, is_public=True) as (weights, state, to):
        _copy_words(w, w.field(weights, "head"), to, HEAD)
        _copy_words(w, w.cast(w.field(state, first), "words"), w.at(to, HEAD), size)
    loaded = [("weights", "w"), ("state", "s"), ("constant_words", "saved")]
    with w.function(f"{model.name}_load", loaded, result="int", is_public=True) as (weights, state, given):
        head, is_other = w.field(weights, "head"), w.variable(0)
        with w.loop(HEAD) as k, w.when(w.op("gt", w.one(head, k) ^ w.one(given, k), 0)):
            is_other.set(1)
        with w.when(w.op("eq", is_other.get(), 0)):
            _copy_words(w, w.at(given, HEAD), w.cast(w.field(state, first), "words"), size)
        w.give(is_other.get())


def write_check(w: Writer, model: Model, words: int) -> None:
    """0 if a file holds weights of this model, 1 if of another, 2 if it is too short, 3 if its weights have changed.

    Args:
        w: writes the function.
        model: whose weights they are.
        words: of the weights behind the head, 4 bytes each.
    """
    given = [("constant_words", "file"), ("word", "bytes")]
    with w.function(f"{model.name}_check", given, result="int", is_public=True) as (file, size):
        wrong = w.variable(0)
        with w.when(w.op("lt", size, 4 * (HEAD + words))):
            wrong.set(2)
        with w.when(w.op("ge", size, 4 * HEAD)):
            _expect(w, file, 0, (MAGIC, *form(model, w.kind)), wrong, 1)
        with w.when(w.op("eq", wrong.get(), 0)):
            first, second = _checksum(w, w.at(file, HEAD), words)
            _expect(w, file, SUM, (first.get(), second.get(), 4 * (HEAD + words)), wrong, 3)
        w.give(wrong.get())


def checksum(words: NDArray[np.uint32]) -> tuple[int, int]:
    """Two words that differ where any one word of weights does, and by all odds where more do.

    Each word is mixed as the hash MurmurHash3 ends (Appleby 2011), which maps no two words to the same; of the mixed
    words there are two sums, as Fletcher's (1982): the second adds up what the first is after each word.
    """
    mixed = words.copy()
    for shift, factor in MIXING:
        mixed ^= mixed >> np.uint32(shift)
        mixed *= np.uint32(factor)
    first, second = mixed.sum(dtype=np.uint32), mixed.cumsum(dtype=np.uint32).sum(dtype=np.uint32)
    return int(first), int(second)


def _checksum(w: Writer, words: Value, count: int) -> tuple[Variable, Variable]:
    """`checksum` as code."""
    first, second = w.variable(w.whole("word", 0)), w.variable(w.whole("word", 0))
    with w.loop(count) as k:
        mixed = w.variable(w.one(words, k))
        for shift, factor in MIXING:
            mixed.set((mixed.get() ^ (mixed.get() >> shift)) * factor)
        first.set(first.get() + mixed.get())
        second.set(second.get() + first.get())
    return first, second


def _expect(w: Writer, file: Value, start: int, words: Sequence[Number], wrong: Variable, error: int) -> None:
    """Sets `wrong` where a file has other words from `start` on."""
    for place, word in enumerate(words, start):
        with w.when(w.op("gt", w.one(file, place) ^ word, 0)):
            wrong.set(error)


def _copy_words(w: Writer, source: Value, to: Value, count: int) -> None:
    with w.loop(count) as k:
        w.store_one(w.one(source, k), to, k)
