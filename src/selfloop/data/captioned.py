"""Images and their captions: what the user names (a folder, a table, a list of captions, nothing) in three parts.

source -> rows: an image's name, a caption or several, perhaps a split    a table, Flickr's token file, the hub
rows   -> the images of each split with all their captions                found in a folder or an archive by `pictures`
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from selfloop.data.examples import BadItems
from selfloop.data.files import SPLITS
from selfloop.data.pictures import Album, Picture, is_image
from selfloop.data.scenes import draw_scenes
from selfloop.data.sources import check_encoding, locate
from selfloop.data.tables import Table, hub_table, opened, read_table
from selfloop.errors import DataError, nearest

IMAGES = ("file_name", "filename", "image", "image_name", "image_path", "img", "path", "file")
CAPTIONS = re.compile(r"(captions?|text|sentences?|comment|description)([ _]?\d+)?", re.IGNORECASE)
"""Columns that hold a caption or a list of them; several may: caption_0, caption_1."""

SCENES = {"train": 6000, "valid": 300, "test": 300}

_SPLITS = {**SPLITS, "restval": "train"}  # as Karpathy's splits call what of COCO's validation images is to train on
_TABLES = {".csv", ".tsv", ".jsonl", ".json", ".parquet"}
_TOKEN = re.compile(r"(?P<image>.+)#\d+\t(?P<caption>.*)")
_MARK = re.compile(r"(?:^|[^a-z])(train|valid|val|dev|test)(?:ing|idation)?(?:images?)?(?:[^a-z]|$)")


@dataclass
class Captioned:
    """Images with what people said of them.

    Attributes:
        pictures: the images.
        captions: of each image; empty where they are not known, as of images to predict.
    """

    pictures: list[Picture] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pictures)

    def select(self, rows: Iterable[int]) -> "Captioned":
        """Some of the images, in the order that is asked for."""
        rows = list(rows)
        return Captioned([self.pictures[row] for row in rows], [self.captions[row] for row in rows])


Parts = dict[str, Captioned]
"""By split: "train", and perhaps "valid" and "test"."""


@dataclass(frozen=True)
class Row:
    """A line of a list of captions: the image by its name, or as a table holds it."""

    place: str
    image: str | Picture
    captions: Sequence[str]
    split: str | None = None


@dataclass(frozen=True)
class Wanted:
    """How a source is to be read; see `read_captioned`."""

    image: str | None = None
    caption: str | None = None
    images: str | Path | None = None
    encoding: str = "utf-8"
    bad: BadItems = field(default_factory=BadItems)


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
            names = _names(path, wanted.encoding)
            parts[role], parts["train"] = _listed(_train_of(parts, where), names, path, wanted.bad)
        else:
            found = parts_of(other, wanted)[1]
            parts[role] = found.get(role) or _train_of(found, str(other))
    train = _train_of(parts, where)
    if "valid" not in parts:
        if len(train) < 2:
            raise DataError(f"{where} must hold two images or more. It has {len(train)}: give more, or name 'valid'.")
        order = np.random.default_rng(seed).permutation(len(train)).tolist()
        held = max(1, min(round(len(train) * valid_fraction), len(train) - 1))
        parts["train"], parts["valid"] = train.select(sorted(order[held:])), train.select(sorted(order[:held]))
    return name, {role: parts[role] for role in ("train", "valid", "test") if parts.get(role)}


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
        counts = {role: draw_scenes(count, seed) for seed, (role, count) in enumerate(SCENES.items(), 1)}
        return "scenes", {role: Captioned(*map(list, zip(*drawn, strict=True))) for role, drawn in counts.items()}
    found = locate(source)
    if isinstance(found, Path):
        name = found.resolve().name if found.is_dir() else found.name.partition(".")[0]
        return name, _parts_of_folder(found, wanted) if found.is_dir() else _parts_of_file(found, wanted)
    rows = [
        Row(row.place, row.image, row.captions, split)
        for split in found
        for row in _rows_of_table(hub_table(found[split], f"{source} ({split})"), wanted)
    ]
    return str(source).rsplit("/", 1)[-1], _grouped(rows, None, wanted.bad)


def _parts_of_folder(folder: Path, wanted: Wanted) -> Parts:
    folders = {SPLITS.get(path.name.lower()): path for path in sorted(folder.iterdir()) if path.is_dir()}
    tables = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _TABLES and path.is_file()]
    texts = [path for path in sorted(folder.iterdir()) if ".txt" in path.suffixes and path.is_file()]
    tables = next(
        (found for stem in ("metadata", "captions") if (found := [t for t in tables if t.stem == stem])), tables
    )
    tokens = [] if tables else [path for path in texts if _is_token_file(path, wanted.encoding)]
    if not tables and not tokens and "train" in folders:
        return {role: _train_of(_parts_of_folder(path, wanted), str(path)) for role, path in folders.items() if role}
    marks = {path: _mark(path.name) for path in tables}
    if len(tables) > 1 and "train" in marks.values():
        return {
            role: _train_of(_parts_of_file(path, wanted), str(path)) for path, role in marks.items() if role is not None
        }
    if len(tables) + len(tokens) != 1:
        got = ", ".join(path.name for path in tables + tokens) or "none"
        raise DataError(
            f"The folder {folder} must hold one list of captions, as metadata.jsonl, captions.csv or a .token.txt. "
            f"Got {got} instead: name the file."
        )
    path = (tables + tokens)[0]
    lists = {role: text for text in texts if text not in tokens and (role := _mark(text.name))}
    if "train" not in lists:
        return _parts_of_file(path, wanted)
    names = {role: _names(text, wanted.encoding) for role, text in lists.items()}
    rest = _train_of(_parts_of_file(path, wanted, {name for listed in names.values() for name in listed}), str(path))
    parts = {}
    for role, text in lists.items():
        parts[role], rest = _listed(rest, names[role], text, wanted.bad)
    return parts


def _parts_of_file(path: Path, wanted: Wanted, names: set[str] | None = None) -> Parts:
    """The parts of a table or a list; only images of these names, where there are any."""
    if _is_token_file(path, wanted.encoding):
        rows = _rows_of_tokens(path, wanted)
    elif any(path.name.lower().endswith((suffix, f"{suffix}.gz")) for suffix in _TABLES):
        rows = _rows_of_table(read_table(path, wanted.encoding, wanted.bad), wanted)
    else:
        raise DataError(
            f"{path} holds no captions that can be read: give a table (.csv, .tsv, .jsonl, .parquet) of images and "
            "captions, or lines of NAME#0, a tab and a caption."
        )
    if names:
        rows = (row for row in rows if not isinstance(row.image, str) or Path(row.image).name in names)
    album = Album(Path(wanted.images) if wanted.images is not None else path.parent)
    return _grouped(rows, album, wanted.bad)


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
    for row, place in zip(table.rows, table.places, strict=True):
        captions = [caption for name in said for caption in _texts(row.get(name))]
        picture = _picture(row.get(str(image)), place)
        if picture is None:
            wanted.bad.refuse(place, f"names no image in column '{image}'")
        else:
            split = row.get(lower["split"]) if "split" in lower else None
            yield Row(place, picture, captions, None if split is None else str(split))


def _picture(cell: Any, place: str) -> str | Picture | None:
    if isinstance(cell, dict) and (cell.get("bytes") or cell.get("path")):  # as `datasets` stores images
        return Picture(place, partial(bytes, cell["bytes"])) if cell.get("bytes") else str(cell["path"])
    return cell.strip() or None if isinstance(cell, str) else None


def _texts(cell: Any) -> list[str]:
    """A cell's captions: a string, or a list of strings or of what holds one under "raw", as Karpathy's."""
    cells = cell if isinstance(cell, list) else [cell]
    return [str(one.get("raw") if isinstance(one, dict) else one) if one is not None else "" for one in cells]


def _grouped(rows: Iterable[Row], album: Album | None, bad: BadItems) -> Parts:
    """The images of each split, each with all its captions, in the order in which they are first named."""
    parts: Parts = {}
    numbers: dict[tuple[str, str], int] = {}
    for row in rows:
        split = _SPLITS.get((row.split or "train").lower())
        if split is None:
            bad.refuse(row.place, f"has the split '{row.split}', which is none of {', '.join(_SPLITS)}")
            continue
        found = album.find(row.image) if isinstance(row.image, str) and album is not None else row.image
        if found is None or isinstance(found, str):
            where = f" in {album.path}" if album is not None else ""
            bad.refuse(row.place, f"names the image '{row.image}', and there is none of that name{where}")
            continue
        captions = []
        for caption in row.captions or [""]:
            if re.search(r"\w", caption):
                captions.append(" ".join(caption.split()))
            else:
                bad.refuse(row.place, "has an empty caption")
        if captions:
            part = parts.setdefault(split, Captioned())
            number = numbers.setdefault((split, found.place), len(part))
            if number == len(part):
                part.pictures.append(found)
                part.captions.append([])
            part.captions[number] += captions
    return parts


def _listed(part: Captioned, names: Sequence[str], path: Path, bad: BadItems) -> tuple[Captioned, Captioned]:
    """The images of a list, and the others."""
    rows = {picture.name: row for row, picture in enumerate(part.pictures)}
    found = []
    for number, name in enumerate(names, 1):
        row = rows.get(Path(name).name)
        if row is None:
            bad.refuse(f"{path}, line {number}", f"names the image '{name}', which has no caption")
        else:
            found.append(row)
    if not found:
        raise DataError(f"{path} must name images that have captions. None of its {len(names):,} does: give another.")
    return part.select(found), part.select(sorted(set(range(len(part))) - set(found)))


def _train_of(parts: Parts, where: str) -> Captioned:
    if not parts.get("train"):
        listed = ", ".join(f"'{part}'" for part in parts) or "none"
        raise DataError(
            f"{where} must hold images with captions to train on. Its usable parts are: {listed}. Give another."
        )
    return parts["train"]


def _names(path: Path, encoding: str) -> list[str]:
    with opened(path, encoding, "text") as file:
        return [line.strip() for line in file if line.strip()]


def _mark(name: str) -> str | None:
    """The split that a file's name marks.

    >>> _mark("Flickr_8k.devImages.txt"), _mark("test.csv"), _mark("readme.txt")
    ('valid', 'test', None)
    """
    found = _MARK.search(name.lower())
    return SPLITS[found[1]] if found else None


def _is_token_file(path: Path, encoding: str) -> bool:
    if not {".txt", ".token"} & set(path.suffixes):
        return False
    try:
        with opened(path, encoding, "text") as file:
            return _TOKEN.fullmatch(next(file, "").rstrip("\r\n")) is not None
    except DataError:
        return False
