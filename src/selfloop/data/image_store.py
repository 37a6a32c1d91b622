"""What a network sees in images: made once, kept on disk, memory-mapped.

A store is an .npy file, an array an image, and beside it a .json file that lists the images that could not be read. It
is named after what it holds, a hash of the images' content and of what looked at them, so it never goes stale. The
folder can be deleted at any time.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selfloop.atomic import replacing
from selfloop.data.caches import keep, used
from selfloop.data.examples import BadItems, Unusable
from selfloop.data.media.image_files import Picture
from selfloop.data.media.images import Bytes
from selfloop.errors import DataError
from selfloop.untrusted import parse_json

TOGETHER = 32
"""Images that are looked at in one call."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Seen:
    """What was seen in images.

    Attributes:
        arrays: one of each image, in their order; zeros of one that cannot be read.
        rows: the images that could be read.
        key: a hash of the images and of what looked at them.
    """

    arrays: Array
    rows: list[int]
    key: str


def look(
    pictures: Sequence[Picture],
    see: Callable[[Bytes], Array],
    *,
    size: tuple[int, int],
    digest: str,
    bad: BadItems,
    folder: Path | None = None,
) -> Seen:
    """Look at each image, or remember what was seen in it.

    Args:
        pictures: the images; a few of them are in memory at a time.
        see: from images, (N, H, W, 3), to an array (N, ...).
        size: height and width that they are brought to.
        digest: tells what `see` does from what others do.
        bad: takes the images that cannot be read.
        folder: where stores are kept; None is ``selfloop/seen`` in the user's cache.

    Raises:
        DataError: an image cannot be read (unless `bad` skips such), or the folder cannot be written.
    """
    key, refused = _key(pictures, f"{digest} {tuple(size)}"), len(bad.found)

    def stored(folder: Path) -> tuple[Array, dict[int, str]]:
        del bad.found[refused:]  # by a folder that then could not be written
        path = folder / f"{key}.npy"
        found = _open(path)
        if found is None:
            _write(path, pictures, see, size, bad)
            found = _open(path)
        else:
            for row, reason in found[1].items():
                bad.refuse(pictures[row].place, reason)
        if found is None:
            raise DataError(f"What was just written to {path} is damaged: check the disk.")
        return found

    arrays, faults = keep("seen", "What is seen in the images", folder, stored)
    return Seen(arrays, [row for row in range(len(pictures)) if row not in faults], key)


def _key(pictures: Sequence[Picture], digest: str) -> str:
    whole = hashlib.sha256(digest.encode())
    for picture in pictures:
        try:
            whole.update(hashlib.sha256(picture.content()).digest())
        except Unusable as fault:
            whole.update(str(fault).encode())
    return whole.hexdigest()[:32]


def _open(path: Path) -> tuple[Array, dict[int, str]] | None:
    """What a store holds, or None where there is none or not a whole one."""
    try:
        faults = {int(row): str(reason) for row, reason in parse_json(path.with_suffix(".json").read_bytes()).items()}
        arrays: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        used(path, path.with_suffix(".json"))
    except (FileNotFoundError, ValueError, EOFError, AttributeError):
        return None
    return arrays, faults


def _write(
    path: Path, pictures: Sequence[Picture], see: Callable[[Bytes], Array], size: tuple[int, int], bad: BadItems
) -> None:
    faults: dict[int, str] = {}
    with replacing(path) as file:
        for start in range(0, len(pictures), TOGETHER):
            images = np.zeros((len(pictures[start : start + TOGETHER]), *size, 3), np.uint8)
            for row, picture in enumerate(pictures[start : start + TOGETHER], start):
                try:
                    images[row - start] = picture.pixels(size)
                except Unusable as fault:
                    bad.refuse(picture.place, str(fault))
                    faults[row] = str(fault)
            arrays = np.ascontiguousarray(see(images))
            if start == 0:
                shape = (len(pictures), *arrays.shape[1:])
                header = {"descr": np.lib.format.dtype_to_descr(arrays.dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(arrays.data)
        with replacing(path.with_suffix(".json")) as list_of_faults:
            list_of_faults.write(json.dumps(faults).encode())
