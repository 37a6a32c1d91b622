"""The files of the UCR and UEA archives of time series: ``.ts``, as the aeon project describes it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selfloop.data.examples import Items, Unusable
from selfloop.data.files.diagnose import explain, is_binary
from selfloop.data.media.series import as_series
from selfloop.data.reading import Reading
from selfloop.data.tables.table import opened
from selfloop.errors import DataError


@dataclass
class _Header:
    labelled: bool = False
    classes: list[str] = field(default_factory=list)
    channels: int | None = None


def read_ts(path: Path, reading: Reading) -> Items:
    r"""The series of a file, which may differ in length; missing values ("?") at a series' end make it shorter.

    Raises:
        DataError: the file is no ``.ts``, has no classes where they are asked for, or is of another problem: of
            numbers to predict, or of values with times.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "walk.ts")
    ...     _ = path.write_text("@classLabel true left right\n@data\n1,2,3:0,0,1:left\n")
    ...     items = read_ts(path, Reading())
    >>> items.inputs[0].tolist(), items.labels
    ([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]], ['left'])
    """
    if is_binary(path, reading.encoding):
        raise explain(path, "csv", reading.encoding, "it is binary")
    items, header, data = Items("series"), _Header(), False
    with opened(path, reading.encoding, "csv") as file:
        for number, line in enumerate(file, 1):
            text, place = line.strip(), f"{path}, line {number}"
            if not text or text.startswith(("#", "%")):
                continue
            if data:
                label, *channels = _split(text, header)
                _add(items, place, label, channels, header, reading)
            elif text.lower().startswith("@data"):
                data = True
                if reading.labelled and not header.labelled:
                    raise DataError(f"{path} must name its classes: a line '@classLabel true NAME NAME' before @data.")
            elif text.startswith("@"):
                _read_header(header, text, place)
            else:
                raise DataError(f"{place} must begin with @ or #, as the lines before @data do. Got {text[:40]!r}.")
    if not data:
        raise DataError(f"{path} must have a line '@data' before its series. It has none: give a .ts file.")
    return items


def _read_header(header: _Header, text: str, place: str) -> None:
    key, *words = text[1:].split() or [""]
    yes = bool(words) and words[0].lower() == "true"
    match key.lower():
        case "classlabel":
            header.labelled, header.classes = yes, words[1:]
        case "targetlabel" if yes:
            raise DataError(f"{place} says that the file is for regression: give one with @classLabel.")
        case "timestamps" if yes:
            raise DataError(f"{place} says that values come with times: resample them evenly, without times.")
        case "univariate" if yes:
            header.channels = 1
        case "dimension" | "dimensions" if words and words[0].isdigit():
            header.channels = int(words[0])


def _split(text: str, header: _Header) -> list[Any]:
    """The label, or None, and the text of each channel."""
    channels = text.split(":")
    return [channels.pop().strip() if header.labelled else None, *channels]


def _add(items: Items, place: str, label: str | None, channels: list[str], header: _Header, reading: Reading) -> None:
    def read() -> npt.NDArray[np.float32]:
        if header.classes and label not in header.classes:
            raise Unusable(f"ends in '{label}', which is none of the classes of @classLabel")
        if header.channels is not None and len(channels) != header.channels:
            raise Unusable(f"has {len(channels)} channels, and the header promises {header.channels}")
        if not channels:
            raise Unusable("holds a label and no series")
        values = [_numbers(channel) for channel in channels]
        lengths = {len(row) for row in values}
        if len(lengths) > 1:
            raise Unusable(f"has channels of {min(lengths)} to {max(lengths)} steps, which must be as many")
        table = np.array(values, np.float64).T
        there = np.flatnonzero(~np.isnan(table).all(1))
        return as_series(table[: there[-1] + 1 if len(there) else 0])

    items.add(place, label or None, read, reading.bad)


def _numbers(channel: str) -> list[float]:
    words = channel.split(",") if channel.strip() else []
    try:
        return [float("nan") if word.strip() in ("?", "NaN") else float(word) for word in words]
    except ValueError as error:
        raise Unusable(f"must hold numbers between commas ({error})") from error
