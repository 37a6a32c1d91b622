"""Which part of a data set, train, valid or test, a file, a folder, a row or a split on the hub belongs to.

One rule for all tasks. A name is cut into words at digits, signs and capitals, and it marks a part where its words are
of one part:

| part  | words |
| ----- | ----- |
| train | train, training, trn |
| valid | valid, validation, val, dev, devel, development, testa |
| test  | test, testing, tst, testb, t10k |

``wnut17train.conll``, ``GunPoint_TRAIN.ts``, ``Flickr_8k.trainImages.txt`` and ``train2017`` mark train; ``latest``,
``contest`` and ``retrain`` mark nothing. CoNLL 2003 calls its parts testa and testb, and MNIST t10k. ``eval`` is no
such word: some mean validation by it, and others test.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from selfloop.data.examples import BadItems
from selfloop.data.media.idx import is_idx
from selfloop.data.media.images import IMAGE_SUFFIXES
from selfloop.data.media.video import VIDEO_SUFFIXES
from selfloop.errors import DataError
from selfloop.untrusted import is_folder

if TYPE_CHECKING:
    from selfloop.data.tables.table import Table

T = TypeVar("T")

PARTS = {
    **dict.fromkeys(("train", "training", "trn", "restval"), "train"),  # restval: what Karpathy's splits add of COCO's
    **dict.fromkeys(("valid", "validation", "val", "dev", "devel", "development", "testa"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "testb", "t10k"), "test"),
}
IGNORED = "ignored"

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"t10k|[^\W\d_]+")
_OF_WHAT = re.compile(r"(?<=.)(set|data|images?)$")
_VERSION = re.compile(r"_(eq|nmv)(?=_)|\.gz$")  # equal lengths, no missing values: of the UCR and UEA archives
_ABOUT = {"readme", "license", "licence", "thumbs", "desktop"}
_NAMED = IMAGE_SUFFIXES | VIDEO_SUFFIXES | {".npy", ".zip"}
_IN_A_FILE = re.compile(r"(.+?), (?:line|row|entry|image|item) \d.*", re.DOTALL)


def part_of(name: str) -> str | None:
    """The part that a name marks.

    >>> [part_of(name) for name in ("wnut17train.conll", "emerging.dev.conll", "t10k-images-idx3-ubyte.gz")]
    ['train', 'valid', 'test']
    >>> [part_of(name) for name in ("latest.csv", "contest", "retrain.txt", "devices.tsv", "train_or_test.csv")]
    [None, None, None, None, None]
    """
    words = (_OF_WHAT.sub("", word) for word in _WORD.findall(_CAPITAL.sub(" ", name).lower()))
    found = {PARTS[word] for word in words if word in PARTS}
    return found.pop() if len(found) == 1 else None


def is_about(path: Path) -> bool:
    """Whether a file tells of the others, as a README does, or is of the file manager."""
    return path.stem.lower() in _ABOUT


def by_name(folder: Path, paths: Sequence[Path]) -> dict[str, list[Path]]:
    """The files of a folder by the part that their names mark, all "train" where none marks one.

    Raises:
        DataError: some names mark a part and others do not, or two files are versions of one.
    """
    check_versions(folder, paths)
    marks = {path: part_of(path.name) for path in paths}
    unmarked = next((path for path, part in marks.items() if part is None), None)
    marked = next((path for path, part in marks.items() if part is not None), None)
    if marked is not None and unmarked is not None:
        raise DataError(
            f"The folder {folder} has {marked.name}, whose name marks the part '{marks[marked]}', and {unmarked.name}, "
            f"of which no name tells the use: put train, valid or test into its name, or take it away."
        )
    parts: dict[str, list[Path]] = {}
    for path, part in marks.items():
        parts.setdefault(part or "train", []).append(path)
    return parts


def check_versions(folder: Path, paths: Iterable[Path]) -> None:
    """Raises a DataError where a folder has one file twice: compressed and not, or of equal lengths and not."""
    versions: dict[str, Path] = {}
    for path in paths:
        other = versions.setdefault(str(path.with_name(_VERSION.sub("", path.name))), path)
        if other is not path:
            raise DataError(
                f"The folder {folder} holds two versions of one file, {other.name} and {path.name}: take one away, or "
                f"give the files to use in place of their folder."
            )


def by_row(table: "Table", bad: BadItems, *taken: str | None) -> dict[str, "Table"]:
    """The rows of a table by its column "split", which is then gone; all are "train" where there is no such column.

    Args:
        table: the rows; one that names no part is to train with.
        bad: takes the rows that name an unknown part.
        taken: columns that hold something else.
    """
    column = _split_column(table, taken)
    if column is None:
        return {"train": table}
    rows: dict[str, list[int]] = {}
    for row, place in enumerate(table.places):
        named = table.value(row, column)
        part = "train" if named is None or named == "" else part_of(str(named))
        if part is None:
            bad.refuse(place, f"has split '{named}', which is none of train, valid and test")
        else:
            rows.setdefault(part, []).append(row)
    left = without_split(table, *taken)
    return {
        part: replace(left, rows=[table.rows[n] for n in mine], places=[table.places[n] for n in mine])
        for part, mine in rows.items()
    }


def without_split(table: "Table", *taken: str | None) -> "Table":
    """The table without its column "split", where it has one that is not among those that hold something else."""
    column = _split_column(table, taken)
    return replace(table, columns=[name for name in table.columns if name != column])


def _split_column(table: "Table", taken: Sequence[str | None]) -> str | None:
    return next((name for name in table.columns if name.lower() == "split" and name not in taken), None)


def of_hub(splits: Mapping[str, T]) -> dict[str, T]:
    """The splits of a dataset on the hub by part; those of other names, and a second one of a part, are passed over."""
    parts: dict[str, T] = {}
    for name, split in splits.items():
        if name.lower() in PARTS:
            parts.setdefault(PARTS[name.lower()], split)
    return parts


def train_of(parts: Mapping[str, T], where: str) -> T:
    """The part to train with.

    Raises:
        DataError: there is none.
    """
    if not parts.get("train"):
        listed = ", ".join(f"'{part}'" for part in parts) or "none"
        raise DataError(f"{where} must have a split 'train'. Got {listed} instead: give another.")
    return parts["train"]


def score_of(parts: Mapping[str, T], where: str) -> T:
    """The part to score: that for testing, or else that for validation, or else all there is."""
    return parts.get("test") or parts.get("valid") or train_of(parts, where)


def with_given(
    parts: Mapping[str, T], given: Mapping[str, str | Path | None], read: Callable[[Any], Mapping[str, T]]
) -> dict[str, T]:
    """The parts, of which those that have a source of their own are read from it: its part of that name, or "train".

    Args:
        parts: of the main source.
        given: by part, the source that the user names for it.
        read: the parts of a source.

    Raises:
        DataError: a source has no such part.
    """
    named = {part: (str(source), read(source)) for part, source in given.items() if source is not None}
    return {**parts, **{part: found.get(part) or train_of(found, where) for part, (where, found) in named.items()}}


def files_read(
    sources: Iterable[str | Path | None], places: Mapping[str, Sequence[str]], rows_name_files: bool = False
) -> dict[str, tuple[str, ...]]:
    """The files of each part and, as "ignored", those that stand in the same folders and are of none.

    Args:
        sources: what the user names.
        places: where the examples of each part stand.
        rows_name_files: whether rows of tables may name other files: then folders below, images, videos, arrays and
            archives are not looked at.
    """
    folders = [path for source in sources if source is not None and is_folder(path := Path(source).expanduser())]
    read = {part: dict.fromkeys(map(file_of, found)) for part, found in places.items()}
    used = {file for files in read.values() for file in files}
    ignored = [
        str(path)
        for folder in folders
        for path in (top(folder) if rows_name_files else below(folder))
        if str(path) not in used and not (rows_name_files and path.suffix.lower() in _NAMED) and not is_idx(path)
    ]
    read |= {IGNORED: dict.fromkeys(ignored)} if ignored else {}
    order = ("train", "valid", "test", IGNORED)
    return {part: tuple(_within(folders, file) for file in read[part]) for part in order if part in read}


def below(folder: Path) -> Iterator[Path]:
    """All files of a folder and the folders in it, in order, without hidden ones."""
    for path in sorted(path for path in _inside(folder) if not is_hidden(path)):
        if path.is_dir():
            yield from below(path)
        elif path.is_file():
            yield path


def top(folder: Path) -> list[Path]:
    """The files of a folder, without those of the folders in it and hidden ones."""
    return sorted(path for path in _inside(folder) if path.is_file() and not is_hidden(path))


def files_of(folder: Path) -> list[Path]:
    """The files at the top of a folder, without hidden ones and those about it."""
    return [path for path in top(folder) if not is_about(path)]


def folders_of(folder: Path) -> list[Path]:
    """The folders in a folder that hold something."""
    return sorted(path for path in _inside(folder) if path.is_dir() and not is_hidden(path) and any(below(path)))


def _inside(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read ({error.strerror or error}): give another.") from error


def is_hidden(path: Path) -> bool:
    """Whether a name is one that a file manager does not show."""
    return path.name.startswith((".", "__MACOSX"))


def file_of(place: str) -> str:
    """The file of a place: ``reviews.csv`` of ``reviews.csv, line 12``."""
    found = _IN_A_FILE.fullmatch(place)
    return found[1] if found else place


def _within(folders: Iterable[Path], file: str) -> str:
    return next((file[len(f"{folder}/") :] for folder in folders if file.startswith(f"{folder}/")), Path(file).name)
