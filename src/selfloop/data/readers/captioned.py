"""Images and their captions: a folder, a table, a list of captions. An example's input is an image, its label a list.

source -> rows: an image's name, a caption or several, perhaps a part    a table, Flickr's token file, the hub
rows   -> the images of each part with all their captions                found in a folder or an archive: `image_files`
"""

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from selfloop.data.embedded.scenes import draw_scenes
from selfloop.data.examples import Examples, Items, Parts, Place, Unusable
from selfloop.data.files.locate import locate
from selfloop.data.files.names import TABLES, suffix_of
from selfloop.data.labels import label_of
from selfloop.data.media.image_files import Album, ByPath, Picture, is_image, plain_path
from selfloop.data.parts import folders_of, part_of, top, train_of
from selfloop.data.reader import Reader
from selfloop.data.reading import Reading
from selfloop.data.tables.columns import check, named, several, unclear
from selfloop.data.tables.table import Table, opened
from selfloop.errors import DataError

IMAGES = ("file_name", "filename", "image", "image_name", "image_path", "img", "path", "file")
CAPTIONS = re.compile(r"(caption|text|sentence|comment|description)s?([ _]?\d+)?", re.IGNORECASE)
"""Columns that hold a caption or a list of them; several of one word may: caption_0, caption_1."""

SCENES = {"train": 6000, "valid": 300, "test": 300}

_TOKEN = re.compile(r"(?P<image>.+)#\d+\t(?P<caption>.*)")


@dataclass(frozen=True)
class Row:
    """A line of a list of captions: the image by its name, or as a table holds it."""

    place: str
    image: str | Picture
    captions: Sequence[Any]


