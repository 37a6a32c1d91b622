"""Pairs of texts: two files line by line, or a table. An example's input is the source, its label the target."""

import re
from collections.abc import Hashable, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path

from selfloop.data.embedded.dates import read_dates
from selfloop.data.examples import Dataset, Items, Parts
from selfloop.data.files.diagnose import explain, is_binary
from selfloop.data.files.locate import locate
from selfloop.data.files.names import form_of
from selfloop.data.held_out import identity
from selfloop.data.parts import with_given
from selfloop.data.reader import Fold, Reader, Source
from selfloop.data.reading import Reading
from selfloop.data.tables.columns import check, listed
from selfloop.data.tables.table import Table, opened
from selfloop.errors import DataError

NAMES = (("source", "src"), ("target", "tgt", "trg"))
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_]\w+)?")
"""A column's name that is a language: ``en``, ``pt_BR``."""


class PairReader(Reader):
    """Finds pairs of texts.

    A source is a text file with a sentence a line, plain or .gz, whose translations are the lines of another; or a
    table (TSV, CSV, JSONL, Parquet) with a column each, also on the hub; or None for dates in two languages. To be
    translated, lines or a column will do, and an empty line is a text too.

    Args:
        reading: how; `input` is the column of the source, `label` that of the target.
        targets: by part, the file of translations: "train" of the source, "valid" and "test" of theirs.

    >>> dates = PairReader(Reading()).read(None)
    >>> len(dates.train), len(dates.valid)
    (5700, 300)
    """

    EMBEDDED = "dates"

    def __init__(self, reading: Reading, targets: Mapping[str, str | None] | None = None) -> None:
        super().__init__(reading)
        self.targets = dict(targets or {})
        self._target = self.targets.get("train")

    def read(
        self,
        source: Source,
        *,
        valid: Source = None,
        test: Source = None,
        valid_fraction: float = 0.05,
        seed: int = 1,
        fold: Fold | None = None,
    ) -> Dataset:
        """As of `Reader`.

        Raises:
            DataError: likewise, or two files differ in their number of lines, or translations lack their source.
        """
        for part, one, option in (
            ("train", source, "its file first"),
            ("valid", valid, "--valid"),
            ("test", test, "--test"),
        ):
            target = self.targets.get(part)
            if one is None and target is not None:
                raise DataError(f"The translations of {target} need their source: give {option} too.")
        return super().read(source, valid=valid, test=test, valid_fraction=valid_fraction, seed=seed, fold=fold)

    def embedded(self) -> Parts:
        """Dates in words."""
        return {"train": read_dates()}

    def rows(self, table: Table) -> Items:
        """The pairs of a table, or its texts to translate."""
        table, reading = _unfolded(table), self.reading
        if not reading.labelled:
            return self._sources(table)
        source, target = _columns(table, (reading.input, reading.label))
        self.bad.note(f"source: '{source}'; target: '{target}'")
        rows = range(len(table.rows))
        sources, targets = ([table.value(row, column) for row in rows] for column in (source, target))
        return self._paired(Items("text", sources, targets, table.places), table.where)

    def file(self, path: Path) -> Parts:
        """The parts of a file.

        Raises:
            DataError: it cannot be read, or its translations are not given line by line.
        """
        encoding, target = self.reading.encoding, self._target
        if form_of(path) != "text":
            if target is not None:
                raise DataError(f"{path} is a table, which holds both languages. Got {target} too: leave it out.")
            return self.table(path)
        sources = read_lines(path, encoding)
        places = [f"{path}, line {number}" for number in range(1, 1 + len(sources))]
        if not self.reading.labelled:
            return {"train": Items("text", sources, [], places)}
        if target is None:
            raise DataError(f"{path} holds one language, a sentence a line: give the file of the other after it.")
        other = locate(target)
        if not isinstance(other, Path):
            raise DataError(f"There is no file {target}: give the translations of {path}, line by line.")
        targets = read_lines(other, encoding)
        if len(sources) != len(targets):
            raise DataError(
                f"{path} and {target} must be translations line by line. They have {len(sources):,} and "
                f"{len(targets):,} lines: align them first."
            )
        return {"train": self._paired(Items("text", sources, targets, places), str(path))}

    def folder(self, folder: Path) -> Parts:
        """Refused."""
        raise DataError(
            f"{folder} is a folder: give a text file with a sentence a line, and one of their translations."
        )

    def with_part(self, parts: Parts, part: str, source: str | Path) -> Parts:
        """The parts, of which one is read from a source and its translations."""
        reader = copy(self)
        reader._target = self.targets.get(part)
        return with_given(parts, {part: source}, lambda other: reader.parts(other)[1])

    def identities(self, items: Items) -> list[tuple[Hashable, ...]]:
        """Pairs go together that have the source or the target in common."""
        return [(identity(a), identity(b)) for a, b in zip(items.inputs, items.labels, strict=True)]

    def _paired(self, items: Items, where: str) -> Items:
        """The pairs with a text on both sides; the others are refused."""
        kept = []
        for row, sides in enumerate(zip(items.inputs, items.labels, strict=True)):
            empty = [
                name
                for name, text in zip(("source", "target"), sides, strict=True)
                if not isinstance(text, str) or not text.strip()
            ]
            if empty:
                self.bad.refuse(items.places[row], f"has no text in its {' and its '.join(empty)}")
            else:
                kept.append(row)
        if not kept:
            raise DataError(f"{where} must hold pairs of texts. There are none that can be used: give another.")
        return items.select(kept)

    def _sources(self, table: Table) -> Items:
        column = _column(table, self.reading.input, NAMES[0])
        column = column or (table.columns[0] if len(table.columns) == 1 else _columns(table, (None, None))[0])
        items = Items("text")
        for row, place in enumerate(table.places):
            text = table.value(row, column)
            if isinstance(text, str):
                items.add(place, None, text.__str__, self.bad)
            else:
                self.bad.refuse(place, f"has no text in '{column}'")
        return items


