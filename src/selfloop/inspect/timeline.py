"""The picture of labelled sequences: what was there and what was predicted, over time."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from selfloop.errors import ArgumentError
from selfloop.inspect.canvas import INK, OKABE_ITO, PALE, canvas, ink_on, shorten
from selfloop.metrics import segments

# In inches.
WIDTH, BAND, STRIP, GAP = 9.0, 0.36, 0.07, 0.34

EMPTY = "#EDEDED"
"""Where no true label is known."""

Color = tuple[float, float, float]


def draw_timeline(
    names: Sequence[str],
    true: Sequence[ArrayLike],
    predicted: Sequence[ArrayLike],
    classes: Sequence[str],
    path: str | Path,
    *,
    frames_per_second: float | None = None,
) -> Figure:
    """Draw each sequence as two bands, the true labels above the predicted ones; a dark line marks the mistakes.

    Args:
        names: the N sequences' names.
        true: for each sequence the indices of its true classes, (T,); negative where none is known.
        predicted: for each sequence the indices of the predicted classes, (T,).
        classes: the K classes' names.
        path: the picture; its suffix, .png, .svg or .pdf, is its format.
        frames_per_second: gives the time axis in seconds; without it, it counts frames.

    Returns:
        The figure, which notebooks show.

    Raises:
        ArgumentError: names, labels and classes do not fit each other, or the picture cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = draw_timeline(["clip"], [[0, 0, 1]], [[0, 1, 1]], ["rest", "wave"], f"{folder}/clip.svg")
        >>> figure.axes[0].get_xlabel()
        'time, frames'
    """
    if frames_per_second is not None and not frames_per_second > 0:
        raise ArgumentError(f"The 'frames_per_second' of draw_timeline must be above 0. Got {frames_per_second}.")
    truth, prediction = _labels(names, true, predicted, len(classes))
    rate = frames_per_second or 1.0
    block = 2 * BAND + STRIP + GAP
    longest = max(map(len, truth)) / rate
    occurring = sorted({int(label) for labels in (*truth, *prediction) for label in np.unique(labels) if label >= 0})
    colors = {label: _color(label) for label in occurring}
    height = block * len(names) - GAP
    with canvas(path, WIDTH, height) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, longest)
        axes.set_ylim(height, 0)
        for number, (name, t, p) in enumerate(zip(names, truth, prediction, strict=True)):
            top = number * block
            axes.barh(top + BAND / 2, len(t) / rate, height=BAND, color=EMPTY, zorder=1)
            for y, labels in ((top, t), (top + BAND + STRIP, p)):
                _band(axes, y, labels, rate, WIDTH / longest, classes, colors)
            _mistakes(axes, top + BAND, t, p, rate)
            _captions(axes, top, shorten(name, 28), t, p, rate)
        _axis(axes, "frames" if frames_per_second is None else "seconds")
        gaps = any((t < 0).any() for t in truth)
        _legend(axes, classes, colors, gaps, height)
    return figure


def _labels(
    names: Sequence[str], true: Sequence[ArrayLike], predicted: Sequence[ArrayLike], K: int
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    if not len(names) == len(true) == len(predicted) or not names:
        raise ArgumentError(
            f"draw_timeline needs a name, true and predicted labels for each sequence. "
            f"Got {len(names)} names, {len(true)} true and {len(predicted)} predicted sequences."
        )
    truth, prediction = [np.asarray(labels) for labels in true], [np.asarray(labels) for labels in predicted]
    for name, t, p in zip(names, truth, prediction, strict=True):
        if t.ndim != 1 or t.shape != p.shape or not t.size:
            raise ArgumentError(
                f"draw_timeline needs a true and a predicted label for each frame. "
                f"Got shapes {t.shape} and {p.shape} for '{name}'."
            )
        if (
            t.dtype.kind not in "iu"
            or p.dtype.kind not in "iu"
            or max(t.max(), p.max()) >= K
            or p[t >= 0].min(initial=0) < 0
        ):
            raise ArgumentError(
                f"The labels of draw_timeline must be indices of {K} classes; those of '{name}' are not."
            )
    return truth, prediction


def _color(label: int) -> tuple[Color, str]:
    """A class's colour and hatch: seven hues, then darker and lighter ones, then these again, hatched."""
    hue = np.array(to_rgb(OKABE_ITO[label % 7]))
    shade, pattern = label // 7 % 3, label // 21 % 4
    r, g, b = (hue, 0.5 * hue, 0.55 + 0.45 * hue)[shade]
    return (float(r), float(g), float(b)), ("", "////", "....", "xxxx")[pattern]


