"""Images and their captions: what the user names (a folder, a table, a list of captions, nothing) in three parts.

source -> rows: an image's name, a caption or several, perhaps a split    a table, Flickr's token file, the hub
rows   -> the images of each split with all their captions                found in a folder or an archive by `pictures`
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from selfloop.data.embedded.scenes import draw_scenes
from selfloop.data.examples import BadItems, Origin
from selfloop.data.files.locate import check_encoding, locate
from selfloop.data.held_out import hold_out, repeated
from selfloop.data.items import Unusable
from selfloop.data.media.image_files import Album, ByPath, Picture, is_image, plain_path
from selfloop.data.parts import by_name, by_row, files_read, is_hidden, of_hub, part_of, top, train_of, with_given
from selfloop.data.tables.separated import DEFAULT_FORMAT, TableFormat
from selfloop.data.tables.table import Table, hub_table, opened, read_table
from selfloop.errors import DataError, nearest

IMAGES = ("file_name", "filename", "image", "image_name", "image_path", "img", "path", "file")
CAPTIONS = re.compile(r"(captions?|text|sentences?|comment|description)([ _]?\d+)?", re.IGNORECASE)
"""Columns that hold a caption or a list of them; several may: caption_0, caption_1."""

SCENES = {"train": 6000, "valid": 300, "test": 300}

_TABLES = {".csv", ".tsv", ".jsonl", ".json", ".parquet"}
_TOKEN = re.compile(r"(?P<image>.+)#\d+\t(?P<caption>.*)")


@dataclass
class Captioned:
    """Images with what people said of them.

    Attributes:
        pictures: the images.
        captions: of each image; empty where they are not known, as of images to predict.
        files: those that list the images.
    """

    pictures: list[Picture] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)
    files: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    def select(self, rows: Iterable[int]) -> "Captioned":
        """Some of the images, in the order that is asked for."""
        rows = list(rows)
        return Captioned([self.pictures[row] for row in rows], [self.captions[row] for row in rows], self.files)


Parts = dict[str, Captioned]
"""By split: "train", and perhaps "valid" and "test"."""


@dataclass(frozen=True)
class Row:
    """A line of a list of captions: the image by its name, or as a table holds it."""

    place: str
    image: str | Picture
    captions: Sequence[str]


@dataclass(frozen=True)
class Wanted:
    """How a source is to be read; see `read_captioned`."""

    image: str | None = None
    caption: str | None = None
    images: str | Path | None = None
    encoding: str = "utf-8"
    bad: BadItems = field(default_factory=BadItems)
    format: TableFormat = DEFAULT_FORMAT


def read_captioned(
    source: str | Path | None,
    wanted: Wanted,
    *,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    valid_fraction: float = 0.1,
    seed: int = 1,
) -> tuple[str, Parts]:
    """Finds images and their captions.

    Args:
        source: one of

            - a folder with a table (``metadata.jsonl``, ``captions.csv``, …) of an image's name and its caption, or its
              list of captions, a row; the images stand there, in folders below, or in a .zip beside the table. A column
              "split" tells the parts, or folders "train", "valid" and "test" do, each with a table of its own;
            - a folder with a list as Flickr8k's, ``NAME#0<TAB>caption`` a line, and, where names mark them, lists of
              the images to train on, to validate and to test with, a name a line;
            - such a table or list itself;
            - the name of a dataset on the Hugging Face hub;
            - None: drawn scenes.
        wanted: how it is read.
        valid: a source for the validation images; of one with splits, its validation split. Or a list of names.
        test: likewise for the test images.
        valid_fraction: how many images are held out where no validation images are given or marked.
        seed: of what is held out.

    Returns:
        The source's name, and the parts "train", "valid" and, where there is one, "test". That an image can be read is
        seen when it is.

    Raises:
        DataError: the source cannot be read, an item cannot be used (unless skipped), or there is too little.

    >>> name, parts = read_captioned(None, Wanted())
    >>> name, {part: len(captioned) for part, captioned in parts.items()}
    ('scenes', {'train': 6000, 'valid': 300, 'test': 300})
    """
    name, parts = parts_of(source, wanted)
    where = str(source) if source is not None else name
    for role, other in (("valid", valid), ("test", test)):
        if other is None:
            continue
        path = Path(other)
        if path.is_file() and path.suffix.lower() == ".txt" and not _is_token_file(path, wanted.encoding):
            parts[role], parts["train"] = _listed(train_of(parts, where), path, wanted)
        else:
            parts = with_given(parts, {role: other}, lambda other: parts_of(other, wanted)[1])
    train = train_of(parts, where)
    if "valid" not in parts:
        kept, held = hold_out([picture.digest for picture in train.pictures], valid_fraction, seed, where)
        parts["train"], parts["valid"] = train.select(kept), train.select(held)
    return name, {role: parts[role] for role in ("train", "valid", "test") if parts.get(role)}


def origin_of(sources: Sequence[str | Path | None], parts: Parts) -> Origin:
    """The files that list the images, and how many images of the other parts training has too."""
    if sources[0] is None:
        return Origin()
    files = files_read(sources, {part: found.files for part, found in parts.items()}, rows_name_files=True)
    return Origin(files, repeated({part: [(p.digest,) for p in found.pictures] for part, found in parts.items()}))


def read_pictures(source: str | Path, wanted: Wanted) -> Captioned:
    """The images of a source to predict: an image, a folder of them, a .zip, or a table that names some.

    Raises:
        DataError: there are none.
    """
    found = locate(source)
    if isinstance(found, Path) and found.is_file() and is_image(found.name):
        pictures = [Picture.of_file(found)]
    elif isinstance(found, Path) and (found.is_dir() or found.suffix.lower() == ".zip"):
        pictures = list(Album(found))
    else:
        pictures = [picture for part in parts_of(source, wanted)[1].values() for picture in part.pictures]
    if not pictures:
        raise DataError(f"{source} holds no images: give .jpg, .png or other image files.")
    return Captioned(pictures, [[] for _ in pictures])


def parts_of(source: str | Path | None, wanted: Wanted) -> tuple[str, Parts]:
    """A source's name, and what it holds by split."""
    check_encoding(wanted.encoding)
    if source is None:
        if wanted.images is not None:
            raise DataError(f"The images in {wanted.images} need their captions: give the file that lists them first.")
        drawn = {role: zip(*draw_scenes(count, n), strict=True) for n, (role, count) in enumerate(SCENES.items(), 1)}
        return "scenes", {role: Captioned(list(images), list(said)) for role, (images, said) in drawn.items()}
    found = locate(source)
    if isinstance(found, Path):
        name = found.resolve().name if found.is_dir() else found.name.partition(".")[0]
        return name, _parts_of_folder(found, wanted) if found.is_dir() else _parts_of_file(found, wanted)
    tables = {part: hub_table(rows, f"{source} ({part})") for part, rows in of_hub(found).items()}
    return str(source).rsplit("/", 1)[-1], {
        part: _grouped(_rows_of_table(table, wanted), None, wanted.bad, table.where) for part, table in tables.items()
    }


