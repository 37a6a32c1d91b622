"""The picture of labelled sequences: what was there and what was predicted, over time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
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
from selfloop.inspect.canvas import INK, OKABE_ITO, PALE, canvas, ink_on, shorten, text_width
from selfloop.metrics import segments

# In inches.
WIDTH, BAND, STRIP, GAP, WORD = 9.0, 0.36, 0.07, 0.34, 0.22

EMPTY, BACKGROUND = "#F3F3F3", "#D3D3D3"
"""Where no true label is known; of the classes that mean that nothing is there."""

NOTHING = frozenset({"o", "sil", "silence", "none", "nothing", "background", "blank", "other", "_"})
"""Names of such classes, in lower case."""

TAG = re.compile(r"([BIELSU])-(.+)")
"""A tag of an entity: B-person begins one, I-person, E-person and L-person go on."""

Color = tuple[float, float, float]
Labels = NDArray[np.int64]


def draw_timeline(
    names: Sequence[str],
    true: Sequence[ArrayLike],
    predicted: Sequence[ArrayLike],
    classes: Sequence[str],
    path: str | Path,
    *,
    words: Sequence[Sequence[str]] | None = None,
    frames_per_second: float | None = None,
) -> Figure:
    """Draw each sequence as two bands, the true labels above the predicted ones; a dark line marks the mistakes.

    Classes that mean that nothing is there, such as ``O`` and ``sil``, are grey. ``B-person`` and ``I-person`` have one
    hue.

    Args:
        names: the N sequences' names.
        true: for each sequence the indices of its true classes, (T,); negative where none is known.
        predicted: for each sequence the indices of the predicted classes, (T,).
        classes: the K classes' names.
        path: the file to write; its suffix, .png, .svg or .pdf, is its format.
        words: for each sequence its T words, which are written under their labels. A step is then as wide as its word,
            and a long sequence continues on the next line.
        frames_per_second: the time axis counts seconds; without it, steps.

    Returns:
        The figure, which notebooks show.

    Raises:
        ArgumentError: names, labels, words and classes do not fit each other, or the picture cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = draw_timeline(["clip"], [[0, 0, 1]], [[0, 1, 1]], ["rest", "wave"], f"{folder}/clip.svg")
        >>> figure.axes[0].get_xlabel()
        'time, steps'
    """
    if frames_per_second is not None and not frames_per_second > 0:
        raise ArgumentError(f"The 'frames_per_second' of draw_timeline must be above 0. Got {frames_per_second}.")
    truth, prediction = _labels(names, true, predicted, len(classes))
    rate = frames_per_second or 1.0
    if words is None:
        lines = [
            _Line(name, t, p, np.arange(len(t) + 1) / rate, whole=(t, p))
            for name, t, p in zip(names, truth, prediction, strict=True)
        ]
        width, longest = WIDTH, max(map(len, truth)) / rate
    else:
        lines = _sentences(names, truth, prediction, classes, words)
        width = longest = max(line.edges[-1] for line in lines)
    occurring = {int(label) for labels in (*truth, *prediction) for label in np.unique(labels) if label >= 0}
    colors = {label: color for label, color in enumerate(_colors(classes)) if label in occurring}
    known = any((t >= 0).any() for t in truth)
    below = BAND + STRIP if known else 0.0  # of the predicted band
    block = below + BAND + GAP + (WORD if words is not None else 0)
    height = block * len(lines) - GAP
    with canvas(path, width, height) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, longest)
        axes.set_ylim(height, 0)
        for number, line in enumerate(lines):
            top = number * block
            if known:
                axes.barh(top + BAND / 2, line.edges[-1], height=BAND, color=EMPTY, zorder=1)
                _band(axes, top, line, line.true, width / longest, classes, colors)
                _mistakes(axes, top + BAND, line)
            _band(axes, top + below, line, line.predicted, width / longest, classes, colors)
            _captions(axes, top, below, width, line)
        _axis(axes, None if words is not None else "steps" if frames_per_second is None else "seconds")
        keys = _keys(classes, colors, named=words is not None)
        keys += [Patch(facecolor=INK, label="mistake")] if known else []
        keys += [Patch(facecolor=EMPTY, label="no true label")] if known and any((t < 0).any() for t in truth) else []
        _legend(axes, keys, (0.25 if words is not None else 0.78) / height)
    return figure


@dataclass(frozen=True)
class _Line:
    """Steps of one sequence that stand side by side.

    Attributes:
        name: of the sequence, where it begins.
        true, predicted: (n,), the labels.
        edges: (n + 1,), where the steps begin and the last one ends, in units of the axis.
        words: n of them, or none.
        whole: true and predicted labels of the sequence, where it ends.
    """

    name: str
    true: Labels
    predicted: Labels
    edges: NDArray[np.float64]
    words: Sequence[str] = ()
    whole: tuple[Labels, Labels] | None = None


def _sentences(
    names: Sequence[str],
    truth: list[Labels],
    prediction: list[Labels],
    classes: Sequence[str],
    words: Sequence[Sequence[str]],
) -> list[_Line]:
    """Each sentence, broken into lines of `WIDTH`: a step has room for its word and for the names of its labels."""
    if [len(sentence) for sentence in words] != [len(t) for t in truth]:
        raise ArgumentError(
            f"The 'words' of draw_timeline must be one for each label. "
            f"Got {[len(sentence) for sentence in words]} words for {[len(t) for t in truth]} labels."
        )
    lines = []
    for name, t, p, sentence in zip(names, truth, prediction, words, strict=True):
        shown = [shorten(word, 24) or "∅" for word in sentence]
        widths = [
            0.12 + max(text_width(text, 11) for text in (word, *(_name(classes, label) for label in labels)))
            for word, *labels in zip(shown, t, p, strict=True)
        ]
        start = 0
        while start < len(t):
            end = start + 1
            while end < len(t) and sum(widths[start : end + 1]) <= WIDTH:
                end += 1
            edges = np.concatenate([[0.0], np.cumsum(widths[start:end])])
            lines.append(
                _Line(
                    "" if start else name, t[start:end], p[start:end], edges, shown[start:end],
                    (t, p) if end == len(t) else None,
                )
            )  # fmt: skip
            start = end
    return lines


def _name(classes: Sequence[str], label: int) -> str:
    """What is written on a step of this class."""
    return "" if label < 0 or classes[label].lower() in NOTHING else shorten(classes[label], 40)


def _labels(
    names: Sequence[str], true: Sequence[ArrayLike], predicted: Sequence[ArrayLike], K: int
) -> tuple[list[Labels], list[Labels]]:
    if not len(names) == len(true) == len(predicted) or not names:
        raise ArgumentError(
            f"draw_timeline needs a name, true and predicted labels for each sequence. "
            f"Got {len(names)} names, {len(true)} true and {len(predicted)} predicted sequences."
        )
    truth, prediction = [np.asarray(labels) for labels in true], [np.asarray(labels) for labels in predicted]
    for name, t, p in zip(names, truth, prediction, strict=True):
        if t.ndim != 1 or t.shape != p.shape or not t.size:
            raise ArgumentError(
                f"draw_timeline needs a true and a predicted label for each step. "
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


def _colors(classes: Sequence[str]) -> list[tuple[Color, str]]:
    """Of each class: grey where nothing is there, one hue for the tags of an entity, paler where these go on."""
    numbers: dict[str, int] = {}
    colors = list[tuple[Color, str]]()
    for name in classes:
        if name.lower() in NOTHING:
            colors.append((to_rgb(BACKGROUND), ""))
            continue
        tag = TAG.fullmatch(name)
        (r, g, b), hatch = _color(numbers.setdefault(tag[2] if tag else name, len(numbers)))
        pale = 0.4 if tag and tag[1] in "IEL" else 0.0
        colors.append(((r + pale * (1 - r), g + pale * (1 - g), b + pale * (1 - b)), hatch))
    return colors


def _band(
    axes: Axes,
    top: float,
    line: _Line,
    labels: Labels,
    inches: float,
    classes: Sequence[str],
    colors: dict[int, tuple[Color, str]],
) -> None:
    """One row of a line: a box for each run of equal labels, or for each word, with the label's name if it fits."""
    runs = [(k, k + 1) for k in range(len(labels))] if line.words else [run[1:] for run in segments(labels.tolist())]
    boxes = [(int(labels[start]), line.edges[start], line.edges[end] - line.edges[start]) for start, end in runs]
    width = 1.5 if line.words else 0
    for label, (color, hatch) in colors.items():
        places = [(start, length) for other, start, length in boxes if other == label]
        edge = (1.0, 1.0, 1.0, 1.0 if line.words else 0.6)
        axes.broken_barh(places, (top, BAND), facecolor=color, hatch=hatch, edgecolor=edge, linewidth=width, zorder=2)
    for label, start, length in boxes:
        name = _name(classes, label) if line.words else shorten(classes[label], 40) if label >= 0 else ""
        if name and (line.words or text_width(name, 11) + 0.08 < length * inches):
            color, hatch = colors[label]
            behind = {"facecolor": color, "edgecolor": "none", "pad": 1.5} if hatch else None
            axes.text(
                start + length / 2, top + BAND / 2, name, ha="center", va="center_baseline", fontsize=11,
                color=ink_on(*color), bbox=behind, zorder=3,
            )  # fmt: skip


