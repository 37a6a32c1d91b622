"""Images that are named now and read later: in folders, in .zip archives, in a table's cells."""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from selfloop.data.compressed import check_expansion
from selfloop.data.images import IMAGE_SUFFIXES, Bytes, coloured, read_image
from selfloop.data.items import Unusable
from selfloop.data.rows import first_line
from selfloop.errors import DataError
from selfloop.untrusted import exists


@dataclass(frozen=True)
class Picture:
    """An image that is read when it is needed.

    Attributes:
        place: where it is, for errors and predictions.
        read: its file's content.
        name: in the folder or archive that it is of; empty where it has none.
    """

    place: str
    read: Callable[[], bytes]
    name: str = ""

    def content(self) -> bytes:
        """What its file holds.

        Raises:
            Unusable: it cannot be read.
        """
        try:
            return self.read()
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # as zipfile raises them
            raise Unusable(f"cannot be read ({first_line(error)})") from error

    def pixels(self, size: tuple[int, int] | None = None) -> Bytes:
        """Its pixels in colour, (H, W, 3), at that height and width.

        Raises:
            Unusable: it is no image, or not a whole one.
        """
        return coloured(read_image(self.content(), size), colour=True)

    @classmethod
    def of_file(cls, path: Path) -> "Picture":
        """A file."""
        return cls(str(path), path.read_bytes, path.name)


class Album:
    """The images of a folder and of those in it, and of the .zip archives at its top; or of one archive.

    An image is found by its path in the album, or else by its name alone.

    Args:
        path: the folder or the archive.

    Raises:
        DataError: an archive is damaged, or there is no such folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(f"{folder}/photos.zip", "w") as archive:
    ...         archive.writestr("photos/dog.jpg", b"...")
    ...     album = Album(Path(folder))
    ...     album.find("dog.jpg").read(), album.find("cat.jpg")
    (b'...', None)
    """

    def __init__(self, path: Path) -> None:
        if not exists(path):
            raise DataError(f"The images are to come from {path}, which does not exist: give a folder or a .zip.")
        self.path = path
        self._by_path: dict[str, Picture] = {}
        archives = [path] if path.is_file() else sorted(path.glob("*.zip"))
        if path.is_dir():
            self._by_path |= {file.relative_to(path).as_posix(): Picture.of_file(file) for file in _images_below(path)}
        for archive in archives:
            for name, picture in _images_within(archive):
                self._by_path.setdefault(name, picture)
        self._by_name: dict[str, Picture] = {}
        for name, picture in self._by_path.items():
            self._by_name.setdefault(name.rpartition("/")[2], picture)

    def find(self, name: str) -> Picture | None:
        """The image of that name, or None."""
        name = name.replace("\\", "/").removeprefix("./")
        return self._by_path.get(name) or self._by_name.get(name.rpartition("/")[2])

    def __iter__(self) -> Iterator[Picture]:
        """All images, in the order of their paths."""
        return iter([self._by_path[name] for name in sorted(self._by_path)])


def is_image(name: str) -> bool:
    """Whether a name is an image's, and no hidden file's.

    >>> is_image("a/dog.JPG"), is_image("a/.dog.jpg"), is_image("dog.txt")
    (True, False, False)
    """
    path = Path(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


def _images_below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if is_image(file.name) and file.is_file())


def _images_within(path: Path) -> Iterator[tuple[str, Picture]]:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no .zip archive, or a damaged one ({first_line(error)}): give another.") from error
    for name in archive.namelist():
        if is_image(name):
            yield name, Picture(f"{path}, {name}", partial(_member, archive, name), name.rpartition("/")[2])


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    check_expansion(info.compress_size, info.file_size, "unzip")
    return archive.read(info)