def _parts_of_folder(folder: Path, wanted: Wanted) -> Parts:
    folders = {part_of(path.name): path for path in sorted(folder.iterdir()) if path.is_dir() and not is_hidden(path)}
    tables = [path for path in top(folder) if path.suffix.lower() in _TABLES]
    texts = [path for path in top(folder) if ".txt" in path.suffixes]
    tables = next(
        (found for stem in ("metadata", "captions") if (found := [t for t in tables if t.stem == stem])), tables
    )
    tokens = [] if tables else [path for path in texts if _is_token_file(path, wanted.encoding)]
    if not tables and not tokens and "train" in folders:
        return {role: train_of(_parts_of_folder(path, wanted), str(path)) for role, path in folders.items() if role}
    marked = by_name(folder, tables) if any(part_of(path.name) == "train" for path in tables) else {}
    if len(tables) > 1 and marked and all(len(paths) == 1 for paths in marked.values()):
        return with_given(
            {}, {part: path for part, (path,) in marked.items()}, lambda path: _parts_of_file(path, wanted)
        )
    if len(tables) + len(tokens) != 1:
        got = ", ".join(path.name for path in tables + tokens) or "none"
        raise DataError(
            f"The folder {folder} must hold one list of captions, as metadata.jsonl, captions.csv or a .token.txt. "
            f"Got {got} instead: name the file."
        )
    path = (tables + tokens)[0]
    lists: dict[str, Path] = {}
    for text in texts:
        if text not in tokens and (role := part_of(text.name)) and lists.setdefault(role, text) is not text:
            raise DataError(
                f"The folder {folder} must hold one list of images for each part. Got {lists[role].name} and "
                f"{text.name}: take one away."
            )
    if "train" not in lists:
        return _parts_of_file(path, wanted)
    names = [name for text in lists.values() for name in _names(text, wanted.encoding)]
    rest, parts = train_of(_parts_of_file(path, wanted, names), str(path)), {}
    for role, text in lists.items():
        parts[role], rest = _listed(rest, text, wanted)
    return parts


