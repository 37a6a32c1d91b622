"""What the pictures share: a canvas that becomes a file, and colours."""

import functools
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from warnings import catch_warnings, filterwarnings

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from numpy.typing import ArrayLike

from selfloop.atomic import check_replacing, refused_if_unwritable, replacing
from selfloop.errors import ArgumentError

SUFFIXES = (".png", ".svg", ".pdf")

INK, PALE, RULE = "#222222", "#6B6B6B", "#dddddd"

# Okabe and Ito's colours, which colour-blind readers can tell apart; without black, which is for text.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
RIGHT, WRONG = "#0072B2", "#D55E00"

# From white through their blue or vermilion to a dark end: lightness falls all the way.
BLUES = LinearSegmentedColormap.from_list("blues", ["#FFFFFF", "#56B4E9", "#0072B2", "#00304D"])
REDS = LinearSegmentedColormap.from_list("reds", ["#FFFFFF", "#F4A261", "#D55E00", "#5C2800"])

# What is below and above the middle: dark vermilion, white, dark blue.
SIGNED = LinearSegmentedColormap.from_list(
    "signed", ["#5C2800", "#D55E00", "#F4A261", "#FFFFFF", "#56B4E9", "#0072B2", "#00304D"]
)

# Fonts that many systems have, for the scripts that matplotlib's own lacks; those that are missing are left out.
_FONTS = (
    "DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC", "Hiragino Sans", "Microsoft YaHei",
    "Yu Gothic", "Malgun Gothic", "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS", "Unifont",
)  # fmt: skip
DPI = 130

_RULER = RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]


@functools.cache
def monospaced() -> list[str]:
    """Fonts for characters that stand in columns."""
    return ["DejaVu Sans Mono", *_fonts()]


@functools.cache
def _fonts() -> list[str]:
    known = set(font_manager.get_font_names())
    return [name for name in _FONTS if name in known]


@contextmanager
def _boxes_for_unknown_characters() -> Iterator[None]:
    """Without a warning: a box in the picture shows where no font has a character."""
    with catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


class _Drawing(Figure):
    """A figure that notebooks show: those of matplotlib they show only after pyplot was imported."""

    def picture(self, kind: str) -> bytes:
        """The file: ``png``, ``svg`` or ``pdf``."""
        file = io.BytesIO()
        with _boxes_for_unknown_characters():
            self.savefig(file, format=kind, bbox_inches="tight", pad_inches=0.2)
        return file.getvalue()

    def _repr_png_(self) -> bytes:
        return self.picture("png")


@contextmanager
def canvas(path: str | Path, width: float, height: float) -> Iterator[Figure]:
    """A figure to draw on, written to ``path`` when the block ends, with all that reaches beyond its edges.

    So the axes take the sizes they need, and their labels theirs. Text is taken as it is, dollars and all.

    Args:
        path: ends in .png, .svg or .pdf; missing folders are made, and an older file is replaced whole.
        width: in inches, without what reaches beyond.
        height: in inches, likewise.

    Raises:
        ArgumentError: the path is no picture's, or cannot be written.
    """
    path = _picture(path)
    with rc_context({"text.parse_math": False, "font.family": _fonts()}):
        figure = _Drawing(figsize=(width, height), dpi=DPI)
        FigureCanvasAgg(figure)
        yield figure
        picture = figure.picture(path.suffix[1:].lower())
    with refused_if_unwritable(path), replacing(path) as file:
        file.write(picture)


def check_picture(path: str | Path) -> None:
    """Find out whether `canvas` could write a picture, before there is one.

    Raises:
        ArgumentError: the path is no picture's, or cannot be written.
    """
    path = _picture(path)
    with refused_if_unwritable(path):
        check_replacing(path)


def _picture(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"The picture must end in {', '.join(SUFFIXES)}. Got '{path.name}' instead.")
    return path


def text_width(text: str, size: float) -> float:
    """The width of a line of text in inches.

    Args:
        text: the line.
        size: of its font, in points.
    """
    with _boxes_for_unknown_characters():
        font = FontProperties(family=_fonts(), size=size)
        pixels, _, _ = _RULER.get_text_width_height_descent(text, font, False)  # type: ignore[no-untyped-call]
    return float(pixels) / DPI


def shorten(text: str, longest: int) -> str:
    """The text on one line, its middle left out where it is longer than ``longest`` characters.

    >>> shorten("hyperparathyroidism", 9)
    'hype…dism'
    """
    line = " ".join(text.split())
    if len(line) <= longest:
        return line
    head = longest // 2
    return f"{line[:head]}…{line[len(line) - (longest - head - 1) :]}"


def beside(picture: str | Path, arrays: Mapping[str, ArrayLike], about: Mapping[str, str]) -> Path:
    """Write a picture's data beside it, as .npz.

    Args:
        picture: its path, with another suffix.
        arrays: by name.
        about: what each is, in the same names; kept as the text ``about``, a line an array.

    Raises:
        ArgumentError: the file cannot be written.
    """
    path = Path(picture).with_suffix(".npz")
    lines = "\n".join(f"{name}: {about[name]}" for name in arrays)
    with refused_if_unwritable(path), replacing(path) as file:
        np.savez_compressed(file, allow_pickle=False, about=np.array(lines), **dict(arrays))
    return path


def ink_on(red: float, green: float, blue: float) -> str:
    """The text colour that can be read on a colour, whose parts run from 0 to 1."""
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"
