"""Files that hold one example each: the kind that a name tells, and how one is read.

Another kind of file is a reader of its own, as `audio` is, and a row here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from selfloop.data.examples import Family, Unusable
from selfloop.data.files.diagnose import is_binary
from selfloop.data.files.names import TEXTS, suffix_of
from selfloop.data.media.audio import AUDIO_SUFFIXES, read_audio
from selfloop.data.media.images import IMAGE_SUFFIXES, read_image
from selfloop.data.media.series import SERIES_SUFFIXES, read_series
from selfloop.data.reading import Reading
from selfloop.data.tables.table import opened
from selfloop.errors import DataError


def _text(path: Path, reading: Reading) -> str:
    if is_binary(path, reading.encoding):
        raise Unusable("is binary, not text")
    try:
        with opened(path, reading.encoding, "text") as file:
            text = file.read().replace("\r\n", "\n").removesuffix("\n")
    except DataError as error:
        raise Unusable(f"is no text of encoding {reading.encoding}") from error
    if not text.strip():
        raise Unusable("is an empty text")
    return text


MEDIA: dict[Family, tuple[set[str], Callable[[Path, Reading], Any]]] = {
    "text": (TEXTS, _text),
    "series": (SERIES_SUFFIXES, lambda path, reading: read_series(path, reading.encoding, reading.columns.channels)),
    "images": (IMAGE_SUFFIXES, lambda path, reading: read_image(path, reading.size)),
    "sound": (AUDIO_SUFFIXES, lambda path, reading: read_audio(path, reading.audio)),
}
"""The kinds of files: how their names end, and what reads one."""


def family_of(path: Path) -> Family | None:
    """The kind that a file's name tells.

    >>> family_of(Path("dog.JPG")), family_of(Path("bark.wav")), family_of(Path("dog.xyz"))
    ('images', 'sound', None)
    """
    return next((family for family, (suffixes, _) in MEDIA.items() if suffix_of(path) in suffixes), None)


def read_one(path: Path, family: Family, reading: Reading) -> Any:
    """The example that a file holds.

    Raises:
        Unusable: it is of another kind, or cannot be read.
    """
    if family_of(path) != family:
        raise Unusable(f"is none of the {family} that other files here are")
    return MEDIA[family][1](path, reading)
