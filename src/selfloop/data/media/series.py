"""Series of numbers as float32 arrays (T, C): from lists, ``.npy``, ``.csv`` and ``.npz``. Nothing is unpickled."""

import csv
import math
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selfloop.data.examples import Family, Items, Unusable
from selfloop.data.files.compressed import is_gzip, open_plain
from selfloop.data.files.names import suffix_of
from selfloop.data.labels import label_of
from selfloop.data.media.images import resized
from selfloop.data.parts import part_of
from selfloop.data.reading import Reading
from selfloop.data.tables.columns import listed
from selfloop.data.tables.known import lacks
from selfloop.data.tables.separated import cells_of_any_length, is_number
from selfloop.data.tables.table import opened
from selfloop.errors import DataError, first_line
from selfloop.untrusted import bound, check_expansion

SERIES_SUFFIXES = {".npy", ".csv", ".tsv"}
# as zipfile and NumPy raise them
_UNREADABLE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)
_NPZ_NAME = re.compile(r"(?P<what>[xy])(_(?P<part>\w+))?", re.IGNORECASE)


def as_series(values: Any) -> npt.NDArray[np.float32]:
    """An array (T, C) of finite numbers.

    Args:
        values: an array or nested lists: (T,) is one channel, (T, C) several.

    Raises:
        Unusable: they are no series, or not all are finite.

    >>> as_series([1, 2, 4]).shape
    (3, 1)
    """
    if isinstance(values, list | tuple):
        values = _array_of(values)
    if values.dtype.kind not in "biuf":
        raise Unusable(f"must hold numbers, not {values.dtype}")
    if values.ndim not in (1, 2):
        raise Unusable(
            f"must have one dimension (time) or two (time, channels), not the {values.ndim} of {values.shape}"
        )
    if not values.size:
        raise Unusable("is an empty series")
    with np.errstate(over="ignore"):
        series: npt.NDArray[np.float32] = values.reshape(len(values), -1).astype(np.float32)
    finite = np.isfinite(series)
    if not finite.all():
        step, channel = (int(index) for index in np.argwhere(~finite)[0])
        given = values.reshape(len(values), -1)[step, channel]
        said = "NaN" if np.isnan(given) else "infinity" if np.isinf(given) else f"{given}, too large for float32,"
        raise Unusable(f"holds {said} at step {step + 1}, channel {channel + 1}")
    return series


def read_series(path: Path, encoding: str = "utf-8", channels: Sequence[str] = ()) -> npt.NDArray[np.float32]:
    """The series of a ``.npy`` file, or of a CSV with a step a line and a channel a column, named in line 1 or not.

    Args:
        path: the file.
        encoding: of a CSV.
        channels: the columns to take of a CSV, in this order; none takes all as they stand.

    Raises:
        Unusable: the file is no series, or lacks a channel.
    """
    return as_series(read_npy(path) if suffix_of(path) == ".npy" else _csv(path, encoding, channels))


def knowing_channels(reading: Reading, family: Family, paths: Iterable[Path]) -> Reading:
    """How files of one example each are read: series by the channels that are known, or else by those that most files
    name, in the order of the first of these; of as many, by more channels.
    """
    if family != "series" or reading.columns.channels:
        return reading
    separated = (path for path in paths if suffix_of(path) in SERIES_SUFFIXES - {".npy"})
    alike: dict[frozenset[str], list[tuple[str, ...]]] = {}
    for path in separated:
        if (names := _channels_of(path, reading.encoding)) is not None:
            alike.setdefault(frozenset(names), []).append(names)
    channels, *_ = max(alike.values(), key=lambda names: (len(names), len(names[0])), default=[()])
    if not channels and len(alike) > 1:
        reading.bad.note("most files name no columns in line 1: channels go by their place")
    return replace(reading, columns=replace(reading.columns, channels=channels))