def _parts_of_file(path: Path, wanted: Wanted, names: Sequence[str] = ()) -> Parts:
    """The parts of a table or a list; only images that may be of these names, where there are any."""
    if _is_token_file(path, wanted.encoding):
        lists = {"train": _rows_of_tokens(path, wanted)}
    elif any(path.name.lower().endswith((suffix, f"{suffix}.gz")) for suffix in _TABLES):
        table = read_table(path, wanted.encoding, wanted.bad, wanted.format)
        tables = by_row(table, wanted.bad, wanted.image, wanted.caption)
        lists = {part: _rows_of_table(rows, wanted) for part, rows in tables.items()}
    else:
        raise DataError(
            f"{path} holds no captions that can be read: give a table (.csv, .tsv, .jsonl, .parquet) of images and "
            "captions, or lines of NAME#0, a tab and a caption."
        )
    album = Album(Path(wanted.images) if wanted.images is not None else path.parent)

    ends, wholes = {end for name in names for end in _ends(name)}, set(map(plain_path, names))

    def is_wanted(row: Row) -> bool:
        if not names or not isinstance(row.image, str):
            return True
        return plain_path(row.image) in ends or not wholes.isdisjoint(_ends(row.image))

    parts = {p: _grouped(filter(is_wanted, rows), album, wanted.bad, str(path)) for p, rows in lists.items()}
    return {part: found for part, found in parts.items() if len(found)}


def _rows_of_tokens(path: Path, wanted: Wanted) -> Iterator[Row]:
    with opened(path, wanted.encoding, "text") as file:
        for number, line in enumerate(file, 1):
            text, place = line.rstrip("\r\n"), f"{path}, line {number}"
            if found := _TOKEN.fullmatch(text):
                yield Row(place, found["image"], [found["caption"]])
            elif text.strip():
                wanted.bad.refuse(place, "must be an image's name, #, a number, a tab and a caption")


