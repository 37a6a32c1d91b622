"""Sizes by name: ``4h``, ``x``, ``h+x``, ``h/heads``, ``16``. A cell is checked in them before any number is known."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_TERM = re.compile(r"(?P<count>\d*)(?P<name>[A-Za-z_]\w*(/([A-Za-z_]\w*|[1-9]\d*))?)|(?P<constant>\d+)")


@dataclass(frozen=True)
class Size:
    """A linear expression in named sizes, with whole coefficients; the name ``""`` has the constant.

    A quotient such as ``h/heads`` or ``h/4`` is a name, too; what has no number is not divided.

    Its terms are sorted and not zero, so that equal sizes compare equal: make it with `of` or `parse`.

    >>> 2 * Size.parse("h") + Size.parse("x")
    2h+x
    >>> Size.parse("2h+x").value({"h": 3, "x": 5})
    11
    >>> Size.parse("2h/heads").value({"h": 6, "heads": 3})
    4
    """

    terms: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, terms: Mapping[str, int]) -> "Size":
        """The size with these coefficients, zeros dropped, in the order of the names."""
        return cls(tuple(sorted((name, count) for name, count in terms.items() if count)))

    @classmethod
    def parse(cls, text: str) -> "Size":
        """Read ``4h``, ``h+x``, ``h/heads`` or ``16``.

        Raises:
            ValueError: the text is not a sum of terms like these, or is zero.
        """
        terms: dict[str, int] = {}
        for term in text.split("+"):
            match = _TERM.fullmatch(term)
            if match is None:
                raise ValueError(f"'{text}' is not a size; write sizes like 'h', '4h', 'h+x' or '16'")
            name = match["name"] or ""
            terms[name] = terms.get(name, 0) + int(match["constant"] or match["count"] or 1)
        if not cls.of(terms).terms:
            raise ValueError(f"'{text}' is zero; a size is at least 1")
        return cls.of(terms)

    @property
    def names(self) -> frozenset[str]:
        """The names in this size."""
        parts = (part for name, _ in self.terms for part in name.split("/"))
        return frozenset(part for part in parts if part and not part.isdigit())

    @property
    def quotients(self) -> frozenset[tuple[str, str]]:
        """The quotients in this size: what is divided, and by what."""
        return frozenset((name.partition("/")[0], name.partition("/")[2]) for name, _ in self.terms if "/" in name)

    @property
    def stacked(self) -> int:
        """How many matrices of so many rows are stacked: 4 for ``4h``, 1 for ``h+x`` or ``16``."""
        return self.terms[0][1] if len(self.terms) == 1 and self.names else 1

    @classmethod
    def total(cls, sizes: Iterable["Size"]) -> "Size":
        """The sum of sizes; of none, zero."""
        return sum(sizes, cls(()))

    def __add__(self, other: "Size") -> "Size":
        terms = dict(self.terms)
        for name, count in other.terms:
            terms[name] = terms.get(name, 0) + count
        return Size.of(terms)

    def __rmul__(self, count: int) -> "Size":
        return Size.of({name: count * coefficient for name, coefficient in self.terms})

    def divided(self, parts: int) -> "Size | None":
        """One of `parts` equal parts, or None unless `parts` divides every coefficient."""
        if any(count % parts for _, count in self.terms):
            return None
        return Size.of({name: count // parts for name, count in self.terms})

    def over(self, heads: int | str) -> "Size":
        """A multiple of a name, divided: ``2h/heads`` of ``2h``."""
        ((name, count),) = self.terms
        return Size.of({f"{name}/{heads}": count})

    def value(self, sizes: Mapping[str, int]) -> int:
        """The number, given the number for each name."""
        return sum(count * _number(name, sizes) for name, count in self.terms)

    def __str__(self) -> str:
        named = [f"{count if count > 1 else ''}{name}" for name, count in self.terms if name]
        constant = [str(count) for name, count in self.terms if not name]
        return "+".join(named + constant)

    __repr__ = __str__


def _number(name: str, sizes: Mapping[str, int]) -> int:
    whole, _, divisor = name.partition("/")
    if not divisor:
        return sizes[name] if name else 1
    return sizes[whole] // (int(divisor) if divisor.isdigit() else sizes.get(divisor, 1))


Shape = tuple[Size, ...]
"""``()`` is a scalar, one size a vector, two a matrix."""


def parse_shape(text: str) -> Shape:
    """Read sizes separated by spaces: ``"4h x"`` is a matrix, ``"4h"`` a vector, ``""`` a scalar.

    Raises:
        ValueError: one of them is not a size, or there are more than two.
    """
    shape = tuple(Size.parse(part) for part in text.split())
    if len(shape) > 2:
        raise ValueError(f"'{text}' has {len(shape)} sizes; a matrix has two, a vector one and a scalar none")
    return shape


def describe(shape: Shape) -> str:
    """A shape in words: ``a 4h × x matrix``, ``a vector of size h``, ``a scalar``."""
    match shape:
        case ():
            return "a scalar"
        case (size,):
            return f"a vector of size {size}"
        case (rows, columns):
            return f"a {rows} × {columns} matrix"
    raise AssertionError(shape)
