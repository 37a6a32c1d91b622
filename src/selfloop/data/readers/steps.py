"""Sequences with a label at each step: what the user names (a table, words in columns, a folder) as a `Dataset`.

source -> parts, by split, of `Items`             a row of a table or a sentence each; as many labels as steps
parts  -> the same, all of them usable            one shape of steps, labels that training knows
parts  -> Dataset                                 validation sequences, held out
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from selfloop.data.embedded.moving_digits import moving_digits
from selfloop.data.examples import BadItems, Dataset, Examples, Modality
from selfloop.data.files.diagnose import is_binary
from selfloop.data.files.locate import check_encoding, locate
from selfloop.data.held_out import origin_of
from selfloop.data.items import Items, Unusable, label_of, note_twins, together
from selfloop.data.media.audio import AUDIO_SUFFIXES, AudioReading, read_audio
from selfloop.data.media.kinds import TEXTS
from selfloop.data.media.series import as_series, read_npy
from selfloop.data.media.video import VIDEO_SUFFIXES, VideoReading, read_video
from selfloop.data.parts import below, by_row, of_hub, train_of, with_given
from selfloop.data.readers.folders import TABLES, files_of, read_parts
from selfloop.data.tables.columns import LABELS as LABELS_OF_ONE
from selfloop.data.tables.columns import cells_of, choose, named
from selfloop.data.tables.long import SERIES as GATHERED
from selfloop.data.tables.long import gather
from selfloop.data.tables.separated import DEFAULT_FORMAT, TableFormat, is_number, is_wordless
from selfloop.data.tables.table import Table, hub_table, opened, read_table
from selfloop.data.text.files import suffix_of
from selfloop.data.validate import Parts, alike_items, hold_out
from selfloop.errors import ConfigError, DataError
from selfloop.untrusted import is_file

INPUTS = (
    "video", "frames", "tokens", "words", "series", "features", "array", "x", "input", "path", "file", "file_name",
    "text", "sentence",
)  # fmt: skip
LABELS = ("labels", "tags", "label", "y", "target", "upos", "pos_tags", "ner_tags")
ARRAYS = {".npy"}
SINGLE = VIDEO_SUFFIXES | AUDIO_SUFFIXES | ARRAYS
"""How files that hold one sequence end."""
WORD_COLUMNS = {".tsv": (0, 1), ".txt": (0, 1), ".text": (0, 1), ".conll": (0, 1), ".conllu": (1, 3)}
"""Files of a word a line, with an empty line between sentences: which columns hold the word and, by default, its label.
"""


@dataclass(frozen=True)
class Reading:
    """How sequences are read.

    Attributes:
        input: the column of a table that holds the sequence; None finds it.
        label: the column that holds the labels; of words in columns its number, from 1; None finds it.
        ignore: the label of steps that are neither learnt nor judged.
        video: how frames are read.
        audio: how sound is read.
        encoding: of text files.
        labelled: whether every sequence must have labels.
        bad: takes what cannot be used.
        format: how a table is written.
    """

    input: str | None = None
    label: str | None = None
    ignore: str | None = None
    video: VideoReading = field(default_factory=VideoReading)
    audio: AudioReading = field(default_factory=AudioReading)
    encoding: str = "utf-8"
    labelled: bool = True
    bad: BadItems = field(default_factory=BadItems)
    format: TableFormat = DEFAULT_FORMAT


def read_labelled_steps(
    source: str | Path | None,
    reading: Reading,
    *,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    valid_fraction: float = 0.1,
    seed: int = 1,
) -> Dataset:
    """Finds sequences and the labels of their steps.

    Args:
        source: one of

            - a table (JSONL, CSV, Parquet): a column with a video, a ``.npy`` file, a list of words or of numbers, and
              one with a list of labels (or labels with spaces between); a column "split" may tell its parts;
            - words in columns (``.tsv``, ``.txt``, ``.conll``, ``.conllu``): a word a line with its label beside it, an
              empty line between sentences;
            - a folder of such files, whose names may mark "train", "valid" and "test";
            - the name of a dataset on the Hugging Face hub, ``owner/name`` or ``owner/name:config``;
            - None: digits that move.
        reading: how.
        valid: a source for the validation sequences; of one with splits, its validation split.
        test: likewise for the test sequences.
        valid_fraction: the share of the sequences that is held out where no validation sequences are given or marked.
        seed: of what is held out.

    Raises:
        DataError: the source cannot be read, a sequence cannot be used (unless `reading.bad` skips such), or there are
            fewer than two labels.
        ConfigError: the fraction or the encoding does not exist.

    >>> digits = read_labelled_steps(None, Reading())
    >>> digits.kind, len(digits.train), digits.train.inputs[0].shape
    ('frames', 480, (40, 16, 16))
    """
    name, parts = _parts(source, reading)
    parts = with_given(parts, {"valid": valid, "test": test}, lambda other: _parts(other, reading)[1])
    where = str(source) if source is not None else name
    train_of(parts, where)
    parts = alike_items(parts, where, reading.bad)
    classes = {label for labels in parts["train"].labels for label in labels} - {None}
    if len(classes) < 2:
        found_one = f"All of its steps have label '{classes.pop()}'" if classes else "There are none that can be used"
        raise DataError(f"{where} must hold sequences with two labels or more to train on. {found_one}.")
    note_twins(classes, reading.bad)
    parts = {
        role: items if role == "train" else _known(items, classes, "which no training sequence has", where, reading.bad)
        for role, items in parts.items()
    }
    if "valid" not in parts:
        parts["train"], parts["valid"] = hold_out(parts["train"], valid_fraction, seed, where)
    examples = {role: Examples(items.inputs, items.labels, items.places) for role, items in parts.items()}
    kind = _kind(parts["train"])
    origin = origin_of((source, valid, test), examples, rows_name_files=kind != "words")
    return Dataset(name, kind, examples["train"], examples["valid"], examples.get("test"), origin=origin)


def read_steps(source: str | Path, reading: Reading, *, kind: Modality, classes: Sequence[str]) -> Examples:
    """The sequences of a source to score or to label: of one with splits the test or the validation ones; else all.

    Args:
        source: as of `read_labelled_steps`; where no labels are needed also one video or ``.npy`` file, a folder of
            such files, or a ``.txt`` file with a sentence a line.
        reading: how. Where labels are not needed, those that are there are kept, and unknown ones passed over.
        kind: what the model reads.
        classes: the labels that it knows.

    Raises:
        DataError: the source cannot be read, holds another kind, or a sequence cannot be used (unless `reading.bad`
            skips such).
    """
    parts = _parts(source, reading)[1]
    everything = together(parts.values(), str(source))
    items = parts.get("test") or parts.get("valid") or everything if reading.labelled else everything
    if items.inputs and _kind(items) != kind:
        raise DataError(f"{source} holds {_kind(items)}, and the model reads {kind}. Give data of that kind.")
    known = set(classes)
    if reading.labelled:
        items = _known(items, known, "which the model was not trained on", str(source), reading.bad)
    if not items.inputs:
        raise DataError(f"{source} must hold sequences. There are none that can be used: give another.")
    items = alike_items({"train": items}, str(source), reading.bad)["train"]
    truth = [[name if name in known else None for name in names] for names in items.labels]
    return Examples(items.inputs, truth, items.places)


def _parts(source: str | Path | None, reading: Reading) -> tuple[str, Parts]:
    """A source's name, and what it holds by split."""
    check_encoding(reading.encoding)
    if source is None:
        return "moving-digits", moving_digits()
    found = locate(source)
    if isinstance(found, Path):
        read = _folder if found.is_dir() else _file
        return found.resolve().name.partition(".")[0] or found.name, read(found, reading)
    name = str(source).rsplit("/", 1)[-1].partition(":")[0]
    return name, {
        part: _of_table(hub_table(rows, f"{source} ({part})"), reading) for part, rows in of_hub(found).items()
    }


