"""What is held out of the training examples, once or by folds, and how many examples of a part training has seen."""

import hashlib
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from selfloop.errors import ConfigError, DataError


def identity(value: Any) -> Hashable:
    """What two inputs have in common where they are the same; of texts, white space between words may differ.

    >>> identity(" to  be ") == identity("to be") == identity(["to", "be"])
    True
    """
    if isinstance(value, str):
        value = value.split()
    if isinstance(value, list):
        value = " ".join(value).encode()
        return hashlib.blake2b(value, digest_size=16).digest()
    return value.shape, hashlib.blake2b(np.ascontiguousarray(value).data, digest_size=16).digest()


def joined(examples: Iterable[Sequence[Hashable]]) -> list[int]:
    """A number for each example, the same for two that have a value in common at one place, or each with a third.

    >>> joined([("one", "un"), ("two", "deux"), ("once", "un")])
    [0, 1, 0]
    """
    group, first = list[int](), dict[Hashable, int]()

    def root(row: int) -> int:
        while group[row] != row:
            group[row] = row = group[group[row]]
        return row

    for row, example in enumerate(examples):
        group.append(row)
        for key in enumerate(example):
            group[root(row)] = root(first.setdefault(key, row))
    return list(map(root, range(len(group))))


def repeated(parts: Mapping[str, Sequence[Sequence[Hashable]]]) -> dict[str, int]:
    """How many examples of each part have a value that one of "train" has at its place; parts of none are left out."""
    known = {key for example in parts["train"] for key in enumerate(example)}
    counts = {
        part: sum(not known.isdisjoint(enumerate(example)) for example in found)
        for part, found in parts.items()
        if part != "train"
    }
    return {part: count for part, count in counts.items() if count}


def hold_out(
    keys: Sequence[Hashable],
    fraction: float,
    seed: int,
    where: str,
    *,
    labels: Sequence[Collection[Any]] | None = None,
    strata: Sequence[Any] | None = None,
) -> tuple[list[int], list[int]]:
    """The rows to train with, and those that are held out.

    Rows of one key stay together, so that no held-out input is in training; where the keys of a class are so few that
    none could be held out, single rows are. Each stratum gives the same share as far as it can; shares are rounded as
    they add up, so that of many small ones some give a row and others none. Of each label that is held out, training
    has one too.

    Args:
        keys: of the rows: `identity` of their inputs.
        fraction: how many are held out; one at least is.
        seed: which.
        where: the source, for errors.
        labels: of each row, those that training must know.
        strata: of each row, what it is drawn among.

    Raises:
        DataError: none can be held out.
        ConfigError: there is no such fraction.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"The 'valid_fraction' must be above 0 and below 1. Got {fraction} instead.")
    names = [{None, *found} for found in labels] if labels is not None else [{None}] * len(keys)
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    drawn_from: dict[str, list[list[int]]] = {}
    for rows in groups.values():
        drawn_from.setdefault("" if strata is None else str(strata[rows[0]]), []).append(rows)
    left = Counter(name for found in names for name in found)
    draw, held, share, due = np.random.default_rng(seed), list[int](), 0.0, 0

    def take(groups: Iterable[list[int]], wanted: int, most: int) -> None:
        """Hold out groups of rows up to so many, each no larger than `most` times what is left of these, and of whose
        labels training keeps one each.
        """
        for rows in groups:
            counts = Counter(name for row in rows for name in names[row])
            if len(rows) <= most * wanted and all(left[name] > count for name, count in counts.items()):
                left.subtract(counts)
                held.extend(rows)
                wanted -= len(rows)

    for _, found in sorted(drawn_from.items()):
        found[:] = [found[number] for number in draw.permutation(len(found)).tolist()]
        share, before = share + sum(map(len, found)) * fraction, len(held)
        wanted, due = round(share) - due, round(share)
        take(found, wanted, most=2)  # so that one group too many is as near as one too few
        if len(held) == before and wanted and labels is not None:
            rows = [row for rows in found for row in rows]
            take(([row] for row in draw.permutation(rows).tolist()), wanted, most=1)
    if not held:
        largest = max(drawn_from.values(), key=lambda found: sum(map(len, found)))
        largest = sorted(reversed(largest), key=len)  # noqa: C414  (a stable sort)
        single = [] if labels is None else [[row] for rows in largest for row in rows]
        take([*largest, *single], 1, most=len(keys))
    if not held:
        raise DataError(
            f"{where} has one example only, or one example of each class or label, so none can be held out: give more, "
            f"or name validation data, with --valid."
        )
    kept = set(range(len(keys))) - set(held)
    return sorted(kept), sorted(held)


def folds(
    keys: Sequence[Hashable],
    count: int,
    seed: int,
    where: str,
    *,
    labels: Sequence[Collection[Any]] | None = None,
    strata: Sequence[Any] | None = None,
) -> list[list[int]]:
    """The rows of each of `count` folds, for cross-validation: what `hold_out`, which has the arguments, holds out one
    after the other, and what is left. A row whose label would be missing in training is in no fold.

    Raises:
        DataError: there are fewer keys than folds, or a fold would be empty.

    >>> folds(["a", "b", "a", "c", "d"], 2, seed=1, where="letters")
    [[0, 2], [1, 3, 4]]
    """
    found, left, distinct = list[list[int]](), list(range(len(keys))), len(set(keys))
    if distinct < count:
        raise DataError(f"{where} has {distinct:,} different inputs, too few for {count:,} folds: ask for fewer.")

    def of_left(values: Sequence[Any] | None) -> list[Any] | None:
        return None if values is None else [values[row] for row in left]

    try:
        for number in range(count, 1, -1):
            mine, rest = [keys[row] for row in left], {"labels": of_left(labels), "strata": of_left(strata)}
            kept, held = hold_out(mine, 1 / number, seed, where, **rest)
            found.append([left[row] for row in held])
            left = [left[row] for row in kept]
    except DataError as error:
        raise DataError(f"{where} has too few examples for {count:,} folds: ask for fewer.") from error
    if labels is not None:
        every = Counter(name for names in labels for name in {*names} - {None})
        here = Counter(name for row in left for name in {*labels[row]} - {None})
        only_here = {name for name in here if here[name] == every[name]}
        alone = {keys[row] for row in left if not only_here.isdisjoint(labels[row])}
        left = [row for row in left if keys[row] not in alone]
    if not left:
        raise DataError(f"{where} has too few examples for {count:,} folds: ask for fewer.")
    return [*found, left]