def _band(
    axes: Axes,
    top: float,
    labels: NDArray[np.int64],
    rate: float,
    inches: float,
    classes: Sequence[str],
    colors: dict[int, tuple[Color, str]],
) -> None:
    """The runs of one row; a run that has room for its class's name carries it."""
    runs = [(int(labels[s]), s / rate, (e - s) / rate) for _, s, e in segments(labels.tolist())]
    for label, (color, hatch) in colors.items():
        places = [(start, length) for other, start, length in runs if other == label]
        edge = (1.0, 1.0, 1.0, 0.6)
        axes.broken_barh(places, (top, BAND), facecolor=color, hatch=hatch, edgecolor=edge, linewidth=0, zorder=2)
    for label, start, length in runs:
        name = shorten(classes[label], 40) if label >= 0 else ""
        if name and 0.083 * len(name) + 0.1 < length * inches:
            color, hatch = colors[label]
            behind = {"facecolor": color, "edgecolor": "none", "pad": 1.5} if hatch else None
            axes.text(
                start + length / 2, top + BAND / 2, name, ha="center", va="center_baseline", fontsize=11,
                color=ink_on(*color), bbox=behind, zorder=3,
            )  # fmt: skip


def _mistakes(axes: Axes, top: float, t: NDArray[np.int64], p: NDArray[np.int64], rate: float) -> None:
    wrong = segments(((t != p) & (t >= 0)).tolist())
    places = [(start / rate, (end - start) / rate) for is_wrong, start, end in wrong if is_wrong]
    axes.broken_barh(places, (top, STRIP), facecolor=INK, linewidth=0, zorder=2)


def _captions(axes: Axes, top: float, name: str, t: NDArray[np.int64], p: NDArray[np.int64], rate: float) -> None:
    """On the left the sequence's name and the rows', on the right its accuracy."""
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center_baseline", "fontsize": 11}
    bottom = top + BAND + STRIP
    axes.text(-0.01, top + BAND / 2, "true", ha="right", color=PALE, **place)
    axes.text(-0.01, bottom + BAND / 2, "predicted", ha="right", color=PALE, **place)
    axes.text(-0.105, bottom - STRIP / 2, name, ha="right", color=INK, **{**place, "fontsize": 12})
    judged = t >= 0
    if judged.any():
        accuracy = float((t == p)[judged].mean())
        axes.text(len(t) / rate, bottom - STRIP / 2, f"  {accuracy:.1%}", va="center_baseline", fontsize=12, color=INK)


def _axis(axes: Axes, unit: str) -> None:
    axes.set_xlabel(f"time, {unit}", fontsize=13, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=unit == "frames"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
    axes.tick_params(axis="x", labelsize=12, labelcolor=INK, pad=6)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_position(("outward", 8))


def _legend(
    axes: Axes, classes: Sequence[str], colors: dict[int, tuple[Color, str]], gaps: bool, height: float
) -> None:
    keys = [
        Patch(facecolor=color, hatch=hatch, edgecolor=(1, 1, 1, 0.6), linewidth=0, label=shorten(classes[label], 28))
        for label, (color, hatch) in colors.items()
    ]
    keys.append(Patch(facecolor=INK, label="mistake"))
    if gaps:
        keys.append(Patch(facecolor=EMPTY, label="no true label"))
    widest = max(len(str(key.get_label())) for key in keys)
    columns = min(len(keys), max(1, int(WIDTH / (0.6 + 0.088 * widest))))
    columns = ceil(len(keys) / ceil(len(keys) / columns))  # of equal length
    axes.legend(
        handles=keys, ncols=columns, frameon=False, fontsize=12, labelcolor=INK, loc="upper left", borderaxespad=0,
        bbox_to_anchor=(0, -0.78 / height), handlelength=1.6, handleheight=1.1, columnspacing=1.6, borderpad=0,
    )  # fmt: skip
