"""Tables of combinations of which a quick run tries a part, and SELFLOOP_TESTS=all, as in `make thorough`, all.

The part is chosen so that each row and each column is tried.
"""

import os
from collections.abc import Iterable
from itertools import product
from typing import TypeVar
from zlib import crc32

T = TypeVar("T")
U = TypeVar("U")

ALL = os.environ.get("SELFLOOP_TESTS") == "all"


def some(things: Iterable[T], key: int | str, of: int) -> list[T]:
    """One in `of`, others for each number. A name stands for its hash: neighbours in a table of names are alike.

    >>> [some("abcdef", number, 3) for number in range(3)]
    [['a', 'd'], ['b', 'e'], ['c', 'f']]
    """
    number = crc32(key.encode()) if isinstance(key, str) else key
    return [*things] if ALL else [*things][number % of :: of]


def pairs(rows: Iterable[T], columns: Iterable[U]) -> list[tuple[T, U]]:
    """Each row with one column, which take turns.

    >>> pairs("abc", [1, 2])
    [('a', 1), ('b', 2), ('c', 1)]
    """
    rows, columns = [*rows], [*columns]
    if ALL:
        return [*product(rows, columns)]
    count = max(len(rows), len(columns))
    return [(rows[k % len(rows)], columns[k % len(columns)]) for k in range(count)]
