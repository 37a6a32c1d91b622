"""What a folder of examples holds, and how its names tell splits and classes.

a .ts, .npz, IDX or table file at the top     each is read; names mark the splits (GunPoint_TRAIN.ts, test.csv)
folders train/, valid/, test/                 each is read as a folder of its own
a folder a class                              cat/1.png, dog/2.png: a file an example
.txt files alone                              Irish.txt, Greek.txt: a file a class, a line an example
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from selfloop.data.files.diagnose import explain, is_binary
from selfloop.data.items import Items, Wanted, together
from selfloop.data.media.idx import holds_images, is_idx, read_pair
from selfloop.data.media.kinds import MEDIA, TEXTS, family_of, read_one
from selfloop.data.media.series import SERIES_SUFFIXES, read_npz
from selfloop.data.media.ts import read_ts
from selfloop.data.parts import below, by_name, by_row, is_about, is_hidden, part_of, top
from selfloop.data.readers.table_examples import gathered, items_of_table
from selfloop.data.tables.table import Table, opened, read_table
from selfloop.data.text.files import suffix_of
from selfloop.errors import DataError

TABLES = {".csv", ".tsv", ".jsonl", ".json", ".parquet"}

_FORMS: tuple[Callable[[Path], bool], ...] = (
    lambda path: path.suffix.lower() == ".ts",
    holds_images,
    lambda path: path.suffix.lower() == ".npz",
    lambda path: suffix_of(path) in TABLES,
)
"""The kinds of files that hold many examples each; of a folder with several the first is read."""


def parts_of_folder(folder: Path, wanted: Wanted) -> dict[str, Items]:
    """The parts of a folder by split, "train" alone where names mark none.

    Raises:
        DataError: the folder holds nothing that could be read, or its names are unclear.
    """
    for form in _FORMS:
        if paths := [path for path in files_of(folder) if form(path)]:
            return read_parts(folder, paths, lambda path: parts_of_file(path, wanted))
    folders = _folders(folder)
    marks = {path: part_of(path.name) for path in folders}
    train = next((path for path, mark in marks.items() if mark == "train"), None)
    if train is not None and (None not in marks.values() or _folders(train)):
        parts: dict[str, list[Items]] = {}
        for path, mark in marks.items():
            if mark is not None:
                parts.setdefault(mark, []).extend(parts_of_folder(path, wanted).values())
        return {mark: together(items, str(folder)) for mark, items in parts.items()}
    if folders:
        return {"train": _classes(folder, folders, wanted)}
    if texts := [path for path in files_of(folder) if suffix_of(path) in TEXTS]:
        return {"train": together((_lines(path, path.name.partition(".")[0], wanted) for path in texts), str(folder))}
    raise DataError(
        f"The folder {folder} holds no labelled examples: put a folder for each class there, a .txt file for each "
        f"class, or a table with a column of labels."
    )


def parts_of_file(path: Path, wanted: Wanted) -> dict[str, Items]:
    """The parts of one file of many examples.

    Raises:
        DataError: the file is of no kind that could be read, or damaged.
    """
    suffix = suffix_of(path)
    if path.suffix.lower() == ".npz":
        return read_npz(path, wanted)
    if path.suffix.lower() == ".ts":
        return {"train": read_ts(path, wanted)}
    if is_idx(path):
        return {"train": read_pair(path, wanted)}
    if suffix in TABLES:
        return items_by_row(read_table(path, wanted.encoding, wanted.bad, wanted.format), wanted)
    if suffix in TEXTS and not wanted.labelled:
        return {"train": _lines(path, None, wanted)}
    if not wanted.labelled and family_of(path) not in (None, "text"):
        return {"train": _each_file([(path, None)], str(path), wanted)}
    raise DataError(
        f"{path} holds no labelled examples that can be read: give a table (.csv, .tsv, .jsonl, .parquet), a .ts, .npz "
        f"or IDX file, or a folder with a folder for each class."
    )


def unlabelled_folder(folder: Path, wanted: Wanted) -> Items:
    """Every example of a folder, whatever the names above it say: all its files of one kind, a file an example.

    Raises:
        DataError: it holds no examples.
    """
    tops = files_of(folder)
    for form in _FORMS[:-1]:
        if paths := [path for path in tops if form(path)]:
            return together((items for path in paths for items in parts_of_file(path, wanted).values()), str(folder))
    known = TABLES if wanted.kind == "text" else TABLES - SERIES_SUFFIXES
    if tables := [path for path in tops if suffix_of(path) in known]:
        return together((parts_of_file(path, wanted)["train"] for path in tables), str(folder))
    return _each_file([(path, None) for path in below(folder)], str(folder), wanted)


def items_by_row(table: Table, wanted: Wanted) -> dict[str, Items]:
    """The examples of a table by its column "split"; all of them where the label is not asked for."""
    if wanted.format.is_long:
        table, wanted = gathered(table, wanted)
    tables = by_row(table, wanted.bad, wanted.input, wanted.label) if wanted.labelled else {"train": table}
    return {part: items_of_table(rows, wanted) for part, rows in tables.items()}


def read_parts(folder: Path, paths: list[Path], read: Callable[[Path], dict[str, Items]]) -> dict[str, Items]:
    """The parts of a folder's files, by their names, and of a file to train with by its rows.

    Raises:
        DataError: some names mark a part and others do not.
    """
    found: dict[str, list[Items]] = {}
    for mark, marked in by_name(folder, paths).items():
        for path in marked:
            for part, items in read(path).items():
                found.setdefault(mark if part == "train" else part, []).append(items)
    return {part: together(items, str(folder)) for part, items in found.items()}


def _classes(folder: Path, folders: list[Path], wanted: Wanted) -> Items:
    return _each_file([(path, inner.name) for inner in folders for path in below(inner)], str(folder), wanted)


def _each_file(files: list[tuple[Path, str | None]], where: str, wanted: Wanted) -> Items:
    """Files of one example each, of the kind that most of them are."""
    files = [(path, label) for path, label in files if not is_about(path)]
    counts = Counter(family_of(path) for path, _ in files)
    del counts[None]
    if not counts:
        raise DataError(f"The folder {where} holds no examples: put .npy, .csv, .txt, image or sound files there.")
    family = max(MEDIA, key=lambda family: counts[family])
    items = Items(family)
    for path, label in files:
        items.add(str(path), label, partial(read_one, path, family, wanted), wanted.bad)
    return items


def _lines(path: Path, label: str | None, wanted: Wanted) -> Items:
    """A line an example; empty ones are passed over."""
    if is_binary(path, wanted.encoding):
        raise explain(path, "text", wanted.encoding, "it is binary")
    items = Items("text")
    with opened(path, wanted.encoding, "text") as file:
        for number, line in enumerate(file, 1):
            text = line.rstrip("\r\n")
            if text.strip():
                items.add(f"{path}, line {number}", label, partial(str, text), wanted.bad)
    return items


def files_of(folder: Path) -> list[Path]:
    """The files at the top of a folder, without hidden ones and those about it."""
    return [path for path in top(folder) if not is_about(path)]


def _folders(folder: Path) -> list[Path]:
    """The folders that hold something."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path) and any(below(path)))