class CaptionReader(Reader):
    """Finds images and their captions. That an image can be read is seen when it is.

    A source is one of

    - a folder with a table (``metadata.jsonl``, ``captions.csv``, …) of an image's name and its caption, or its list of
      captions, a row; the images stand there, in folders below, or in a .zip beside the table. A column "split" tells
      the parts, or folders "train", "valid" and "test" do, each with a table of its own;
    - a folder with a list as Flickr8k's, ``NAME#0<TAB>caption`` a line, and, where names mark them, lists of the images
      to train on, to validate and to test with, a name a line; such a list may also be given as the valid or the test
      source;
    - such a table or list itself;
    - a dataset on the hub; or None: drawn scenes.

    Args:
        reading: how; `input` is the column of the image, `label` that of its caption.

    >>> scenes = CaptionReader(Reading()).read(None)
    >>> len(scenes.train), len(scenes.valid), len(scenes.test)
    (6000, 300, 300)
    """

    EMBEDDED = "scenes"

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading)
        self._album: Album | ByPath = ByPath([])
        self._is_wanted: Callable[[Row], bool] = lambda row: True

    def embedded(self) -> Parts:
        """Drawn scenes."""
        if self.reading.images is not None:
            raise DataError(
                f"The images in {self.reading.images} need their captions: give the file that lists them first."
            )
        return {part: _drawn(count, seed) for seed, (part, count) in enumerate(SCENES.items(), 1)}

    def rows(self, table: Table) -> Items:
        """The images of a table with their captions."""
        return self._grouped(self._rows_of_table(table), table.where)

    def file(self, path: Path, names: Sequence[str] = ()) -> Parts:
        """The parts of a table or a list; only images that may be of these names, where there are any."""
        is_list = _is_token_file(path, self.reading.encoding)
        if not is_list and suffix_of(path) not in TABLES:
            raise DataError(
                f"{path} holds no captions that can be read: give a table (.csv, .tsv, .jsonl, .parquet) of images and "
                "captions, or lines of NAME#0, a tab and a caption."
            )
        reader = copy(self)
        reader._album = Album(path.parent if self.reading.images is None else Path(self.reading.images))
        if names:
            reader._is_wanted = _may_be_of(names)
        parts = {"train": reader._grouped(self._rows_of_tokens(path), str(path))} if is_list else reader.table(path)
        return {part: items for part, items in parts.items() if items.inputs}

    def folder(self, folder: Path) -> Parts:
        """The parts of a folder."""
        folders = {part_of(path.name): path for path in folders_of(folder)}
        tables = [path for path in top(folder) if path.suffix.lower() in TABLES]
        texts = [path for path in top(folder) if ".txt" in path.suffixes]
        tables = next(
            (found for stem in ("metadata", "captions") if (found := [t for t in tables if t.stem == stem])), tables
        )
        tokens = [] if tables else [path for path in texts if _is_token_file(path, self.reading.encoding)]
        if not tables and not tokens and "train" in folders:
            return {part: train_of(self.folder(path), str(path)) for part, path in folders.items() if part}
        if len(tables) > 1 and any(part_of(path.name) == "train" for path in tables):
            return self.by_file(folder, tables)
        if len(tables) + len(tokens) != 1:
            got = ", ".join(path.name for path in tables + tokens) or "none"
            raise DataError(
                f"The folder {folder} must hold one list of captions, as metadata.jsonl, captions.csv or a .token.txt. "
                f"Got {got} instead: name the file."
            )
        path = (tables + tokens)[0]
        lists: dict[str, Path] = {}
        for text in texts:
            if text not in tokens and (part := part_of(text.name)) and lists.setdefault(part, text) is not text:
                raise DataError(
                    f"The folder {folder} must hold one list of images for each part. Got {lists[part].name} and "
                    f"{text.name}: take one away."
                )
        if "train" not in lists:
            return self.file(path)
        names = [name for text in lists.values() for name in _names(text, self.reading.encoding)]
        rest, parts = train_of(self.file(path, names), str(path)), {}
        for part, text in lists.items():
            parts[part], rest = self._listed(rest, text)
        return parts

    def with_part(self, parts: Parts, part: str, source: str | Path) -> Parts:
        """The parts, of which one is read from a source of its own, or is what a list takes out of training."""
        path = Path(source)
        if path.is_file() and path.suffix.lower() == ".txt" and not _is_token_file(path, self.reading.encoding):
            listed, rest = self._listed(train_of(parts, str(source)), path)
            return {**parts, part: listed, "train": rest}
        return super().with_part(parts, part, source)

    def usable(self, parts: Parts, where: str) -> Parts:
        """The parts that hold images.

        Raises:
            DataError: there are none to train with.
        """
        parts = {part: items for part, items in parts.items() if items.inputs}
        train_of(parts, where)
        return parts

    def identities(self, items: Items) -> list[tuple[Hashable, ...]]:
        """Images go together that hold the same bytes."""
        return [(picture.digest,) for picture in items.inputs]

    def predict(self, source: str | Path) -> Examples:
        """The images of a source: an image, a folder of them, a .zip, or a table that names some, with captions or not.

        Raises:
            DataError: there are none.
        """
        found = locate(source)
        if isinstance(found, Path) and found.is_file() and is_image(found.name):
            pictures = [Picture.of_file(found)]
        elif isinstance(found, Path) and (found.is_dir() or found.suffix.lower() == ".zip"):
            pictures = list(Album(found))
        else:
            return super().predict(source)
        if not pictures:
            raise DataError(f"{source} holds no images: give .jpg, .png or other image files.")
        return Examples(pictures, [], [picture.place for picture in pictures])

    def _rows_of_table(self, table: Table) -> Iterator[Row]:
        reading = self.reading
        check(table, reading.input, "image")
        image = reading.input or next(named(table.columns, IMAGES), None)
        if image is None:
            raise DataError(unclear(table, "image", "no image", table.columns))
        said: list[str] = []
        if reading.labelled:
            check(table, reading.label, "caption")
            said = [reading.label] if reading.label else _caption_columns(table, image)
            self.bad.note(f"image: '{image}'; captions: {', '.join(map(repr, said))}")
        for row, place in zip(table.rows, table.places, strict=True):
            captions = [caption for name in said for caption in _texts(row.get(name))]
            picture = _picture(row.get(image), place)
            if picture is None:
                self.bad.refuse(place, f"names no image in column '{image}'")
            else:
                yield Row(place, picture, captions)

    def _rows_of_tokens(self, path: Path) -> Iterator[Row]:
        with opened(path, self.reading.encoding, "text") as file:
            for number, line in enumerate(file, 1):
                text, place = line.rstrip("\r\n"), f"{path}, line {number}"
                if found := _TOKEN.fullmatch(text):
                    yield Row(place, found["image"], [found["caption"]])
                elif text.strip():
                    self.bad.refuse(place, "must be an image's name, #, a number, a tab and a caption")

    def _grouped(self, rows: Iterable[Row], file: str) -> Items:
        """The images of a part, each with all its captions and the id of its first row, in the order of these."""
        items, numbers = Items("images", files=(file,)), dict[str, int]()
        for row in filter(self._is_wanted, rows):
            try:
                found = row.image if isinstance(row.image, Picture) else self._album.find(row.image)
            except Unusable as fault:
                self.bad.refuse(row.place, str(fault))
                continue
            captions = self._captions(row) if self.reading.labelled else []
            if captions or not self.reading.labelled:
                number = numbers.setdefault(found.place, len(items.inputs))
                if number == len(items.inputs):
                    place = Place(found.place, getattr(row.place, "id", None))
                    items.add(place, [], lambda found=found: found, self.bad)  # type: ignore[misc]
                items.labels[number] += captions
        return items

    def _captions(self, row: Row) -> list[str]:
        """The captions of a row, a space between their words; what is none is refused."""
        captions = []
        for caption in row.captions or [""]:
            if not isinstance(caption, str):
                self.bad.refuse(row.place, f"must hold a caption. It holds {str(caption)[:40]!r}")
            elif re.search(r"\w", caption):
                captions.append(" ".join(caption.split()))
            else:
                self.bad.refuse(row.place, "has an empty caption")
        return captions

    def _listed(self, part: Items, path: Path) -> tuple[Items, Items]:
        """The images of a list, and the others."""
        names = _names(path, self.reading.encoding)
        rows = {picture.place: row for row, picture in enumerate(part.inputs)}
        pictures, found = ByPath(part.inputs), list[int]()
        for number, name in enumerate(names, 1):
            try:
                found.append(rows[pictures.find(name, "which has no caption").place])
            except Unusable as fault:
                self.bad.refuse(f"{path}, line {number}", str(fault))
        if not found:
            raise DataError(
                f"{path} must name images that have captions. None of its {len(names):,} does: give another."
            )
        listed = replace(part.select(found), files=(str(path), *part.files))
        return listed, part.select(sorted(set(range(len(part.inputs))) - set(found)))