def read_lines(path: Path, encoding: str) -> list[str]:
    r"""The lines of a text file, plain or .gz, of which only "\n" and "\r\n" are the ends: as aligners count them.

    Raises:
        DataError: the file cannot be read, is empty, or is no text of that encoding.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder: give a text file with a sentence a line, and one of their translations.")
    if is_binary(path, encoding):
        raise explain(path, "text", encoding, "it is binary")
    with opened(path, encoding, "text") as file:
        lines = file.read().split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{path} must hold a sentence a line. It is empty: give another file.")
    return [line.removesuffix("\r") for line in lines]


def _unfolded(table: Table) -> Table:
    """A column a language, also where one column holds both, {"en": …, "de": …}, as the hub's translations do."""
    cells = [row.get("translation") for row in table.rows]
    if not isinstance(next(iter(cells), None), dict):
        return table
    rows = [cell if isinstance(cell, dict) else {} for cell in cells]
    return replace(table, columns=list(dict.fromkeys(name for row in rows for name in row)), rows=rows)


def _columns(table: Table, named: tuple[str | None, str | None]) -> tuple[str, str]:
    source, target = (_column(table, name, known) for name, known in zip(named, NAMES, strict=True))
    if source is None and target is None and len(table.columns) == 2 and all(map(_LANGUAGE.fullmatch, table.columns)):
        source, target = table.columns
    if source is None or target is None or source == target:
        raise DataError(
            f"{table.where} must name its columns 'source' and 'target' (.tsv and .csv in their first line). Got "
            f"{listed(table.columns)} instead: say which they are with --source-column and --target-column."
        )
    return source, target


def _column(table: Table, name: str | None, known: tuple[str, ...]) -> str | None:
    if name is None:
        return next((column for column in table.columns if column.lower() in known), None)
    check(table, name, known[0])
    return name
