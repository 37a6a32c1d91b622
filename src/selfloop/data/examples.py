"""Examples with their labels: what `classify` and `label` learn from and are measured by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from selfloop.errors import DataError

Modality = Literal["text", "words", "series", "frames"]
"""What an example is: a string; a list of words; an array (T, C) of numbers; frames, an array (T, H, W) or (T, H, W, 3)
of bytes.
"""


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
        origin: where they are from.
    """

    name: str
    kind: Modality
    train: Examples
    valid: Examples
    test: Examples | None = None
    image: tuple[int, ...] | None = None
    origin: Origin = field(default_factory=Origin)


@dataclass
class BadItems:
    """What cannot be used of the user's data: an error at once, or, with `skip`, counted and left out.

    Attributes:
        skip: whether it is left out.
        found: where each stands, and what is wrong with it.
        notes: what else is to be said of how the data are read, a sentence each without a full stop.

    >>> bad = BadItems(skip=True)
    >>> bad.refuse("walk.csv, line 3", "holds NaN in column 'x'")
    >>> bad.found
    [('walk.csv, line 3', "holds NaN in column 'x'")]
    """

    skip: bool = False
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
            raise DataError(f"{place} {reason}. Mend it, or leave such items out with --skip-bad.")
        self.found.append((place, reason))

    def note(self, sentence: str) -> None:
        """Keep, once, what is to be said of how the data are read."""
        if sentence not in self.notes:
            self.notes.append(sentence)