def _folder(folder: Path, reading: Reading) -> Parts:
    known, files = TABLES | set(WORD_COLUMNS), files_of(folder)
    paths = [path for path in files if suffix_of(path) in known]
    if any(suffix_of(path) in WORD_COLUMNS for path in paths):  # one more may end in something else
        paths = [path for path in files if path in paths or _is_in_columns(path, reading.encoding)]
    if not paths and not reading.labelled:
        singles = [path for path in below(folder) if suffix_of(path) in SINGLE]
        if singles:
            return {"train": together((_single(path, reading) for path in singles), str(folder))}
    if not paths:
        raise DataError(
            f"The folder {folder} holds no labelled sequences: put a table (.jsonl, .csv, .parquet) with a column of "
            f"labels there, or words and their labels in columns (.tsv, .conll)."
        )
    if not reading.labelled:
        return {"train": together((items for path in paths for items in _file(path, reading).values()), str(folder))}
    return read_parts(folder, paths, lambda path: _file(path, reading))


def _file(path: Path, reading: Reading) -> Parts:
    suffix = suffix_of(path)
    if suffix in TEXTS and not reading.labelled:
        return {"train": _sentences(path, reading)}
    if suffix in WORD_COLUMNS and not reading.format.is_long:
        return {"train": _words_in_columns(path, reading)}
    if suffix in TABLES:
        table = read_table(path, reading.encoding, reading.bad, reading.format)
        if reading.format.is_long:
            table, reading = _gathered(table, reading)
        tables = by_row(table, reading.bad, reading.input, reading.label) if reading.labelled else {"train": table}
        return {part: _of_table(rows, reading) for part, rows in tables.items()}
    if not reading.labelled and suffix in SINGLE:
        return {"train": _single(path, reading)}
    if _is_in_columns(path, reading.encoding):
        return {"train": _words_in_columns(path, reading)}
    raise DataError(
        f"{path} holds no labelled sequences that can be read: give a table (.jsonl, .csv, .parquet) with a column of "
        f"labels, or words and their labels in columns (.tsv, .conll)."
    )


