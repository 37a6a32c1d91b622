"""The picture of a classifier's mistakes."""

from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from selfloop.errors import ArgumentError
from selfloop.inspect.canvas import BLUES, INK, PALE, REDS, RULE, canvas, ink_on, shorten, text_width
from selfloop.metrics import Confusion

COUNTED = 20
"""Up to so many classes each cell shows its share and its count; beyond them only the diagonal's shares are written."""

LONGEST = 24
"""Characters of a class's name."""

CELLS = ((3, 1.1), (10, 0.72), (20, 0.6), (30, 0.34), (40, 0.27), (55, 0.22))
"""Up to so many classes, the side of a cell in inches; beyond them the map keeps its size."""

WIDEST = 55 * 0.22

EMPTY = 0.93
"""The grey of a class that never is the truth."""


def draw_confusion(confusion: Confusion, path: str | Path, *, unit: str = "example") -> Figure:
    """Draw a confusion matrix: each row shows how the examples of one true class were predicted.

    A cell's percentage is its share of the row. It is blue where the prediction is right and red where it is wrong,
    and darker as the square root of the share, so that rare mistakes can be seen. Up to 20 classes, each cell has its
    percentage and, below, its count; of more, the percentage that is right stands at the end of each row.

    Args:
        confusion: of one class or more.
        path: the file to write; its suffix, .png, .svg or .pdf, is its format.
        unit: what is counted: ``example``, ``step``.

    Returns:
        The figure, which notebooks show.

    Raises:
        ArgumentError: there are no classes, or the picture cannot be written.

    Example:
        >>> import tempfile
        >>> confusion = Confusion.of(["cat", "dog"], true=[0, 0, 1], predicted=[0, 1, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = draw_confusion(confusion, f"{folder}/confusion.png")
        >>> figure.axes[0].get_ylabel()
        'true class'
    """
    K = len(confusion.classes)
    if K == 0:
        raise ArgumentError("A confusion needs at least one class to be drawn. Got none instead.")
    cell = next((size for most, size in CELLS if most >= K), WIDEST / K)
    names = [shorten(name, LONGEST) for name in confusion.classes]
    with canvas(path, cell * K, cell * K) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        colors = _colors(confusion.counts)
        _map(axes, colors)
        _names(axes, names, cell)
        if K <= COUNTED:
            _cells(axes, confusion.counts, colors, cell)
        else:
            _right(axes, confusion.counts, cell)
        side, left = cell * K, 0.3 if K <= COUNTED else 0.85
        _scale(figure.add_axes((1 + left / side, max(0, 1 - 2.4 / side), 0.44 / side, min(1, 2.4 / side))))
        axes.set_title(_summary(confusion, unit), fontsize=14, loc="left", color=INK, pad=12)
    return figure


def _colors(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K, K, 3): blue on the diagonal, red beside it, by the square root of the share; grey rows have no examples."""
    K = len(counts)
    support = counts.sum(1, keepdims=True)
    strength = np.sqrt(counts / np.maximum(support, 1))
    right = np.eye(K, dtype=bool)[:, :, None]
    colors = np.where(right, BLUES(strength), REDS(strength))[:, :, :3]
    return np.where(support[:, :, None] > 0, colors, EMPTY)


def _map(axes: Axes, colors: NDArray[np.float64]) -> None:
    K = len(colors)
    axes.imshow(colors, aspect="equal", interpolation="nearest")
    lines = np.arange(K + 1) - 0.5
    rule: dict[str, Any] = {"color": RULE, "linewidth": 0.6 if K <= 55 else 0.25, "clip_on": False}
    axes.hlines(lines, -0.5, K - 0.5, **rule)
    axes.vlines(lines, -0.5, K - 0.5, **rule)
    axes.spines[:].set_visible(False)


def _names(axes: Axes, names: list[str], cell: float) -> None:
    step, size = _fit(cell)
    places = np.arange(0, len(names), step)
    shown = names[::step]
    across = all(text_width(name, size) < 0.92 * cell for name in names)
    axes.set_yticks(places, shown, fontsize=size, color=INK)
    axes.set_xticks(places, shown, fontsize=size, color=INK, rotation=0 if across else 90 if cell < 0.4 else 45)
    if not across and cell >= 0.4:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.tick_params(length=0, pad=5)
    axes.set_xlabel("predicted class", fontsize=13, color=INK, labelpad=8)
    axes.set_ylabel("true class", fontsize=13, color=INK, labelpad=8)


def _fit(cell: float) -> tuple[int, float]:
    """Every how many rows there is room for a line of text, and its size in points."""
    return ceil(0.19 / cell), min(13.0, max(10.0, 24 * cell))


def _cells(axes: Axes, counts: NDArray[np.int64], colors: NDArray[np.float64], cell: float) -> None:
    """In each cell its share of the row, and below it, smaller, its count."""
    size = min(14.0, 20 * cell)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            number = f"{count:,}" if count < 100_000 else f"{count:.1e}".replace("e+0", "e")
            ink = ink_on(*colors[row, column])
            place: dict[str, Any] = {"ha": "center", "va": "center_baseline", "color": ink}
            for below, text, most in ((-0.12, percent(count / counts[row].sum()), size), (0.24, number, 0.78 * size)):
                fitting = most * min(1, 0.9 * cell / text_width(text, most))
                axes.text(column, row + below, text, fontsize=fitting, **place)


def _right(axes: Axes, counts: NDArray[np.int64], cell: float) -> None:
    """At the end of each row the share that is right."""
    step, size = _fit(cell)
    rows = [row for row in range(0, len(counts), step) if counts[row].sum()]
    for row in rows:
        share = percent(counts[row, row] / counts[row].sum())
        axes.text(len(counts) - 0.35, row, share, va="center", fontsize=size, color=INK)
    axes.text(len(counts) - 0.35, -0.9, "right", va="bottom", fontsize=11, color=PALE)


def percent(share: float) -> str:
    """A share as a percentage that is 0 or 100 only where the share is 0 or 1.

    >>> percent(0.456), percent(0.0096), percent(0.999), percent(0.00001), percent(1)
    ('46%', '1%', '99.9%', '<0.1%', '100%')
    """
    if 0.0095 <= share <= 0.9905 or share in (0, 1):
        return f"{share:.0%}"
    return "<0.1%" if share < 0.0005 else ">99.9%" if share >= 0.9995 else f"{share:.1%}"


def _scale(axes: Axes) -> None:
    """Two bars, from nothing to the whole row."""
    strength = np.linspace(1, 0, 256)[:, None]
    bars = np.concatenate([BLUES(strength), REDS(strength)], axis=1)
    axes.imshow(bars, aspect="auto", interpolation="nearest", extent=(0, 2, 0, 1))
    shares = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]
    axes.set_yticks(np.sqrt(shares), [f"{share:.0%}" for share in shares], fontsize=11, color=INK)
    axes.yaxis.tick_right()
    axes.set_xticks([0.5, 1.5], ["right", "wrong"], fontsize=11, color=INK, rotation=90)
    axes.set_title("share of\ntrue class", fontsize=11, color=INK, loc="left", pad=12)
    axes.tick_params(length=0)
    axes.spines[:].set_color(RULE)


def _summary(confusion: Confusion, unit: str) -> str:
    total = int(confusion.counts.sum())
    if not total:
        return f"no {unit}s"
    count = f"{total:,} {unit}{'' if total == 1 else 's'}"
    return f"accuracy {confusion.accuracy:.1%}\nmacro F1 {confusion.macro_f1:.3f}\n{count}"