def read_npz(path: Path, reading: Reading) -> dict[str, Items]:
    """The parts of an archive of arrays.

    ``x`` and ``y``, or ``x_train``, ``y_train`` and likewise ``valid`` and ``test``: ``x`` is (N, T) or (N, T, C); of
    bytes, (N, H, W) or (N, H, W, 3), it holds images. ``y`` holds N labels, and may be missing where none are
    asked for.

    Raises:
        DataError: the file cannot be read, or its arrays are others.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            check_expansion(path.stat().st_size, sum(info.file_size for info in members.values()), "unzip")
            found = {name: match for name in members if (match := _NPZ_NAME.fullmatch(name))}
            arrays: dict[tuple[str, str | None], tuple[str, Any]] = {}
            for name, match in found.items():
                with archive.open(members[name]) as file:
                    array = _read_array(file, members[name].file_size)
                what, part = match["what"].lower(), match["part"] and part_of(match["part"])
                if match["part"] and part is None:
                    raise ValueError(f"'{name}' names no part: train, valid or test")
                if (what, part) in arrays:
                    raise ValueError(f"'{arrays[what, part][0]}' and '{name}' are of one part")
                arrays[what, part] = (name, array)
            names = ", ".join(f"'{name}'" for name in members) or "none"
    except _UNREADABLE as error:
        raise DataError(f"{path} cannot be read as .npz ({_said(error)}). Save arrays of numbers in it.") from error
    parts = [part for what, part in arrays if what == "x"]
    if not parts or (len(parts) > 1 and None in parts):
        raise DataError(f"{path} must hold arrays 'x' and 'y', or 'x_train', 'y_train' and so on. Got {names} instead.")
    return {part or "train": _npz_part(path, *arrays["x", part], arrays.get(("y", part)), reading) for part in parts}


def _npz_part(
    path: Path, name: str, x: npt.NDArray[Any], y: tuple[str, npt.NDArray[Any]] | None, reading: Reading
) -> Items:
    if y is None and reading.labelled:
        raise DataError(
            f"{path} has no labels for '{name}': add an array '{'y' if name[0] == 'x' else 'Y'}{name[1:]}'."
        )
    if x.ndim < 2:
        raise DataError(f"{path} must hold '{name}' as (N, T) or (N, T, C). It is {x.shape}: give each example a row.")
    labels: list[Any] = [None] * len(x)
    if y is not None:
        if y[1].size != len(x):
            raise DataError(
                f"{path} holds {len(x):,} examples in '{name}' and {y[1].size:,} labels in '{y[0]}'. Give as many."
            )
        try:
            labels = (np.char.decode(y[1], "utf-8") if y[1].dtype.kind == "S" else y[1]).reshape(-1).tolist()
        except UnicodeDecodeError as error:
            raise DataError(f"{path} holds bytes in '{y[0]}' that are not UTF-8. Save it as strings.") from error
    places = [f"{path}, item {n} of {name}" for n in range(1, 1 + len(x))]
    return items_of_array(x, [label_of(label) for label in labels], places, reading)


def items_of_array(x: npt.NDArray[Any], labels: Sequence[str | None], places: Sequence[str], reading: Reading) -> Items:
    """The rows of one array: bytes of three or four dimensions are images, all else series."""
    images = x.dtype == np.uint8 and (x.ndim == 3 or (x.ndim == 4 and x.shape[-1] in (1, 3)))
    if images:
        x = x[..., 0] if x.ndim == 4 and x.shape[-1] == 1 else x
        return Items("images", [resized(image, reading.size) for image in x], list(labels), list(places))
    items = Items("series")
    for row, label, place in zip(x, labels, places, strict=True):
        items.add(place, label, lambda row=row: as_series(row), reading.bad)  # type: ignore[misc]
    return items


def _array_of(values: Any) -> npt.NDArray[Any]:
    """Nested lists as an array; None, a missing number, as NaN."""
    rows = [list(value) if isinstance(value, list | tuple) else value for value in values]
    nested = [isinstance(row, list) for row in rows]
    if any(nested) and (not all(nested) or len({len(row) for row in rows}) > 1):
        raise Unusable("has steps of unequal numbers of values")
    for value in (value for row in rows for value in (row if isinstance(row, list) else [row])):
        if not (value is None or isinstance(value, int | float)):
            raise Unusable(f"must hold numbers. It holds {str(value)[:40]!r}")
    try:
        return np.array(rows, dtype=np.float64)
    except OverflowError as error:
        raise Unusable(f"holds a number too large for float32 ({error})") from error


def read_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file, compressed (``.npy.gz``) or not.

    Raises:
        Unusable: the file is none, or holds Python objects.
    """
    try:
        with open_plain(path) as file:
            return _read_array(file, bound(path.stat().st_size) if is_gzip(path) else path.stat().st_size)
    except _UNREADABLE as error:
        raise Unusable(f"cannot be read as .npy ({_said(error)})") from error


