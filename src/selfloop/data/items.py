"""What the readers of examples share: what is asked of them, what they have found, and how an item is refused."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import normalize

from selfloop.data.examples import BadItems
from selfloop.data.tables.separated import DEFAULT_FORMAT, TableFormat, is_number
from selfloop.errors import DataError

if TYPE_CHECKING:
    from selfloop.data.media.audio import AudioReading

Family = Literal["text", "words", "series", "sound", "images", "frames"]
"""A string; a list of words; an array (T, C) of float32, also of sound; an image, (H, W) or (H, W, 3) of bytes, which
becomes a sequence at the end; frames, (T, H, W) or (T, H, W, 3).
"""

_SHOWN = 5  # pairs of labels that are perhaps one


class Unusable(Exception):
    """An item's fault, as the end of a sentence that begins with its place, without a full stop."""


@dataclass(frozen=True)
class Wanted:
    """How a source is to be read.

    Attributes:
        input: the column of a table that holds the input; None finds it.
        label: the column that holds the label; None finds it.
        kind: "text" or "series"; None finds out.
        size: height and width that images are brought to.
        encoding: of text files.
        labelled: whether every example must have a label.
        bad: takes what cannot be used.
        format: how a table is written.
        audio: how sound is read; None as by default.
    """

    input: str | None = None
    label: str | None = None
    kind: Literal["text", "series"] | None = None
    size: tuple[int, int] | None = None
    encoding: str = "utf-8"
    labelled: bool = True
    bad: BadItems = field(default_factory=BadItems)
    format: TableFormat = DEFAULT_FORMAT
    audio: "AudioReading | None" = None


@dataclass
class Items:
    """The usable items of a part of a source.

    >>> found, bad = Items("text"), BadItems(skip=True)
    >>> found.add("names.txt, line 1", "Irish", lambda: "Adam", bad)
    >>> found.inputs, found.labels, found.places
    (['Adam'], ['Irish'], ['names.txt, line 1'])
    """

    family: Family
    inputs: list[Any] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    def add(self, place: str, label: str | None, read: Callable[[], Any], bad: BadItems) -> None:
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
        )


def together(parts: Iterable[Items], where: str) -> Items:
    """The items of several files as those of one.

    Raises:
        DataError: the files hold different things.
    """
    first, *others = parts
    for other in others:
        if other.family != first.family:
            raise DataError(f"{where} holds {first.family} and {other.family}. Give files of one kind.")
        first.inputs += other.inputs
        first.labels += other.labels
        first.places += other.places
    return first


def label_of(value: Any) -> str | None:
    """A label as a string; what is empty is none.

    >>> label_of(3), label_of(3.0), label_of(" cat "), label_of(True), label_of("")
    ('3', '3', 'cat', 'true', None)
    """
    if isinstance(value, float):
        if math.isnan(value):  # as tables write what is missing
            return None
        value = int(value) if value.is_integer() else value
    if isinstance(value, bool):
        value = str(value).lower()  # as JSON writes it
    return (str(value).strip() or None) if value is not None else None


def note_twins(labels: Iterable[str | None], bad: BadItems) -> None:
    """Say which labels are perhaps one: in two cases, as numbers, or in two forms of Unicode. They stay apart.

    >>> bad = BadItems()
    >>> note_twins(["Pos", "1", "neg", "pos", "1.0"], bad)
    >>> bad.notes
    ["labels '1' and '1.0' are the same number, 'Pos' and 'pos' differ only in case: are they one?"]
    """
    found: dict[str, str] = {}
    twins = []
    for label in sorted({label for label in labels if label is not None}):
        first = found.setdefault(_folded(label), label)
        if first != label:
            how = (
                "look alike and differ in Unicode (NFC, NFD)"
                if normalize("NFC", first) == normalize("NFC", label)
                else "are the same number"
                if first.casefold() != label.casefold() and is_number(label)
                else "differ only in case"
            )
            twins.append(f"'{first}' and '{label}' {how}")
    if twins:
        more = f" and {len(twins) - _SHOWN} more pairs" if len(twins) > _SHOWN else ""
        bad.note(f"labels {', '.join(twins[:_SHOWN])}{more}: are they one?")


def _folded(label: str) -> str:
    """What twins have in common."""
    return str(float(label)) if is_number(label) else normalize("NFC", label).casefold()
