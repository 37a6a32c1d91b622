"""MNIST's files: images and labels in IDX, each a header and then bytes, compressed or not."""

import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selfloop.data.examples import Items
from selfloop.data.files.compressed import open_plain
from selfloop.data.media.images import resized
from selfloop.data.reading import Reading
from selfloop.errors import DataError, first_line

_NAME = re.compile(r".*([.-]idx\d?(-ubyte)?|-ubyte)(\.gz)?", re.IGNORECASE)
_BYTES = 8


def is_idx(path: Path) -> bool:
    """Whether a name is that of an IDX file.

    >>> is_idx(Path("train-images-idx3-ubyte.gz")), is_idx(Path("digits.csv"))
    (True, False)
    """
    return _NAME.fullmatch(path.name) is not None


def holds_images(path: Path) -> bool:
    """Whether a name is that of the images of a pair, and not of its labels."""
    return is_idx(path) and "image" in path.name.lower()


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The array of an IDX file of bytes.

    Raises:
        DataError: the file is another, or too short or too long.
    """
    try:
        with open_plain(path) as file:
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)}). Get it anew.") from error
    if len(data) < 4 or data[:3] != bytes([0, 0, _BYTES]) or not data[3]:
        raise DataError(f"{path} must be an IDX file of bytes, as MNIST's are. It begins with {data[:4].hex()}.")
    dimensions = data[3]
    shape = (
        tuple(np.frombuffer(data[4 : 4 + 4 * dimensions], ">u4").tolist()) if len(data) >= 4 + 4 * dimensions else ()
    )
    held = len(data) - 4 - 4 * dimensions
    if not shape or math.prod(shape) != held:
        raise DataError(
            f"{path} is cut short or too long: after its header it must hold {math.prod(shape):,} bytes, and "
            f"holds {max(held, 0):,}. Get it anew."
        )
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def read_pair(path: Path, reading: Reading) -> Items:
    """The images of a file, with the labels of the file beside it whose name says "labels" where its own says "images".

    Raises:
        DataError: a file is missing or damaged, or the two do not go together.
    """
    if not holds_images(path):
        raise DataError(f"{path} must be the file of images of a pair, whose name says so: train-images-idx3-ubyte.")
    images = read_idx(path)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] != 3):
        raise DataError(f"{path} must hold images, (count, height, width). It holds an array {images.shape}.")
    labels: Any = [None] * len(images)
    beside = _labels_beside(path)
    if beside is None and reading.labelled:
        raise DataError(f"There are no labels for {path}: put {_labels_name(path)} beside it.")
    if beside is not None and reading.labelled:
        labels = read_idx(beside).reshape(-1)
        if len(labels) != len(images):
            raise DataError(f"{path} holds {len(images):,} images, and {beside} {len(labels):,} labels. Give as many.")
        labels = [str(label) for label in labels.tolist()]
    rows = list(images) if reading.size is None else [resized(image, reading.size) for image in images]
    return Items("images", rows, labels, [f"{path}, image {n}" for n in range(1, 1 + len(images))])


def _labels_name(path: Path) -> str:
    name = re.sub("image", "label", path.name, flags=re.IGNORECASE)
    return re.sub(r"idx\d", "idx1", name)


def _labels_beside(path: Path) -> Path | None:
    name = _labels_name(path)
    names = (name, name.removesuffix(".gz"), f"{name}.gz")
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)
