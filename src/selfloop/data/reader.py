"""From what the user names to the examples of a task, one way for all tasks.

a source   -> a file, a folder, the splits of a dataset on the hub      `files.locate`
           -> its parts: train, valid and test, of `Items`              marked by names, a column or options: `parts`
           -> what of them can be learnt from and judged                `Reader.usable`
           -> validation examples, held out where none are marked       `held_out`
           -> a `Dataset`

A task's reader says what it finds in a table, in a file and in a folder, and which examples it can use.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from selfloop.data.examples import Columns, Dataset, Examples, Family, Items, Modality, Origin, Parts, together
from selfloop.data.files.diagnose import explain, is_binary
from selfloop.data.files.locate import check_encoding, locate
from selfloop.data.held_out import folds, hold_out, identity, joined, repeated
from selfloop.data.parts import (
    by_name,
    by_row,
    file_of,
    files_read,
    of_hub,
    score_of,
    train_of,
    with_given,
    without_split,
)
from selfloop.data.reading import Reading
from selfloop.data.tables.columns import LABELS, choose, named, with_ids
from selfloop.data.tables.long import SERIES, gather
from selfloop.data.tables.separated import DEFAULT_FORMAT
from selfloop.data.tables.table import Table, hub_table, opened, read_table
from selfloop.data.validate import alike_items, known, labelled, usable
from selfloop.errors import DataError

Source = str | Path | None
"""What the user names: a file, a folder, ``owner/name`` or ``owner/name:config`` on the Hugging Face hub; None is what
selfloop brings along."""

Self = TypeVar("Self", bound="Reader")
Marked = TypeVar("Marked")


@dataclass(frozen=True)
class Fold:
    """One of the folds of cross-validation: the `number`-th of `count`, from 1."""

    number: int
    count: int


class Reader(ABC):
    """What a task reads.

    Args:
        reading: how.

    Raises:
        ConfigError: the encoding does not exist.
    """

    EMBEDDED: ClassVar[str]
    """The name of what selfloop brings along."""

    LABELS: ClassVar[Sequence[str]] = LABELS
    """Names of columns that hold labels."""

    ONE_LABEL: ClassVar[bool] = True
    """Whether an example has one label, and not one a step."""

    def __init__(self, reading: Reading) -> None:
        check_encoding(reading.encoding)
        self.reading, self.bad = reading, reading.bad

    @abstractmethod
    def embedded(self) -> Parts:
        """What selfloop brings along."""

    @abstractmethod
    def rows(self, table: Table) -> Items:
        """The examples of a table, a row each."""

    @abstractmethod
    def file(self, path: Path) -> Parts:
        """The parts of a file."""

    @abstractmethod
    def folder(self, folder: Path) -> Parts:
        """The parts of a folder."""

    def everything(self, folder: Path) -> Items:
        """All examples of a folder, whose labels need not be known."""
        return together(self.folder(folder).values(), str(folder))

    def usable(self, parts: Parts, where: str) -> Parts:
        """The parts without what cannot be learnt from or judged."""
        return parts

    def kind(self, items: Items) -> Modality:
        """What an example is to a model."""
        kind: Modality = items.family  # type: ignore[assignment]
        return kind

    def examples(self, items: Items) -> Examples:
        """The examples as a model takes them."""
        return Examples(items.inputs, items.labels, items.places)

    def identities(self, items: Items) -> list[tuple[Hashable, ...]]:
        """What two examples have in common where one may not be held out while the other is learnt from."""
        return [(identity(value),) for value in items.inputs]

    def labels_of(self, items: Items) -> list[Collection[Any]] | None:
        """Of each example the labels that training must know; None where there are none."""
        return None

    def strata(self, items: Items) -> Sequence[Any] | None:
        """Of each example what it is drawn among where some are held out; None draws among all."""
        return None

    def dataset(self, name: str, parts: Parts, origin: Origin) -> Dataset:
        """The parts as a data set."""
        examples = {part: self.examples(items) for part, items in parts.items()}
        kind = self.kind(parts["train"])
        return Dataset(
            name,
            kind,
            examples["train"],
            examples["valid"],
            examples.get("test"),
            columns=parts["train"].columns,
            origin=origin,
        )

    def read(
        self,
        source: Source,
        *,
        valid: Source = None,
        test: Source = None,
        valid_fraction: float = 0.1,
        seed: int = 1,
        fold: Fold | None = None,
    ) -> Dataset:
        """The examples of a source.

        Args:
            source: where they are.
            valid: a source for the validation examples; of one with parts, its validation part.
            test: likewise for the test examples.
            valid_fraction: the share that is held out where no validation examples are given or marked: above 0 and
                below 1.
            seed: of what is held out.
            fold: of cross-validation; the validation examples are then of all that are not for the test.

        Raises:
            DataError: the source cannot be read, an example cannot be used (unless `reading.bad` skips such), or there
                are too few.
            ConfigError: there is no such fraction.
        """
        name, parts = self.parts(source)
        where = str(source) if source is not None else name
        reader = self.after(train_of(parts, where))
        for part, other in (("valid", valid), ("test", test)):
            if other is not None:
                parts = reader.with_part(parts, part, other)
        if fold is not None and "valid" in parts:
            parts["train"] = together([parts["train"], parts.pop("valid")], where)
        parts = self.usable(parts, where)
        if "valid" not in parts:
            parts["train"], parts["valid"] = self.hold_out(parts["train"], valid_fraction, seed, where, fold)
        return self.dataset(name, parts, self._origin((source, valid, test), parts))

    def hold_out(
        self, items: Items, fraction: float, seed: int, where: str, fold: Fold | None = None
    ) -> tuple[Items, Items]:
        """The items to train with, and those that are held out: a fraction, or a fold."""
        keys, how = joined(self.identities(items)), {"labels": self.labels_of(items), "strata": self.strata(items)}
        if fold is None:
            kept, held = hold_out(keys, fraction, seed, where, **how)
        else:
            held = folds(keys, fold.count, seed, where, **how)[fold.number - 1]
            kept = sorted({*range(len(keys))} - {*held})
        return items.select(kept), items.select(held)

    def score(self, source: Source) -> Examples:
        """The examples of a source to score: of one with parts those to test or else to validate with; else all.

        Raises:
            DataError: as of `read`, or the examples are of another kind than the model reads.
        """
        items = score_of(self.parts(source)[1], str(source))
        return self.examples(self.judged(items, str(source)))

    def predict(self, source: str | Path) -> Examples:
        """All examples of a source, without labels.

        Raises:
            DataError: as of `score`.
        """
        reader = copy(self)
        reader.reading = replace(self.reading, labelled=False)
        found = locate(source)
        if isinstance(found, Path) and found.is_dir():
            items = reader.everything(found)
        else:
            items = together(reader.parts(source)[1].values(), str(source))
        if not items.inputs:
            raise DataError(f"{source} must hold examples. There are none that can be used: give another.")
        return reader.examples(reader.fitting(items, str(source)))

    def judged(self, items: Items, where: str) -> Items:
        """The items that a model can be judged by."""
        return self.fitting(items, where)

    def fitting(self, items: Items, where: str) -> Items:
        """The items that a model can read.

        Raises:
            DataError: they are of another kind.
        """
        if self.reading.kind not in (None, self.kind(items)):
            raise DataError(
                f"{where} holds {items.family}, and the model reads {self.reading.kind}. Give data of that kind."
            )
        return items

    def parts(self, source: Source) -> tuple[str, Parts]:
        """A source's name, and what it holds by part."""
        if source is None:
            return self.EMBEDDED, self.embedded()
        found = locate(source)
        if isinstance(found, Path):
            if found.is_dir():
                return found.resolve().name, self.folder(found)
            return found.name.partition(".")[0] or found.name, self.file(found)
        tables = {part: [hub_table(rows, f"{source} ({part})")] for part, rows in of_hub(found).items()}
        name = str(source).rpartition("/")[2].partition(":")[0]
        return name, self.by_mark(tables, lambda reader, table: reader.by_part(table, split=False), str(source))

    def by_mark(
        self: Self, sources: Mapping[str, Sequence[Marked]], read: Callable[[Self, Marked], Parts], where: str
    ) -> Parts:
        """The parts of sources, each of which marks one; of a source to train with, by what it marks itself.

        Those to train with are read first: the others are made of the same columns of numbers.

        Args:
            sources: by the part that they mark.
            read: the parts of a source, by a reader that knows those before it.
            where: all of them, for errors.

        Raises:
            DataError: the sources hold different things.
        """
        reader, found = self, dict[str, list[Items]]()
        for mark in sorted(sources, key=lambda mark: mark != "train"):
            for source in sources[mark]:
                for part, items in read(reader, source).items():
                    found.setdefault(mark if part == "train" else part, []).append(items)
                    reader = reader.after(items)
        return {part: together(items, where) for part, items in found.items()}

    def by_file(self, folder: Path, paths: Sequence[Path]) -> Parts:
        """The parts of a folder's files, by their names, and of a file to train with by what it marks itself.

        Raises:
            DataError: some names mark a part and others do not, or the files hold different things.
        """
        return self.by_mark(by_name(folder, paths), lambda reader, path: reader.file(path), str(folder))

    def after(self: Self, items: Items) -> Self:
        """What reads further data as these were: their columns of numbers are the same."""
        return self.knowing(items.columns)

    def knowing(self: Self, columns: Columns) -> Self:
        """What reads series by these columns of numbers."""
        reader = copy(self)
        reader.reading = replace(self.reading, columns=self.reading.columns.extended(columns))
        return reader

    def table(self, path: Path) -> Parts:
        """The parts of a file that is a table."""
        return self.by_part(read_table(path, self.reading), split=self.reading.labelled)

    def lines(self, path: Path, family: Family, read: Callable[[str], Any], label: Any) -> Items:
        """The lines of a text file that are not empty, each an example with that label."""
        if is_binary(path, self.reading.encoding):
            raise explain(path, "text", self.reading.encoding, "it is binary")
        items = Items(family)
        with opened(path, self.reading.encoding, "text") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    items.add(f"{path}, line {number}", label, partial(read, line.rstrip("\r\n")), self.bad)
        return items

    def by_part(self, table: Table, *, split: bool) -> Parts:
        """The examples of a table, by its column "split" if that is looked at."""
        reader, reading = self, self.reading
        if reading.format.is_long:
            table, reader = self._gathered(table)
        else:
            with_ids(table, reading.id)
        taken = reading.input, reading.label
        tables = by_row(table, self.bad, *taken) if split else {"train": without_split(table, *taken)}
        marked = {part: [rows] for part, rows in tables.items()}
        return reader.by_mark(marked, lambda reader, rows: {"train": reader.rows(rows)}, table.where)

    def with_part(self, parts: Parts, part: str, source: str | Path) -> Parts:
        """The parts, of which one is read from a source of its own."""
        return with_given(parts, {part: source}, lambda other: self.parts(other)[1])

    def _gathered(self: Self, table: Table) -> tuple[Table, Self]:
        """A table with a row a step as one with a row a series, and what reads that."""
        known = self.reading.columns.channels
        others = replace(table, columns=[name for name in table.columns if name not in (*known, self.reading.id)])
        label = self.reading.label or next(named(others.columns, self.LABELS), None)
        if self.reading.labelled:
            label = choose(others, self.reading.label, self.LABELS, "label")
        elif label not in table.columns:
            label = None
        series, channels = gather(
            table,
            self.reading.format,
            input=self.reading.input,
            known=known,
            label=label,
            id=self.reading.id,
            named=self.reading.label is not None,
            labels=self.LABELS,
            one_label=self.ONE_LABEL and self.reading.labelled,
            bad=self.bad,
        )
        reader = copy(self)
        columns = self.reading.columns.extended(Columns(channels=tuple(channels)))
        reader.reading = replace(self.reading, input=SERIES, label=label, format=DEFAULT_FORMAT, columns=columns)
        return series, reader

    def _origin(self, sources: Sequence[Source], parts: Parts) -> Origin:
        """Where the examples are from; what selfloop brings along has no files."""
        if sources[0] is None:
            return Origin()
        listed = any(items.files for items in parts.values())
        places = {part: items.files or items.places for part, items in parts.items()}
        rows_name_files = self.kind(parts["train"]) not in ("text", "words") and (
            listed or any(file_of(place) != place for found in places.values() for place in found)
        )
        files = files_read(sources, places, rows_name_files)
        return Origin(files, repeated({part: self.identities(items) for part, items in parts.items()}))


class LabelledReader(Reader):
    """What a task reads whose examples have labels to be told apart: one each, or one a step.

    Args:
        reading: how.
        classes: the labels that a trained model knows.
    """

    def __init__(self, reading: Reading, classes: Collection[str] = ()) -> None:
        super().__init__(reading)
        self.classes = set(classes)

    def usable(self, parts: Parts, where: str) -> Parts:
        """The parts of one kind and shape, without labels that training does not know."""
        return usable(parts, where, self.bad)

    def labels_of(self, items: Items) -> list[Collection[Any]]:
        """The label, or those of the steps."""
        return [{label} if self.ONE_LABEL else set(label) for label in items.labels]

    def strata(self, items: Items) -> Sequence[Any] | None:
        """The label, where it is one, so that each class gives the same share."""
        return items.labels if self.ONE_LABEL else None

    def judged(self, items: Items, where: str) -> Items:
        """The items whose labels the model knows."""
        found = known(labelled(items, self.bad), self.classes, "which the model was not trained on", where, self.bad)
        return self.fitting(found, where)

    def fitting(self, items: Items, where: str) -> Items:
        """The items that are alike."""
        return alike_items({"train": super().fitting(items, where)}, where, self.bad)["train"]