def _drawn(count: int, seed: int) -> Items:
    pictures, captions = zip(*draw_scenes(count, seed), strict=True)
    return Items("images", list(pictures), list(captions), [picture.place for picture in pictures])


def _caption_columns(table: Table, image: str) -> list[str]:
    """The columns that hold captions by their names: those of the word "caption", or of the only other word.

    Raises:
        DataError: there are none, or several could be meant.
    """
    words: dict[str, list[str]] = {}
    for name in table.columns:
        if name != image and (found := CAPTIONS.fullmatch(name)):
            words.setdefault(found[1].lower(), []).append(name)
    if not words:
        raise DataError(unclear(table, "caption", "no caption", table.columns))
    if len(words) > 1 and "caption" not in words:
        raise DataError(several(table, "caption", [columns[0] for columns in words.values()]))
    return words["caption"] if "caption" in words else next(iter(words.values()))


def _picture(cell: Any, place: str) -> str | Picture | None:
    if isinstance(cell, dict) and (cell.get("bytes") or cell.get("path")):  # as `datasets` stores images
        return Picture(place, partial(bytes, cell["bytes"])) if cell.get("bytes") else str(cell["path"])
    return cell.strip() or None if isinstance(cell, str) else None


def _texts(cell: Any) -> list[Any]:
    """A cell's captions: a string, or a list of strings or of what holds one under "raw", as Karpathy's; what is none
    is to be refused.
    """
    cells = cell if isinstance(cell, list) else [cell]
    said = [one["raw"] if isinstance(one, dict) and "raw" in one else one for one in cells]
    return ["" if one is None else label_of(one) if isinstance(one, int | float) else one for one in said]


def _may_be_of(names: Sequence[str]) -> Callable[[Row], bool]:
    """Tells of a row whether its image may have one of these names, of which the first folders may be missing."""
    ends, wholes = {end for name in names for end in _ends(name)}, set(map(plain_path, names))

    def is_one(row: Row) -> bool:
        if not isinstance(row.image, str):
            return True
        return plain_path(row.image) in ends or not wholes.isdisjoint(_ends(row.image))

    return is_one


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