def _single(path: Path, reading: Reading) -> Items:
    items = Items("series")
    _add(items, str(path), lambda: _of_path(path, reading), [], reading)
    return items


def _sentences(path: Path, reading: Reading) -> Items:
    items = Items("words")
    with opened(path, reading.encoding, "text") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                items.inputs.append(line.split())
                items.labels.append([])
                items.places.append(f"{path}, line {number}")
    return items


def _is_in_columns(path: Path, encoding: str) -> bool:
    """Whether a file of unknown suffix looks like a word a line with its label, and an empty line between sentences."""
    if suffix_of(path) in TABLES | SINGLE or is_binary(path, encoding):
        return False
    try:
        with opened(path, encoding, "text") as file:
            lines = [line.strip("\r\n") for line in islice(file, 1000)]
    except DataError:
        return False
    counts = {len(line.split("\t") if "\t" in line else line.split()) for line in lines if line.strip()}
    return len(counts) == 1 and counts.pop() > 1 and any(not line.strip() for line in lines)


def _words_in_columns(path: Path, reading: Reading) -> Items:
    word, tag = WORD_COLUMNS.get(suffix_of(path), (0, 1))
    if reading.label is not None:
        if not reading.label.isdigit() or int(reading.label) < 1:
            raise ConfigError(f"The 'label' of {path} must be the number of a column, from 1. Got '{reading.label}'.")
        tag = int(reading.label) - 1
    items = Items("words")
    words: list[str] = []
    names: list[str | None] = []
    fault: str | None = None
    first = 1

    def close() -> None:
        if fault is not None:
            reading.bad.refuse(f"{path}, line {first}", fault)
        elif words:
            items.inputs.append([*words])
            items.labels.append(_judged(names, reading))
            items.places.append(f"{path}, line {first}")

    with opened(path, reading.encoding, "text") as file:
        for number, raw in enumerate(file, 1):
            line = raw.rstrip("\r\n")
            if not line.strip():
                close()
                words, names, fault, first = [], [], None, number + 1
                continue
            cells = line.split("\t") if "\t" in line else line.split()
            if word == 1 and (line.startswith("#") or not cells[0].isdigit()):
                continue  # a comment, a span or an empty node of CoNLL-U
            need = max(word, tag if reading.labelled else word) + 1
            if len(cells) < need and fault is None:
                fault = f"begins a sentence whose line {number} has {len(cells)} columns, and {need} are read"
            elif fault is None:
                words.append(cells[word])
                names.append(label_of(cells[tag]) if len(cells) > tag else None)
        close()
    return items


def _of_table(table: Table, reading: Reading) -> Items:
    if reading.format.is_long:
        table, reading = _gathered(table, reading)
    column = choose(table, reading.input, INPUTS, "input")
    label = _optional(table, reading.label)
    if reading.labelled:
        label = choose(table, reading.label, LABELS, "label", taken=column)
    numbers = _holds_numbers(table, column, reading)
    items = Items("series")
    for row, place in enumerate(table.places):
        value, names = table.value(row, column), None if label is None else table.value(row, label)
        where = f"{place} ({value})" if isinstance(value, str) and Path(value).suffix else place
        if names is None and reading.labelled:
            reading.bad.refuse(where, f"has no labels in column '{label}'")
            continue
        _add(items, where, lambda value=value: _of_cell(value, table.folder, column, reading, numbers), names, reading)  # type: ignore[misc]
    reading.bad.note(f"input: '{column}' ({items.family}); labels: '{label}'")
    return items


