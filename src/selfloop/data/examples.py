"""Examples with their labels: what `classify` and `label` learn from and are measured by."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from selfloop.errors import DataError

Modality = Literal["text", "words", "series", "frames", "images"]
"""What an example is: a string; a list of words; an array (T, C) of numbers; frames, an array (T, H, W) or (T, H, W, 3)
of bytes; an image that is read when it is needed.
"""


Family = Literal["text", "words", "series", "sound", "images", "frames"]
"""A string; a list of words; an array (T, C) of float32, also of sound; an image, (H, W) or (H, W, 3) of bytes, which
becomes a sequence at the end; frames, (T, H, W) or (T, H, W, 3).
"""


class Place(str):
    """Where an example stands, ``reviews.csv, line 12``; it also knows the id that the user has given it.

    >>> place = Place("reviews.csv, line 12", id="r-7")
    >>> place, place.id
    ('reviews.csv, line 12', 'r-7')
    """

    id: Any

    def __new__(cls, text: str, id: Any = None) -> "Place":
        """A place as text, with an id."""
        place = super().__new__(cls, text)
        place.id = id
        return place


def without_folder(place: str) -> str:
    """A place without the folder of its file.

    >>> without_folder("/data/walks.csv, line 12 (series '2012/01/09')"), without_folder("/data/walk.mp4")
    ("walks.csv, line 12 (series '2012/01/09')", 'walk.mp4')
    """
    within = _WITHIN.search(place)
    end = within.start() if within else len(place)
    return Path(place[:end]).name + place[end:]


_WITHIN = re.compile(r", (?:line|row|item|image) \d")


@dataclass(frozen=True)
class Columns:
    """The columns of numbers that series are made of, by name; none where they have no names.

    Attributes:
        channels: of tables with a row a step, and of files of one series: a column a channel.
        steps: of tables with a row a series: a column a step; a series may be shorter.

    >>> Columns(steps=("t1",)).extended(Columns(steps=("t1", "t2")))
    Columns(channels=(), steps=('t1', 't2'))
    """

    channels: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    def extended(self, found: "Columns") -> "Columns":
        """These, with what is found in further data that were read by them."""
        return Columns(found.channels or self.channels, found.steps or self.steps)


NO_COLUMNS = Columns()


@dataclass(frozen=True)
class Examples:
    """One part of a data set, an entry an example.

    Attributes:
        inputs: each of the data set's kind; an array's first axis is time, and may differ from one to the next.
        labels: what is true of each: a name of the whole, or a list of names, one a step, where None is not judged.
            Empty where nothing is known, as of what is to be predicted.
        places: where each stands in the user's files, for errors and predictions: ``reviews.csv, line 12``.
    """

    inputs: Sequence[Any]
    labels: Sequence[Any]
    places: Sequence[str]

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, rows: Iterable[int]) -> "Examples":
        """Some of the examples, in the order that is asked for; labels where they are known."""
        rows = list(rows)
        labels = [self.labels[row] for row in rows] if self.labels else []
        return Examples([self.inputs[row] for row in rows], labels, [self.places[row] for row in rows])


@dataclass(frozen=True)
class Origin:
    """Where the parts of a data set are from, for the user to see before training.

    Attributes:
        files: of each part, and, as "ignored", those beside them that nothing is read from.
        repeated: of each part but "train", how many of its inputs are in training too; none where it is not there.
    """

    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    repeated: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """The examples of a source: to train on, to choose by, and, where there are any, to report on.

    Attributes:
        image: of images that became sequences the shape, (H, W) or (H, W, 3).
        columns: those that the series to train on are made of.
        origin: where they are from.
    """

    name: str
    kind: Modality
    train: Examples
    valid: Examples
    test: Examples | None = None
    image: tuple[int, ...] | None = None
    columns: Columns = NO_COLUMNS
    origin: Origin = field(default_factory=Origin)


@dataclass
class BadItems:
    """What cannot be used of the user's data: an error at once, or, with `skip`, counted and left out.

    Attributes:
        skip: whether it is left out.
        can_skip: whether the user may choose that.
        found: where each stands, and what is wrong with it.
        notes: what else is to be said of how the data are read, a sentence each without a full stop.

    >>> bad = BadItems(skip=True)
    >>> bad.refuse("walk.csv, line 3", "holds NaN in column 'x'")
    >>> bad.found
    [('walk.csv, line 3', "holds NaN in column 'x'")]
    """

    skip: bool = False
    can_skip: bool = True
    found: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, place: str, reason: str) -> None:
        """Leave this item out, or stop.

        Args:
            place: the file and the item.
            reason: what is wrong, as the end of a sentence that begins with the place, without a full stop.

        Raises:
            DataError: bad items are not skipped.
        """
        if not self.skip:
            way_out = ", or leave such items out with --skip-bad" if self.can_skip else ""
            raise DataError(f"{place} {reason}. Fix it{way_out}.")
        self.found.append((place, reason))

    def note(self, sentence: str) -> None:
        """Keep, once, what is to be said of how the data are read."""
        if sentence not in self.notes:
            self.notes.append(sentence)


class Unusable(Exception):
    """An item's fault, as the end of a sentence that begins with its place, without a full stop."""


@dataclass
class Items:
    """The usable items of a part of a source.

    Attributes:
        family: what an input is.
        inputs: of each item; of captions, an `ImageFile` that is read later.
        labels: what is true of each.
        places: where each stands.
        files: those that list the items; empty where the places tell them.
        columns: those that the data set's series are made of, as far as it is read.

    >>> found, bad = Items("text"), BadItems(skip=True)
    >>> found.add("names.txt, line 1", "Irish", lambda: "Adam", bad)
    >>> found.inputs, found.labels, found.places
    (['Adam'], ['Irish'], ['names.txt, line 1'])
    """

    family: Family
    inputs: list[Any] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    files: tuple[str, ...] = ()
    columns: Columns = NO_COLUMNS

    def add(self, place: str, label: Any, read: Callable[[], Any], bad: BadItems) -> None:
        """Takes an item, or has it refused where `read` raises `Unusable`."""
        try:
            value = read()
        except Unusable as fault:
            bad.refuse(place, str(fault))
            return
        self.inputs.append(value)
        self.labels.append(label)
        self.places.append(place)

    def select(self, rows: Iterable[int]) -> "Items":
        """Some of the items, in the order that is asked for."""
        rows = list(rows)
        return Items(
            self.family,
            [self.inputs[row] for row in rows],
            [self.labels[row] for row in rows],
            [self.places[row] for row in rows],
            self.files,
            self.columns,
        )


Parts = dict[str, Items]
"""By part: "train", and perhaps "valid" and "test"."""


def together(parts: Iterable[Items], where: str) -> Items:
    """The items of several files as those of one.

    Raises:
        DataError: the files hold different things, or there are none.
    """
    if not (parts := [*parts]):
        raise DataError(f"{where} must hold examples. There are none that can be used: give another.")
    first, *others = parts
    for other in others:
        if other.family != first.family:
            raise DataError(f"{where} holds {first.family} and {other.family}. Give files of one kind.")
        first.inputs += other.inputs
        first.labels += other.labels
        first.places += other.places
        first.files = tuple(dict.fromkeys((*first.files, *other.files)))
        first.columns = first.columns.extended(other.columns)
    return first