def _read_array(file: Any, most: int) -> npt.NDArray[Any]:
    """The array in a file of so many bytes at the most, which is more than its header asks for."""
    start = file.tell()
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if max(math.prod(shape) * dtype.itemsize, *shape, 0) > most:  # many rows of nothing are many rows
        raise ValueError(f"its header asks for an array {shape} of {dtype}, and it has no more than {most:,} bytes")
    file.seek(start)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _said(error: BaseException) -> str:
    if "allow_pickle" in str(error):
        return "it holds Python objects, which are never loaded"
    return first_line(error)


def _channels_of(path: Path, encoding: str) -> tuple[str, ...] | None:
    """The names in line 1, none where it holds numbers; None of a file that is refused when it is read."""
    try:
        with opened(path, encoding, "csv") as file:
            lines = list(islice(filter(str.strip, file), 2))
        names = _names(lines[0], path) if lines else ()
    except (DataError, Unusable):
        return None
    return names if len(lines) > bool(names) and len(set(names)) == len(names) else None


def _names(line: str, path: Path) -> tuple[str, ...]:
    """The names of columns in a line, none where it holds a number outside of quotes."""
    separator = _separator(path)
    if any(map(is_number, re.sub('"[^"]*"', "", line).split(separator))):
        return ()
    try:
        with cells_of_any_length():
            cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise Unusable(f"is no table of numbers ({error} in line 1)") from error
    return tuple(cell.strip() for cell in cells)


def _separator(path: Path) -> str:
    return "\t" if suffix_of(path) == ".tsv" else ","


def _places(names: Sequence[str], channels: Sequence[str]) -> list[int] | None:
    """Where the channels stand among the columns; None takes all of them."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Unusable(f"names the column '{twice}' twice")
    if not channels:
        return None
    if not names:
        raise Unusable(f"names no columns in line 1, and other files have {listed(channels)}")
    if fault := lacks(channels, names, "the training data or other files have"):
        raise Unusable(fault)
    return [names.index(name) for name in channels]


def _csv(path: Path, encoding: str, channels: Sequence[str]) -> npt.NDArray[Any]:
    separator = _separator(path)
    try:
        with opened(path, encoding, "csv") as file:
            lines = [line for line in file if line.strip()]
    except DataError as error:
        raise Unusable(f"is no text ({error})") from error
    names = _names(lines[0], path) if lines else ()
    if names:
        del lines[0]
    if not lines:
        raise Unusable("is an empty series")
    places = _places(names, channels)
    others = {1 + line.count(separator) for line in lines} - {len(names)}
    if names and others:
        raise Unusable(f"has a line of {min(others)} cells, and line 1 names {len(names)} columns")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return np.loadtxt(lines, delimiter=separator, ndmin=2, comments=None, usecols=places)
    except (ValueError, UserWarning) as error:
        raise Unusable(
            f"is no table of numbers ({first_line(error).replace('; use `usecols` to select', ':')})"
        ) from error
