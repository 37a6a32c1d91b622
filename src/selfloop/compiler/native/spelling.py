"""A word as a vector: that of the word itself, plus those of the n-grams of its spelling and of its shape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selfloop.compiler.native.weights import PartLayout, Vector
from selfloop.compiler.native.writer import Value, Writer

MOST_BUCKETS = 1 << 16
"""Vectors of n-grams: remainders are made 16 bits at a time, in 32."""


@dataclass(frozen=True)
class Spelling:
    """How words are read: a row of 1 + 2 · letters numbers each.

    These are the number of the word, the code points of its letters, with zeros after the last, and those of its shape
    likewise.

    Attributes:
        words: that have a vector of their own; the first is for all others.
        buckets: vectors of n-grams, at most `MOST_BUCKETS`.
        letters: of a word that are read.
        longest: letters of an n-gram at the most.
        base: of the polynomial that an n-gram is hashed by.
    """

    words: int
    buckets: int
    letters: int
    longest: int
    base: int

    @property
    def row(self) -> int:
        """Numbers of a word."""
        return 1 + 2 * self.letters


def read_row(w: Writer, floats: Value, codes: Value, table: Vector, row: Callable[[], Value]) -> "Row":
    """A row of a table, to be read unit by unit: `row` tells its number where it is read."""
    columns = table.size // table.rows

    def read(u: Value) -> Value:
        value = w.load(w.at(codes, row() * columns + table.start), u)
        return value if table.scale is None else value * w.one(w.at(floats, table.scale), row())

    return read


Row = Callable[[Value], Value]


def write_word(
    w: Writer, name: str, spelling: Spelling, size: int, pointers: Sequence[tuple[str, str]], layout: PartLayout
) -> None:
    """The function ``void name(weights, const uint32_t *word, float *x)``.

    Args:
        w: of the code.
        name: of the function.
        spelling: how words are read.
        size: of the vector.
        pointers: to the weights.
        layout: of the tables ``words`` and ``grams``; row 0 of the latter is not used.
    """
    words, grams = layout.table("words", spelling.words, size), layout.table("grams", 1 + spelling.buckets, size)
    with w.function(name, [*pointers, ("constant_words", "word"), ("room", "x")]) as given:
        floats, codes, word, x = given[0], given[-3], *given[-2:]
        w.comment("The vector of a word: the sum of the vectors of its n-grams, of the spelling and of the shape.")
        w.fill(x, size, 0.0)
        count = w.variable(0)
        with w.loop(2) as half:
            letters = w.at(word, half * spelling.letters + 1)
            length = w.variable(0)
            with w.loop(spelling.letters) as k, w.when(w.op("gt", w.one(letters, k), 0)):
                length.set(length.get() + 1)
            with w.loop(spelling.letters + 2) as first:
                w.comment("An n-gram is hashed to the sum of letter k times a power k of a prime, modulo 2^64.")
                total, power = w.variable(w.whole("long", 0)), w.variable(w.whole("long", 1))
                with w.loop(spelling.longest) as n, w.when(w.op("lt", first + n, spelling.letters + 2)):
                    letter = _letter(w, letters, first + n, length.get(), spelling.letters)
                    total.set(total.get() + w.to("long", letter) * power.get())
                    power.set(power.get() * spelling.base)
                    with w.when(w.op("gt", letter, 0)):
                        count.set(count.get() + 1)
                        bucket = w.variable(w.to("int", _remainder(w, total.get(), spelling.buckets)) + 1)
                        row = read_row(w, floats, codes, grams, bucket.get)
                        w.each(size, lambda u, _: w.store(w.load(x, u) + row(u), x, u))
        w.comment("It is divided by the root of their number, and the vector of the word itself is added.")
        known = w.variable(0)
        with w.when(w.op("lt", w.one(word, 0), spelling.words)):
            known.set(w.to("int", w.one(word, 0)))
        rate = w.room("rate", 1)
        w.store_one(w.const(1.0) / w.op("sqrt", w.to("float", count.get())), rate)
        own = read_row(w, floats, codes, words, known.get)
        w.each(size, lambda u, _: w.store(w.load(x, u) * w.one(rate) + own(u), x, u))


def _letter(w: Writer, letters: Value, place: Value, length: Value, most: int) -> Value:
    """The letter at a place of a word with a border, 1, before its first and after its last."""
    found = w.variable(w.whole("word", 0))
    with w.when(w.op("gt", place, 0)), w.when(w.op("le", place, most)):
        found.set(w.one(letters, place - 1))
    with w.when(w.op("eq", place, 0)):
        found.set(1)
    with w.when(w.op("eq", place, length + 1)):
        found.set(1)
    return found.get()


def _remainder(w: Writer, total: Value, divisor: int) -> Value:
    """Of a number of 64 bits with a sign, at least 0, as Python's; without a division of 64 bits, which is a call."""
    rest = w.variable(w.whole("word", 0))
    for shift in (48, 32, 16, 0):
        digit = w.to("word", total >> shift) & 0xFFFF
        rest.set(w.op("rem", (rest.get() << 16) + digit, divisor))
    with w.when(w.op("gt", w.to("word", total >> 63), 0)):
        rest.set(w.op("rem", rest.get() + (divisor - 2**64 % divisor), divisor))
    return rest.get()
