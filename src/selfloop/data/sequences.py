"""Sequences with a label at each step: what the user names (a table, words in columns, a folder) as a `Dataset`.

source -> parts, by split, of `Items`             a row of a table or a sentence each; as many labels as steps
parts  -> the same, all of them usable            one shape of steps, labels that training knows
parts  -> Dataset                                 validation sequences, held out
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from selfloop.data.columns import choose
from selfloop.data.examples import BadItems, Dataset, Examples, Modality
from selfloop.data.files import SPLITS, suffix_of
from selfloop.data.folders import TABLES, TEXTS, below, by_mark, files_of
from selfloop.data.items import Items, Unusable, label_of, together
from selfloop.data.moving_digits import moving_digits
from selfloop.data.series import as_series, read_npy
from selfloop.data.sources import check_encoding, locate
from selfloop.data.tables import Table, hub_table, opened, read_table
from selfloop.data.usable import Parts, alike_items, train_of
from selfloop.data.video import VIDEO_SUFFIXES, VideoReading, read_video
from selfloop.errors import ConfigError, DataError
from selfloop.untrusted import is_file

INPUTS = (
    "video", "frames", "tokens", "words", "series", "features", "array", "x", "input", "path", "file", "file_name",
    "text", "sentence",
)  # fmt: skip
LABELS = ("labels", "tags", "label", "y", "target", "upos", "pos_tags", "ner_tags")
ARRAYS = {".npy"}
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
        encoding: of text files.
        labelled: whether every sequence must have labels.
        bad: takes what cannot be used.
    """

    input: str | None = None
    label: str | None = None
    ignore: str | None = None
    video: VideoReading = field(default_factory=VideoReading)
    encoding: str = "utf-8"
    labelled: bool = True
    bad: BadItems = field(default_factory=BadItems)


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
    if not 0 < valid_fraction < 1:
        raise ConfigError(f"The 'valid_fraction' must be above 0 and below 1. Got {valid_fraction} instead.")
    name, parts = _parts(source, reading)
    for role, other in (("valid", valid), ("test", test)):
        if other is not None:
            found = _parts(other, reading)[1]
            parts[role] = found.get(role) or train_of(found, str(other))
    where = str(source) if source is not None else name
    train_of(parts, where)
    parts = alike_items(parts, where, reading.bad)
    classes = {label for labels in parts["train"].labels for label in labels} - {None}
    if len(classes) < 2:
        found_one = f"All of its steps have label '{classes.pop()}'" if classes else "There are none that can be used"
        raise DataError(f"{where} must hold sequences with two labels or more to train on. {found_one}.")
    parts = {
        role: items if role == "train" else _known(items, classes, "which no training sequence has", where, reading.bad)
        for role, items in parts.items()
    }
    if "valid" not in parts:
        parts["train"], parts["valid"] = _hold_out(parts["train"], valid_fraction, seed, where)
    examples = {role: Examples(items.inputs, items.labels, items.places) for role, items in parts.items()}
    return Dataset(name, _kind(parts["train"]), examples["train"], examples["valid"], examples.get("test"))


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
    tables = {SPLITS[split]: hub_table(found[split], f"{source} ({split})") for split in found if split in SPLITS}
    return name, {role: _table(table, reading)["train"] for role, table in tables.items()}


def _folder(folder: Path, reading: Reading) -> Parts:
    known = TABLES | set(WORD_COLUMNS)
    paths = [path for path in files_of(folder) if suffix_of(path) in known]
    if not paths and not reading.labelled:
        singles = [path for path in below(folder) if suffix_of(path) in VIDEO_SUFFIXES | ARRAYS]
        if singles:
            return {"train": together((_single(path, reading) for path in singles), str(folder))}
    if not paths:
        raise DataError(
            f"The folder {folder} holds no labelled sequences: put a table (.jsonl, .csv, .parquet) with a column of "
            f"labels there, or words and their labels in columns (.tsv, .conll)."
        )
    return by_mark(folder, paths, lambda path: _file(path, reading))


