"""A sheet of images with their captions."""

import re
from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL.Image import Image

from selfloop.errors import ArgumentError
from selfloop.inspect.canvas import INK, PALE, canvas, text_width

# In inches.
IMAGE, TALLEST, MARGIN, LINE, PALE_LINE, SPACE = 2.6, 3.5, 0.35, 0.2, 0.175, 0.09

FRAME = "#999999"
"""Round an image, which may be as white as the sheet."""

KEY = "the model's caption", "· reference captions"

CAPTION, REFERENCE = 29, 33
"""Characters on a line."""


def draw_contact_sheet(
    images: Sequence[ArrayLike | Image],
    captions: Sequence[str],
    path: str | Path,
    references: Sequence[Sequence[str]] | None = None,
) -> Figure:
    """Draw images in a grid, each with its caption below it, and below that, in grey, its reference captions.

    Args:
        images: N images: Pillow's, or arrays of shape (H, W) or (H, W, 3 or 4), of bytes or of floats from 0 to 1.
        captions: N captions.
        path: the file to write; its suffix, .png, .svg or .pdf, is its format.
        references: for each image its reference captions.

    Returns:
        The figure, which notebooks show.

    Raises:
        ArgumentError: images, captions and references do not fit each other, or the picture cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = draw_contact_sheet([np.zeros((8, 8))], ["a black square"], f"{folder}/sheet.png")
        >>> figure.texts[0].get_text()
        'a black square'
    """
    counts = [len(captions)] + ([len(references)] if references is not None else [])
    if not len(images) or any(count != len(images) for count in counts):
        raise ArgumentError(
            f"draw_contact_sheet needs one image or more, and as many captions and lists of references. "
            f"Got {' and '.join(map(str, [len(images), *counts]))}."
        )
    pixels = [_pixels(number, image) for number, image in enumerate(images)]
    texts = [
        _lines(caption, others) for caption, others in zip(captions, references or [()] * len(images), strict=True)
    ]
    columns = min(5, ceil(sqrt(len(images))) if len(images) > 3 else len(images))
    rows = [range(start, min(start + columns, len(images))) for start in range(0, len(images), columns)]
    heights = [max(_frame(pixels[i])[1] for i in row) + max(_height(*texts[i]) for i in row) for row in rows]
    width = columns * (IMAGE + MARGIN) - MARGIN
    height = sum(heights) + MARGIN * (len(rows) - 1)
    with canvas(path, width, height) as figure:
        top = height
        for row, tall in zip(rows, heights, strict=True):
            band = max(_frame(pixels[i])[1] for i in row)
            for column, i in enumerate(row):
                _cell(figure, column * (IMAGE + MARGIN), top, band, pixels[i], *texts[i])
            top -= tall + MARGIN
        if references is not None:
            _key(figure, width, height)
    return figure


def _key(figure: Figure, width: float, height: float) -> None:
    """Above all, whose words are whose."""
    place: dict[str, Any] = {"y": 1 + 0.15 / height, "va": "bottom"}
    figure.text(x=0, s=KEY[0], fontsize=12, color=INK, **place)
    figure.text(x=(text_width(KEY[0], 12) + 0.3) / width, s=KEY[1], fontsize=10.5, color=PALE, **place)


def _pixels(number: int, image: ArrayLike | Image) -> NDArray[np.generic]:
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image) else image)  # of palettes too
    grey = pixels.ndim == 2
    if not (grey or (pixels.ndim == 3 and pixels.shape[2] in {3, 4})) or not pixels.size:
        raise ArgumentError(
            f"The images of draw_contact_sheet must have shape (H, W) or (H, W, 3 or 4), channels last. "
            f"Got {pixels.shape} for image {number}."
        )
    if pixels.dtype == bool:
        return pixels.astype(np.float32)
    in_range = pixels.dtype.kind == "f" and np.all((pixels >= 0) & (pixels <= 1))
    if pixels.dtype != np.uint8 and not in_range:
        raise ArgumentError(
            f"The images of draw_contact_sheet must be bytes, or floats from 0 to 1. "
            f"Image {number} is of {pixels.dtype} from {pixels.min()} to {pixels.max()}."
        )
    return pixels


def _frame(pixels: NDArray[np.generic]) -> tuple[float, float]:
    """Width and height in inches, of the image's own proportions, and no taller than a third more than wide."""
    tall = IMAGE * pixels.shape[0] / pixels.shape[1]
    return (IMAGE, tall) if tall <= TALLEST else (IMAGE * TALLEST / tall, TALLEST)


def _lines(caption: str, references: Sequence[str]) -> tuple[list[str], list[str]]:
    indents: dict[str, Any] = {"initial_indent": "· ", "subsequent_indent": "   "}
    others = [line for text in references for line in wrap(_bound(text), REFERENCE, **indents)]
    return wrap(_bound(caption), CAPTION) or ["∅"], others


def _bound(text: str) -> str:
    """With a mark that stands alone, as after tokenisation, bound to its word: it shall not begin a line."""
    return re.sub(r"\s+(?=[^\w\s]+(?:\s|$))", "\N{NO-BREAK SPACE}", text)


def _height(caption: list[str], others: list[str]) -> float:
    return SPACE + LINE * len(caption) + (SPACE + PALE_LINE * len(others) if others else 0)


def _cell(
    figure: Figure,
    left: float,
    top: float,
    band: float,
    pixels: NDArray[np.generic],
    caption: list[str],
    others: list[str],
) -> None:
    """One image, on the lower edge of its row's band, and its texts."""
    width, height = figure.get_size_inches()
    wide, tall = _frame(pixels)
    axes = figure.add_axes((left / width, (top - band) / height, wide / width, tall / height))
    axes.imshow(pixels, cmap="gray" if pixels.ndim == 2 else None, vmin=0, vmax=1 if pixels.dtype.kind == "f" else 255)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=FRAME, linewidth=0.8)
    axes.set_aspect("auto")
    y = top - band - SPACE
    place: dict[str, Any] = {"va": "top", "linespacing": 1.2}
    figure.text(left / width, y / height, "\n".join(caption), fontsize=12, color=INK, **place)
    if others:
        y -= LINE * len(caption) + SPACE
        figure.text(left / width, y / height, "\n".join(others), fontsize=10.5, color=PALE, **place)
