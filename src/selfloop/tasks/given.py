"""What a user gives to `predict`, one example alone or several, as the examples that the model reads."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt
import torch

from selfloop.data.examples import Examples, Unusable
from selfloop.data.media.images import is_picture, pixels_of
from selfloop.errors import ArgumentError, DataError
from selfloop.untrusted import exists

if TYPE_CHECKING:
    from PIL.Image import Image

AnImage = Union[str, Path, npt.NDArray[np.generic], torch.Tensor, "Image"]
"""An image: its path, an array, a tensor, or PIL's."""

Example = AnImage | Sequence[float] | Sequence[Sequence[float]]
"""A text, a series, an image or frames: a string, a path, an array, a tensor, an image of PIL's, or numbers."""

Step = str | npt.NDArray[np.generic] | torch.Tensor | Sequence[float]
"""One step of a sequence: a word, a vector (C,), or a frame (H, W) or (H, W, 3)."""


@dataclass(frozen=True)
class Takes:
    """What a model takes as an example.

    Attributes:
        what: the examples, for errors: ``texts (strings)``.
        convert: an example as the model reads it; None of what is none. Raises `Unusable` of one that cannot be used.
        alone: whether what is given is one example, and not several.
        strings: whether strings are examples; else they are paths.
        unit: an example's name, where it has no other.
        argument: of `predict`, for errors.
    """

    what: str
    convert: Callable[[Any], Any]
    alone: Callable[[Any], bool]
    strings: bool = False
    unit: str = "example"
    argument: str = "examples"

    def refuse(self, value: Any) -> ArgumentError:
        """The error for what is no example."""
        return ArgumentError(
            f"The '{self.argument}' of predict must be {self.what}, one or a list of them. "
            f"Got {type(value).__name__} instead."
        )


TEXTS = Takes(
    "texts (strings)", lambda value: value if isinstance(value, str) else None, lambda value: False, strings=True
)


def as_examples(given: Any, takes: Takes, read: Callable[[str], Examples]) -> Examples:
    """The examples that are given.

    Args:
        given: `Examples`, which stay as they are; or an example, or several. A path stands for all examples of its
            file or folder, a tensor for its array, a PIL image for its pixels.
        takes: what the model takes.
        read: the examples of a file or folder.

    Raises:
        ArgumentError: something is no example.
        DataError: an example cannot be used.
    """
    if isinstance(given, Examples):
        return given
    given = _plain(given, takes)
    if isinstance(given, Path):
        return _read(given, read)
    if isinstance(given, str) or takes.alone(given):
        given = [given]
    elif not isinstance(given, Iterable) or isinstance(given, dict | bytes):
        raise takes.refuse(given)
    inputs, places = list[Any](), list[str]()
    for number, original in enumerate(given):
        value, place = _plain(original, takes), f"{takes.unit} {number}"
        if isinstance(value, Path):
            found = _read(value, read)
            inputs += found.inputs
            places += found.places
            continue
        try:
            converted = takes.convert(value)
        except Unusable as fault:
            raise DataError(f"{place} {fault}.") from fault
        if converted is None:
            raise takes.refuse(original)
        inputs.append(converted)
        places.append(place)
    return Examples(inputs, [], places)


def _read(path: Path, read: Callable[[str], Examples]) -> Examples:
    if not exists(path):  # nor is it looked for on the hub
        raise DataError(f"There is no file or folder {path}: give one that exists.")
    return read(str(path))


def _plain(value: Any, takes: Takes) -> Any:
    """A path, a tensor or a PIL image in the type that stands for it."""
    if takes.strings:
        return value
    if isinstance(value, str):
        return Path(value)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()  # NumPy has no bfloat16
    return pixels_of(value) if is_picture(value) else value


def one_image(value: Any, colour: bool) -> bool:
    """Whether an array can only be one image, and not several.

    Args:
        value: the array.
        colour: whether the model reads images in colour, so that (3, H, W) is one too, with its channels misplaced.

    >>> [one_image(np.zeros(shape), colour=True) for shape in ((4, 6), (4, 6, 3), (3, 4, 6), (10, 4, 6))]
    [True, True, True, False]
    """
    if not isinstance(value, np.ndarray) or value.ndim != 3:
        return isinstance(value, np.ndarray) and value.ndim < 3
    return value.shape[-1] in (1, 3, 4) or (colour and value.shape[0] in (1, 3))


def one_series(value: Any) -> bool:
    """Whether it is one series: an array (T,) or (T, C), or a list of numbers.

    >>> one_series([1, 2, 3]), one_series([[1, 2, 3]]), one_series(np.zeros((5, 2)))
    (True, False, True)
    """
    if isinstance(value, np.ndarray):
        return value.ndim < 3
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], int | float | np.number)