def _mistakes(axes: Axes, top: float, line: _Line) -> None:
    wrong = segments(((line.true != line.predicted) & (line.true >= 0)).tolist())
    places = [(line.edges[start], line.edges[end] - line.edges[start]) for is_wrong, start, end in wrong if is_wrong]
    axes.broken_barh(places, (top, STRIP), facecolor=INK, linewidth=0, zorder=2)


def _captions(axes: Axes, top: float, below: float, width: float, line: _Line) -> None:
    """On the left the sequence's name and the rows', below the words, on the right where it ends its accuracy."""
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center_baseline", "fontsize": 11}
    bottom = top + below
    middle = top + (below + BAND) / 2
    if below:
        axes.text(-0.09 / width, top + BAND / 2, "true", ha="right", color=PALE, **place)
    axes.text(-0.09 / width, bottom + BAND / 2, "predicted", ha="right", color=PALE, **place)
    axes.text(-0.95 / width, middle, line.name, ha="right", color=INK, **{**place, "fontsize": 12})
    for word, start, end in zip(line.words, line.edges, line.edges[1:], strict=False):
        axes.text(
            (start + end) / 2, bottom + BAND + 0.55 * WORD, word, ha="center", va="center_baseline", fontsize=11,
            color=INK,
        )  # fmt: skip
    if line.whole is not None:
        t, p = line.whole
        judged = t >= 0
        if judged.any():
            share = f"  {float((t == p)[judged].mean()):.1%} right"
            axes.text(line.edges[-1], middle, share, va="center_baseline", fontsize=12, color=INK)


