"""Images that are named now and read later: in folders, in .zip archives, in a table's cells."""

import functools
import hashlib
import io
import posixpath
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from selfloop.data.examples import Unusable
from selfloop.data.media.images import IMAGE_SUFFIXES, Array, Bytes, as_image, coloured, read_image
from selfloop.errors import DataError, first_line
from selfloop.untrusted import check_expansion, exists


@dataclass(frozen=True)
class Picture:
    """An image that is read when it is needed.

    Attributes:
        place: where it is, for errors and predictions.
        read: its file's content.
        path: in the folder or archive that it is of; empty where it has none.
        home: the path of that folder, or of that archive without its suffix.
    """

    place: str
    read: Callable[[], bytes]
    path: str = ""
    home: str = ""

    @property
    def name(self) -> str:
        """The end of its path."""
        return self.path.rpartition("/")[2]

    def content(self) -> bytes:
        """What its file holds.

        Raises:
            Unusable: it cannot be read.
        """
        try:
            return self.read()
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # as zipfile raises them
            raise Unusable(f"cannot be read ({first_line(error)})") from error

    @functools.cached_property
    def digest(self) -> str:
        """A hash of its file's content, or of its place where that cannot be read."""
        try:
            content = self.content()
        except Unusable:
            content = self.place.encode()
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def pixels(self, size: tuple[int, int] | None = None) -> Bytes:
        """Its pixels in colour, (H, W, 3), at that height and width.

        Raises:
            Unusable: it is no image, or not a whole one.
        """
        return coloured(read_image(self.content(), size), colour=True)

    @classmethod
    def of_file(cls, file: Path, folder: Path | None = None) -> "Picture":
        """A file, of a folder or one above it; None is its own."""
        folder = folder or file.parent
        return cls(str(file), file.read_bytes, file.relative_to(folder).as_posix(), folder.absolute().as_posix())

    @classmethod
    def of_array(cls, array: Array) -> "Picture":
        """An array of bytes, (H, W) or (H, W, 3).

        Raises:
            Unusable: it is of another type or shape.
        """
        from PIL import Image  # noqa: PLC0415  (as in `images`)

        file = io.BytesIO()
        Image.fromarray(as_image(array)).save(file, "png", compress_level=1)
        return cls("", file.getvalue)


class ByPath:
    """Images that are looked for by the end of their paths: ``dog.jpg`` and ``photos/a/dog.jpg`` are ``a/dog.jpg``."""

    def __init__(self, pictures: Iterable[Picture]) -> None:
        self._by_name: dict[str, list[Picture]] = {}
        for picture in pictures:
            self._by_name.setdefault(picture.name, []).append(picture)

    def find(self, name: str, lacks: str = "and there is none of that name", *, copies: bool = False) -> Picture:
        """The image whose path in its folder is `name`, or else the only one whose whole path ends in it.

        Args:
            name: a path, of which the first folders may be missing.
            lacks: what is said where there is none.
            copies: whether of several that hold the same bytes, such as those of an archive and of the folder into
                which it was unpacked, the first is taken.

        Raises:
            Unusable: there is none, or there are several.
        """
        path = plain_path(name)
        alike = self._by_name.get(path.rpartition("/")[2], [])
        found = [picture for picture in alike if f"{picture.home}/{picture.path}".endswith(f"/{path}")]
        found = [picture for picture in found if picture.path == path] or found
        if not found:
            others = f", only {_either(alike)}" if alike else ""
            raise Unusable(f"names the image '{name}', {lacks}{others}")
        if len(found) > 1 and not (copies and len({picture.content() for picture in found}) == 1):
            raise Unusable(f"names the image '{name}', which may be {_either(found)}: name its folder too")
        return found[0]


def plain_path(name: str) -> str:
    r"""A path as it is compared, with slashes, and without what leads up and out at its beginning.

    >>> plain_path("..\\photos\\dog.jpg"), plain_path("./dog.jpg"), plain_path("/a/../dog.jpg")
    ('photos/dog.jpg', 'dog.jpg', 'dog.jpg')
    """
    path = posixpath.normpath(name.replace("\\", "/")).lstrip("/")
    while path.startswith("../"):
        path = path[3:]
    return path


def _either(pictures: Sequence[Picture]) -> str:
    return " or ".join(picture.path for picture in pictures[:2])


class Album:
    """The images of a folder and of those in it, and of the .zip archives at its top; or of one archive.

    An image is found by the end of its path, as `ByPath` says.

    Args:
        path: the folder or the archive.

    Raises:
        DataError: an archive is damaged, or there is no such folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(f"{folder}/photos.zip", "w") as archive:
    ...         archive.writestr("photos/dog.jpg", b"...")
    ...     album = Album(Path(folder))
    ...     album.find("dog.jpg").read()
    b'...'
    """

    def __init__(self, path: Path) -> None:
        if not exists(path):
            raise DataError(f"The images are to come from {path}, which does not exist: give a folder or a .zip.")
        self.path = path
        self._by_path: dict[str, Picture] = {}
        archives = [path] if path.is_file() else sorted(path.glob("*.zip"))
        if path.is_dir():
            pictures = [Picture.of_file(file, path) for file in _images_below(path)]
            self._by_path |= {picture.path: picture for picture in pictures}
        for archive in archives:
            for picture in _images_within(archive):
                self._by_path.setdefault(picture.path, picture)
        self._by_end = ByPath(self._by_path.values())

    def find(self, name: str) -> Picture:
        """The image of that name.

        Raises:
            Unusable: there is none, or it could be several.
        """
        return self._by_end.find(name, f"and there is none of that name in {self.path}", copies=True)

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


def _images_within(path: Path) -> Iterator[Picture]:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no .zip archive, or a damaged one ({first_line(error)}): give another.") from error
    for name in archive.namelist():
        if is_image(name):
            home = path.absolute().with_suffix("").as_posix()
            yield Picture(f"{path}, {name}", partial(_member, archive, name), name, home)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    check_expansion(info.compress_size, info.file_size, "unzip")
    return archive.read(info)
