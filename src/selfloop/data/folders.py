"""What a folder of examples holds, and how its names tell splits and classes.

a .ts, .npz, IDX or table file at the top     each is read; names mark the splits (GunPoint_TRAIN.ts, test.csv)
folders train/, valid/, test/                 each is read as a folder of its own
a folder a class                              cat/1.png, dog/2.png: a file an example
.txt files alone                              Irish.txt, Greek.txt: a file a class, a line an example
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from selfloop.data.columns import items_of_table
from selfloop.data.faults import explain, is_binary
from selfloop.data.files import SPLITS, suffix_of
from selfloop.data.idx import holds_images, is_idx, read_pair
from selfloop.data.images import IMAGE_SUFFIXES, read_image
from selfloop.data.items import Family, Items, Unusable, Wanted, together
from selfloop.data.series import SERIES_SUFFIXES, read_npz, read_series
from selfloop.data.tables import opened, read_table
from selfloop.data.ts import read_ts
from selfloop.errors import DataError

TABLES = {".csv", ".tsv", ".jsonl", ".json", ".parquet"}
TEXTS = {".txt", ".text"}
_MARKS = {**SPLITS, "t10k": "test"}
_ABOUT = {"readme", "license", "licence", "thumbs.db", "desktop.ini"}
_FAMILIES: dict[Family, set[str]] = {"text": TEXTS, "series": SERIES_SUFFIXES, "images": IMAGE_SUFFIXES}

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
            return _marked(folder, paths, wanted)
    folders = _folders(folder)
    marks = {path: _MARKS.get(path.name.lower()) for path in folders}
    train = next((path for path, mark in marks.items() if mark == "train"), None)
    if train is not None and (None not in marks.values() or _folders(train)):
        return {mark: _whole(path, wanted) for path, mark in marks.items() if mark is not None}
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
        return {"train": items_of_table(read_table(path, wanted.encoding, wanted.bad), wanted)}
    if suffix in TEXTS and not wanted.labelled:
        return {"train": _lines(path, None, wanted)}
    if not wanted.labelled and suffix in IMAGE_SUFFIXES | SERIES_SUFFIXES:
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


def _marked(folder: Path, paths: list[Path], wanted: Wanted) -> dict[str, Items]:
    """Files of many examples by the split that their names mark."""
    return by_mark(folder, paths, lambda path: parts_of_file(path, wanted))


def by_mark(folder: Path, paths: list[Path], read: Callable[[Path], dict[str, Items]]) -> dict[str, Items]:
    """The parts of a folder's files by the split that their names mark, all "train" where none marks it.

    Raises:
        DataError: some names mark a split and others do not.
    """
    marks = {path: _mark(path.name) for path in paths}
    if "train" in marks.values():
        unmarked = next((path.name for path, mark in marks.items() if mark is None), None)
        if unmarked is not None:
            raise DataError(
                f"The folder {folder} has files for training, and {unmarked}, of which no name tells the use: put "
                f"train, valid or test into its name, or take it away."
            )
    else:
        marks = dict.fromkeys(paths, "train")
    found: dict[str, list[Items]] = {}
    for path, mark in marks.items():
        for part, items in read(path).items():
            found.setdefault(str(mark) if part == "train" else part, []).append(items)
    return {part: together(items, str(folder)) for part, items in found.items()}


def _whole(folder: Path, wanted: Wanted) -> Items:
    return together(parts_of_folder(folder, wanted).values(), str(folder))


def _classes(folder: Path, folders: list[Path], wanted: Wanted) -> Items:
    return _each_file([(path, inner.name) for inner in folders for path in below(inner)], str(folder), wanted)


def _each_file(files: list[tuple[Path, str | None]], where: str, wanted: Wanted) -> Items:
    """Files of one example each, of the kind that most of them are."""
    files = [
        (path, label) for path, label in files if path.stem.lower() not in _ABOUT and path.name.lower() not in _ABOUT
    ]
    counts = {family: sum(suffix_of(path) in known for path, _ in files) for family, known in _FAMILIES.items()}
    family = max(counts, key=lambda family: counts[family])
    if not counts[family]:
        raise DataError(f"The folder {where} holds no examples: put .npy, .csv, .txt or image files there.")
    items = Items(family)
    for path, label in files:
        items.add(str(path), label, partial(_one, path, family, wanted), wanted.bad)
    return items


def _one(path: Path, family: Family, wanted: Wanted) -> object:
    if suffix_of(path) not in _FAMILIES[family]:
        raise Unusable(f"is none of the {family} that other files here are")
    if family == "images":
        return read_image(path, wanted.size)
    if family == "series":
        return read_series(path, wanted.encoding)
    if is_binary(path, wanted.encoding):
        raise Unusable("is binary, not text")
    try:
        with opened(path, wanted.encoding, "text") as file:
            text = file.read().replace("\r\n", "\n").removesuffix("\n")
    except DataError as error:
        raise Unusable(f"is no text of encoding {wanted.encoding}") from error
    if not text.strip():
        raise Unusable("is an empty text")
    return text


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


def _mark(name: str) -> str | None:
    """The split that a file's name marks: ``GunPoint_TRAIN.ts`` marks train.

    >>> _mark("GunPoint_TRAIN.ts"), _mark("t10k-images-idx3-ubyte.gz"), _mark("reviews.csv")
    ('train', 'test', None)
    """
    return next((_MARKS[word] for word in re.split(r"[^a-z0-9]+", name.lower()) if word in _MARKS), None)


def _seen(path: Path) -> bool:
    return not path.name.startswith((".", "__MACOSX"))


def files_of(folder: Path) -> list[Path]:
    """The files at the top of a folder, without hidden ones and those about it."""
    return sorted(
        path for path in folder.iterdir() if path.is_file() and _seen(path) and path.stem.lower() not in _ABOUT
    )


def _folders(folder: Path) -> list[Path]:
    """The folders that hold something."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and _seen(path) and any(below(path)))


def below(folder: Path) -> Iterator[Path]:
    """All files of a folder and the folders in it, in order."""
    for path in sorted(filter(_seen, folder.iterdir())):
        if path.is_dir():
            yield from below(path)
        elif path.is_file():
            yield path