def _axis(axes: Axes, unit: str | None) -> None:
    """The axis of time, if there is one."""
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    if unit is None:
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        return
    axes.set_xlabel(f"time, {unit}", fontsize=13, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=unit == "steps"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
    axes.tick_params(axis="x", labelsize=12, labelcolor=INK, pad=6)
    axes.spines["bottom"].set_position(("outward", 8))


def _keys(classes: Sequence[str], colors: dict[int, tuple[Color, str]], named: bool) -> list[Patch]:
    """Of all classes, or, where the boxes name theirs, of those that mean that nothing is there."""
    return [
        Patch(facecolor=color, hatch=hatch, edgecolor=(1, 1, 1, 0.6), linewidth=0, label=shorten(classes[label], 28))
        for label, (color, hatch) in colors.items()
        if not (named and _name(classes, label))
    ]


def _legend(axes: Axes, keys: list[Patch], below: float) -> None:
    if not keys:
        return
    widest = max(len(str(key.get_label())) for key in keys)
    columns = min(len(keys), max(1, int(WIDTH / (0.6 + 0.088 * widest))))
    columns = ceil(len(keys) / ceil(len(keys) / columns))  # of equal length
    axes.legend(
        handles=keys, ncols=columns, frameon=False, fontsize=12, labelcolor=INK, loc="upper left", borderaxespad=0,
        bbox_to_anchor=(0, -below), handlelength=1.6, handleheight=1.1, columnspacing=1.6, borderpad=0,
    )  # fmt: skip