def _rows_of_table(table: Table, wanted: Wanted) -> Iterator[Row]:
    for option, column in (("image", wanted.image), ("caption", wanted.caption)):
        if column is not None and column not in table.columns:
            known = ", ".join(f"'{name}'" for name in table.columns)
            near = nearest(column, table.columns) or "."
            raise DataError(f"{table.where} has no column '{column}' for the {option}, only {known}{near}")
    lower = {name.lower(): name for name in reversed(table.columns)}
    image = wanted.image or next((lower[name] for name in IMAGES if name in lower), None)
    said = [wanted.caption] if wanted.caption else [n for n in table.columns if CAPTIONS.fullmatch(n) and n != image]
    for option, found in (("image", image), ("caption", said)):
        if not found:
            known = ", ".join(f"'{name}'" for name in table.columns)
            raise DataError(
                f"{table.where} has the columns {known}, of which none is known to hold the {option}: name one with "
                f"--{option}."
            )
    wanted.bad.note(f"image: '{image}'; captions: {', '.join(map(repr, said))}")
    for row, place in zip(table.rows, table.places, strict=True):
        captions = [caption for name in said for caption in _texts(row.get(name))]
        picture = _picture(row.get(str(image)), place)
        if picture is None:
            wanted.bad.refuse(place, f"names no image in column '{image}'")
        else:
            yield Row(place, picture, captions)


def _picture(cell: Any, place: str) -> str | Picture | None:
    if isinstance(cell, dict) and (cell.get("bytes") or cell.get("path")):  # as `datasets` stores images
        return Picture(place, partial(bytes, cell["bytes"])) if cell.get("bytes") else str(cell["path"])
    return cell.strip() or None if isinstance(cell, str) else None


def _texts(cell: Any) -> list[str]:
    """A cell's captions: a string, or a list of strings or of what holds one under "raw", as Karpathy's."""
    cells = cell if isinstance(cell, list) else [cell]
    return [str(one.get("raw") if isinstance(one, dict) else one) if one is not None else "" for one in cells]


def _grouped(rows: Iterable[Row], album: Album | None, bad: BadItems, file: str) -> Captioned:
    """The images of a part, each with all its captions, in the order in which they are first named."""
    part = Captioned(files=(file,))
    numbers: dict[str, int] = {}
    for row in rows:
        try:
            found = row.image if isinstance(row.image, Picture) else (album or ByPath([])).find(row.image)
        except Unusable as fault:
            bad.refuse(row.place, str(fault))
            continue
        captions = []
        for caption in row.captions or [""]:
            if re.search(r"\w", caption):
                captions.append(" ".join(caption.split()))
            else:
                bad.refuse(row.place, "has an empty caption")
        if captions:
            number = numbers.setdefault(found.place, len(part))
            if number == len(part):
                part.pictures.append(found)
                part.captions.append([])
            part.captions[number] += captions
    return part


def _listed(part: Captioned, path: Path, wanted: Wanted) -> tuple[Captioned, Captioned]:
    """The images of a list, and the others."""
    names = _names(path, wanted.encoding)
    rows = {picture.place: row for row, picture in enumerate(part.pictures)}
    pictures, found = ByPath(part.pictures), list[int]()
    for number, name in enumerate(names, 1):
        try:
            found.append(rows[pictures.find(name, "which has no caption").place])
        except Unusable as fault:
            wanted.bad.refuse(f"{path}, line {number}", str(fault))
    if not found:
        raise DataError(f"{path} must name images that have captions. None of its {len(names):,} does: give another.")
    listed = replace(part.select(found), files=(str(path), *part.files))
    return listed, part.select(sorted(set(range(len(part))) - set(found)))


def _ends(name: str) -> list[str]:
    """A path, and what is left of it without its first folders.

    >>> _ends("./photos/a/dog.jpg")
    ['photos/a/dog.jpg', 'a/dog.jpg', 'dog.jpg']
    """
    parts = plain_path(name).split("/")
    return ["/".join(parts[first:]) for first in range(len(parts))]


def _names(path: Path, encoding: str) -> list[str]:
    with opened(path, encoding, "text") as file:
        return [line.strip() for line in file if line.strip()]


def _is_token_file(path: Path, encoding: str) -> bool:
    if not {".txt", ".token"} & set(path.suffixes):
        return False
    try:
        with opened(path, encoding, "text") as file:
            return _TOKEN.fullmatch(next(file, "").rstrip("\r\n")) is not None
    except DataError:
        return False