def _file(path: Path, reading: Reading) -> Parts:
    suffix = suffix_of(path)
    if suffix in TEXTS and not reading.labelled:
        return {"train": _sentences(path, reading)}
    if suffix in WORD_COLUMNS:
        return {"train": _words_in_columns(path, reading)}
    if suffix in TABLES:
        return _table(read_table(path, reading.encoding, reading.bad), reading)
    if not reading.labelled and suffix in VIDEO_SUFFIXES | ARRAYS:
        return {"train": _single(path, reading)}
    raise DataError(
        f"{path} holds no labelled sequences that can be read: give a table (.jsonl, .csv, .parquet) with a column of "
        f"labels, or words and their labels in columns (.tsv, .conll)."
    )


def _single(path: Path, reading: Reading) -> Items:
    items = Items("series")
    _add(items, str(path), lambda: _of_path(path, reading.video), [], reading)
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


def _words_in_columns(path: Path, reading: Reading) -> Items:
    word, tag = WORD_COLUMNS[suffix_of(path)]
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


def _table(table: Table, reading: Reading) -> Parts:
    column = choose(table, reading.input, INPUTS, "input")
    label = _optional(table, reading.label)
    if reading.labelled:
        label = choose(table, reading.label, LABELS, "label", taken=column)
    parts: Parts = {}
    for row, place in enumerate(table.places):
        split = str(table.rows[row].get("split") or "train").lower()
        if split not in SPLITS:
            reading.bad.refuse(place, f"has split '{split}', which is none of train, valid and test")
            continue
        items = parts.setdefault(SPLITS[split], Items("series"))
        value, names = table.value(row, column), None if label is None else table.value(row, label)
        where = f"{place} ({value})" if isinstance(value, str) and Path(value).suffix else place
        if names is None and reading.labelled:
            reading.bad.refuse(where, f"has no labels in column '{label}'")
            continue
        _add(items, where, lambda value=value: _of_cell(value, table.folder, column, reading), names, reading)  # type: ignore[misc]
    return {role: items for role, items in parts.items() if items.inputs} or {"train": Items("series")}


def _optional(table: Table, label: str | None) -> str | None:
    names = (label,) if label else LABELS
    return next((column for name in names for column in table.columns if column.lower() == name), None)


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


def _of_cell(value: Any, folder: Path, column: str, reading: Reading) -> Any:
    """A sequence out of a cell: a path, a sentence, a list of words, or of numbers."""
    if value is None or value in ("", []):
        raise Unusable(f"has nothing in column '{column}'")
    if isinstance(value, str):
        if suffix_of(Path(value)) in VIDEO_SUFFIXES | ARRAYS:
            path = folder / value
            if not is_file(path):
                raise Unusable(f"names '{value}', and there is no such file")
            return _of_path(path, reading.video)
        return value.split()
    if not isinstance(value, list):
        raise Unusable(f"must hold a path or a list in column '{column}'. It holds {str(value)[:40]!r}")
    if isinstance(value[0], str):
        wrong = next((word for word in value if not isinstance(word, str) or not word), None)
        if wrong is not None or "" in value:
            raise Unusable(f"must hold words in column '{column}'. It holds {str(wrong)[:40]!r}")
        return value
    return as_series(value)


def _of_path(path: Path, video: VideoReading) -> Any:
    if suffix_of(path) not in ARRAYS:
        return read_video(path, video)
    array = read_npy(path)
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


def _hold_out(items: Items, fraction: float, seed: int, where: str) -> tuple[Items, Items]:
    """The sequences in two; of the labels that are held out training knows all, so some may stay."""
    if len(items.inputs) < 2:
        raise DataError(f"{where} has one sequence, so none can be held out: give more, or name 'valid'.")
    order = np.random.default_rng(seed).permutation(len(items.inputs)).tolist()
    wanted = max(1, round(len(order) * fraction))
    left: dict[str | None, int] = {}
    for names in items.labels:
        for name in set(names):
            left[name] = left.get(name, 0) + 1
    held: set[int] = set()
    for row in order:
        names = set(items.labels[row]) - {None}
        if len(held) < wanted and all(left[name] > 1 for name in names):
            held.add(row)
            for name in names:
                left[name] -= 1
    if not held:
        raise DataError(f"{where} has no sequence whose labels others have too, so none can be held out: name 'valid'.")
    everything = range(len(order))
    return items.select(row for row in everything if row not in held), items.select(sorted(held))