def _gathered(table: Table, reading: Reading) -> tuple[Table, Reading]:
    """A table with a row a step as one with a row a sequence, and how that is read."""
    labels = (*LABELS, *LABELS_OF_ONE)
    label = next(named(table.columns, labels), None) if reading.label is None else reading.label
    if reading.labelled:
        label = choose(table, reading.label, labels, "label")
    elif label not in table.columns:
        label = None
    table = gather(
        table,
        reading.format,
        input=reading.input,
        label=label,
        named=reading.label is not None,
        labels=labels,
        one_label=False,
        bad=reading.bad,
    )
    return table, replace(reading, input=GATHERED, label=label, format=DEFAULT_FORMAT)


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


def _optional(table: Table, label: str | None) -> str | None:
    if label is not None:
        return label if label in table.columns else None
    return next(named(table.columns, LABELS), None)


def _add(items: Items, place: str, read: Callable[[], Any], labels: Any, reading: Reading) -> None:
    """Takes a sequence and its labels, or has it refused."""
    try:
        names = _judged(_names(labels), reading)
        value = read()
        if not len(value):
            raise Unusable("is empty")
        if names and len(names) != len(value):
            step = "frames" if _kind_of(value) == "frames" else "words" if isinstance(value, list) else "steps"
            raise Unusable(f"has {len(value):,} {step} and {len(names):,} labels: give one a step")
        if reading.labelled and not names:
            raise Unusable("has no labels")
        if items.inputs and _kind_of(value) != items.family:
            raise Unusable(f"holds {_kind_of(value)}, where others hold {items.family}")
    except Unusable as fault:
        reading.bad.refuse(place, str(fault))
        return
    items.family = _kind_of(value)
    items.inputs.append(value)
    items.labels.append(names)
    items.places.append(place)


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


def _judged(names: Sequence[str | None], reading: Reading) -> list[str | None]:
    return [None if name == reading.ignore else name for name in names]


def _of_cell(value: Any, folder: Path, column: str, reading: Reading, numbers: bool) -> Any:
    """A sequence out of a cell: a path, a sentence, a list of words, or of numbers."""
    if value is None or value in ("", []):
        raise Unusable(f"has nothing in column '{column}'")
    if isinstance(value, str):
        if suffix_of(Path(value)) in SINGLE:
            path = folder / value
            if not is_file(path):
                raise Unusable(f"names '{value}', and there is no such file")
            return _of_path(path, reading)
        if not numbers:
            return value.split()
        wrong = next((word for word in value.split() if not is_number(word)), None)
        if wrong is not None:
            raise Unusable(f"must hold numbers in column '{column}'. It holds {wrong[:40]!r}")
        return as_series([float(word) for word in value.split()])
    if not isinstance(value, list):
        raise Unusable(f"must hold a path or a list in column '{column}'. It holds {str(value)[:40]!r}")
    if isinstance(value[0], str):
        wrong = next((word for word in value if not isinstance(word, str) or not word), None)
        if wrong is not None or "" in value:
            raise Unusable(f"must hold words in column '{column}'. It holds {str(wrong)[:40]!r}")
        return value
    return as_series(value)


def _of_path(path: Path, reading: Reading) -> Any:
    if suffix_of(path) in AUDIO_SUFFIXES:
        return read_audio(path, reading.audio)
    if suffix_of(path) not in ARRAYS:
        return read_video(path, reading.video)
    return as_steps(read_npy(path), reading.video)


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


def _kind_of(value: Any) -> Modality:
    if isinstance(value, list):
        return "words"
    return "series" if value.ndim == 2 else "frames"


def _kind(items: Items) -> Modality:
    return _kind_of(items.inputs[0])


def _known(items: Items, classes: set[str], who: str, where: str, bad: BadItems) -> Items:
    """The sequences whose labels are all among the classes; the others are refused."""
    kept = []
    for row, names in enumerate(items.labels):
        step = next((k for k, name in enumerate(names, 1) if name is not None and name not in classes), None)
        if step is None:
            kept.append(row)
        else:
            bad.refuse(items.places[row], f"has label '{names[step - 1]}' at step {step}, {who}")
    if not kept:
        raise DataError(f"{where} must hold sequences. None of its {len(items.labels):,} can be used: give others.")
    return items.select(kept)
