"""Sequences with a label at each step: rows of tables, words in columns, videos, sound, arrays."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from selfloop.data.embedded.moving_digits import moving_digits
from selfloop.data.examples import Examples, Items, Modality, Parts, Place, Unusable, together
from selfloop.data.files.diagnose import is_binary
from selfloop.data.files.names import TABLES, TEXTS, suffix_of
from selfloop.data.labels import label_of
from selfloop.data.media.audio import AUDIO_SUFFIXES, read_audio
from selfloop.data.media.series import as_series, read_npy
from selfloop.data.media.video import VIDEO_SUFFIXES, VideoReading, read_video
from selfloop.data.parts import below, files_of
from selfloop.data.reader import LabelledReader
from selfloop.data.reading import Reading
from selfloop.data.tables.columns import LABELS, cells_of, choose, named
from selfloop.data.tables.separated import is_number, is_wordless
from selfloop.data.tables.table import Table, opened
from selfloop.data.tables.word_columns import are_in_columns, sentences
from selfloop.errors import ConfigError, DataError

INPUTS = (
    "video", "frames", "tokens", "words", "series", "features", "array", "x", "input", "path", "file", "file_name",
    "text", "sentence",
)  # fmt: skip
LABELS_OF_STEPS = ("labels", "tags", "label", "y", "target", "upos", "pos_tags", "ner_tags")
ARRAYS = {".npy"}
SINGLE = VIDEO_SUFFIXES | AUDIO_SUFFIXES | ARRAYS
"""How files that hold one sequence end."""
WORD_COLUMNS = {".tsv": (0, 1), ".txt": (0, 1), ".text": (0, 1), ".conll": (0, 1), ".conllu": (1, 3)}
"""Files of a word a line, with an empty line between sentences: which columns hold the word and, by default, its label.
"""


class StepReader(LabelledReader):
    """Finds sequences and the labels of their steps.

    A source is one of

    - a table (JSONL, CSV, Parquet): a column with a video, a sound, a ``.npy`` file, a list of words or of numbers, and
      one with a list of labels (or labels with spaces between); a column "split" may tell its parts;
    - words in columns (``.tsv``, ``.txt``, ``.conll``, ``.conllu``): a word a line with its label beside it, an empty
      line between sentences;
    - a folder of such files, whose names may mark "train", "valid" and "test";
    - a dataset on the hub; or None: digits that move.

    Labels that are not asked for may be missing, and unknown ones are passed over; then also one video, sound or
    ``.npy`` file, a folder of such files, or a ``.txt`` file with a sentence a line will do.

    >>> digits = StepReader(Reading()).read(None)
    >>> digits.kind, len(digits.train), digits.train.inputs[0].shape
    ('frames', 480, (40, 16, 16))
    """

    EMBEDDED = "moving-digits"
    LABELS = tuple(dict.fromkeys((*LABELS_OF_STEPS, *LABELS)))
    ONE_LABEL = False

    def embedded(self) -> Parts:
        """Digits that move."""
        return moving_digits()

    def rows(self, table: Table) -> Items:
        """The sequences of a table."""
        reading = self.reading
        column = choose(table, reading.input, INPUTS, "input")
        label = next(named(table.columns, LABELS_OF_STEPS), None) if reading.label is None else reading.label
        if reading.labelled:
            label = choose(table, reading.label, LABELS_OF_STEPS, "label", taken=column)
        elif label not in table.columns:
            label = None
        numbers = _holds_numbers(table, column, reading)
        items = Items("series", columns=reading.columns)
        for row, place in enumerate(table.places):
            value, names = table.value(row, column), None if label is None else table.value(row, label)
            is_file = isinstance(value, str) and suffix_of(Path(value)) in SINGLE
            where = Place(f"{place} ({value})", getattr(place, "id", None)) if is_file else place
            if names is None and reading.labelled:
                self.bad.refuse(where, f"has no labels in column '{label}'")
                continue
            self._add(items, where, lambda value=value: self._of_cell(value, table, column, numbers), names)  # type: ignore[misc]
        self.bad.note(f"input: '{column}' ({items.family}); labels: '{label}'")
        return items

    def file(self, path: Path) -> Parts:
        """The parts of a file.

        Raises:
            DataError: it is of no kind that could be read, or damaged.
        """
        suffix, labelled = suffix_of(path), self.reading.labelled
        if suffix in TEXTS and not labelled:
            return {"train": self.lines(path, "words", str.split, [])}
        if suffix in WORD_COLUMNS and not self.reading.format.is_long:
            return {"train": self._words_in_columns(path)}
        if suffix in TABLES:
            return self.table(path)
        if suffix in SINGLE and not labelled:
            return {"train": self._single(path)}
        if _is_in_columns(path, self.reading.encoding):
            return {"train": self._words_in_columns(path)}
        raise DataError(
            f"{path} holds no labelled sequences that can be read: give a table (.jsonl, .csv, .parquet) with a column "
            f"of labels, or words and their labels in columns (.tsv, .conll)."
        )

    def folder(self, folder: Path) -> Parts:
        """The parts of a folder, by the names of its files."""
        return self.by_file(folder, self._files(folder))

    def everything(self, folder: Path) -> Items:
        """All sequences of a folder; of one without tables and words in columns, a file a sequence."""
        singles = [path for path in below(folder) if suffix_of(path) in SINGLE]
        if singles and not self._tables(folder):
            return together(map(self._single, singles), str(folder))
        return together((items for path in self._files(folder) for items in self.file(path).values()), str(folder))

    def kind(self, items: Items) -> Modality:
        """What the sequences are of: words, numbers or frames."""
        return _kind_of(items.inputs[0]) if items.inputs else "series"

    def examples(self, items: Items) -> Examples:
        """The sequences; of those to predict, labels that the model does not know are left out."""
        if self.reading.labelled:
            return super().examples(items)
        truth = [[name if name in self.classes else None for name in names] for names in items.labels]
        return Examples(items.inputs, truth, items.places)

    def _tables(self, folder: Path) -> list[Path]:
        """The files of a folder that hold many sequences each."""
        files = files_of(folder)
        paths = [path for path in files if suffix_of(path) in TABLES.keys() | WORD_COLUMNS.keys()]
        if any(suffix_of(path) in WORD_COLUMNS for path in paths):  # one more may end in something else
            paths = [path for path in files if path in paths or _is_in_columns(path, self.reading.encoding)]
        return paths

    def _files(self, folder: Path) -> list[Path]:
        paths = self._tables(folder)
        if not paths:
            raise DataError(
                f"The folder {folder} holds no labelled sequences: put a table (.jsonl, .csv, .parquet) with a column "
                f"of labels there, or words and their labels in columns (.tsv, .conll)."
            )
        return paths

    def _single(self, path: Path) -> Items:
        items = Items("series")
        self._add(items, str(path), lambda: self._of_path(path), [])
        return items

    def _words_in_columns(self, path: Path) -> Items:
        """The sentences of a file with a word and its label a line."""
        word, tag = WORD_COLUMNS.get(suffix_of(path), (0, 1))
        if self.reading.label is not None:
            tag = _column_number(self.reading.label, path)
        need = max(word, tag if self.reading.labelled else word) + 1
        items = Items("words")
        with opened(path, self.reading.encoding, "text") as file:
            for lines in sentences(file, word, tag, self.reading.format.header):
                place = f"{path}, line {lines[0][0]}"
                short = next(((number, len(cells)) for number, cells in lines if len(cells) < need), None)
                if short is not None:
                    fault = "begins a sentence whose line {} has {} columns, and {} are read"
                    self.bad.refuse(place, fault.format(*short, need))
                else:
                    names = [label_of(cells[tag]) if len(cells) > tag else None for _, cells in lines]
                    items.add(place, self._judged(names), [cells[word] for _, cells in lines].copy, self.bad)
        return items

    def _add(self, items: Items, place: str, read: Callable[[], Any], labels: Any) -> None:
        """Takes a sequence and its labels, or has it refused."""
        try:
            names, value = self._judged(_names(labels)), read()
            kind = _kind_of(value)
            if not len(value):
                raise Unusable("is empty")
            if names and len(names) != len(value):
                steps = "steps" if kind == "series" else kind
                raise Unusable(f"has {len(value):,} {steps} and {len(names):,} labels: give one a step")
            if self.reading.labelled and not names:
                raise Unusable("has no labels")
            if items.inputs and kind != items.family:
                raise Unusable(f"holds {kind}, where others hold {items.family}")
        except Unusable as fault:
            self.bad.refuse(place, str(fault))
        else:
            items.family = kind
            items.add(place, names, lambda: value, self.bad)

    def _judged(self, names: Sequence[str | None]) -> list[str | None]:
        return [None if name == self.reading.ignore else name for name in names]

    def _of_cell(self, value: Any, table: Table, column: str, numbers: bool) -> Any:
        """A sequence out of a cell: a path, a sentence, a list of words, or of numbers."""
        if value is None or value in ("", []):
            raise Unusable(f"has nothing in column '{column}'")

        def must_hold(what: str, faults: list[Any]) -> None:
            if faults:
                raise Unusable(f"must hold {what} in column '{column}'. It holds {str(faults[0])[:40]!r}")

        if isinstance(value, str):
            if suffix_of(Path(value)) in SINGLE:
                return self._of_path(table.file_named(value))
            words = value.split()
            if not numbers:
                return words
            must_hold("numbers", [word for word in words if not is_number(word)])
            return as_series([float(word) for word in words])
        must_hold("a path or a list", [] if isinstance(value, list) else [value])
        if not isinstance(value[0], str):
            return as_series(value)
        must_hold("words", [word for word in value if not isinstance(word, str) or not word])
        return value

    def _of_path(self, path: Path) -> Any:
        if suffix_of(path) in AUDIO_SUFFIXES:
            return read_audio(path, self.reading.audio)
        if suffix_of(path) not in ARRAYS:
            return read_video(path, self.reading.video)
        return as_steps(read_npy(path), self.reading.video)


def as_steps(array: Any, video: VideoReading) -> Any:
    """An array of numbers (T,) or (T, C), or of frames (T, H, W) or (T, H, W, 3), as the sequence that a model reads.

    Raises:
        Unusable: it is neither.
    """
    if array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3))):
        array = array[..., 0] if array.ndim == 4 and array.shape[-1] == 1 else array
        return np.stack([video.framed(frame) for frame in array]) if len(array) else array
    if array.ndim > 2:
        raise Unusable(
            f"holds an array of {array.dtype}, {array.shape}: frames must be bytes, (T, H, W) or (T, H, W, 3)"
        )
    return as_series(array)


def _is_in_columns(path: Path, encoding: str) -> bool:
    """Whether a file of unknown suffix looks like a word a line with its label, and an empty line between sentences."""
    if suffix_of(path) in TABLES.keys() | SINGLE or is_binary(path, encoding):
        return False
    try:
        with opened(path, encoding, "text") as file:
            return are_in_columns(list(islice(file, 1000)))
    except DataError:
        return False


def _column_number(label: str, path: Path) -> int:
    """The column of labels, from 0, that is named by its number, from 1."""
    if not label.isdigit() or int(label) < 1:
        raise ConfigError(f"The 'label' of {path} must be the number of a column, from 1. Got '{label}'.")
    return int(label) - 1


def _holds_numbers(table: Table, column: str, reading: Reading) -> bool:
    """Whether the strings of a column are numbers with spaces between, so that they are series and not words.

    Raises:
        DataError: the column was not named, and holds single numbers, dates or times.
    """
    cells = [cell.split() for cell in cells_of(table, column) if isinstance(cell, str)]
    if 2 * sum(all(map(is_wordless, cell)) for cell in cells) <= len(cells):
        return False
    numbers = 2 * sum(all(map(is_number, cell)) for cell in cells) > len(cells)
    if reading.input is None and (not numbers or all(len(cell) == 1 for cell in cells)):
        raise DataError(
            f"{table.where} has the input '{column}', which holds a number, a date or a time a row, and no sequence: "
            "where a row is a step of a series, give --series and --time, the columns that tell the series apart and "
            "order them; else name another with --input."
        )
    return numbers


def _names(labels: Any) -> list[str | None]:
    if labels is None:
        return []
    if isinstance(labels, str):
        labels = labels.split()
    if not isinstance(labels, list):
        raise Unusable(f"must hold a list of labels. It holds {str(labels)[:40]!r}")
    nested = next((label for label in labels if isinstance(label, list | dict)), None)
    if nested is not None:
        raise Unusable(f"must hold a label a step. It holds {str(nested)[:40]!r} among them")
    return [label_of(label) for label in labels]


def _kind_of(value: Any) -> Modality:
    if isinstance(value, list):
        return "words"
    return "series" if value.ndim == 2 else "frames"
