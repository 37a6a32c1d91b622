"""The picture of a benchmark: how many times faster than each peer."""

import io
from collections.abc import Sequence
from itertools import groupby
from math import ceil
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from selfloop.atomic import refused_if_unwritable, replacing
from selfloop.bench.cases import Case
from selfloop.bench.rows import Row
from selfloop.bench.timing import Spread

# Of Okabe and Ito's colours, which colour-blind readers can tell apart; light enough to show a dark line on them.
FASTER, SLOWER, INK, PALE = "#56B4E9", "#E69F00", "#222222", "#767676"

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
FINE_TICKS = (0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
"""Where the axis is short."""

TALLEST = 50
"""How many lines a column of the picture has, before it gets another."""

# In inches.
LABELS, BARS, MARGIN, LINE, ABOVE, BELOW = 2.75, 4.3, 0.25, 0.27, 0.62, 1.3

Line = str | tuple[tuple[str, str], Spread]
"""A heading, or a cell and its shape with their ratio."""


def draw(rows: Sequence[Row], path: Path, machine: str) -> None:
    """Draw the ratios as bars from 1, with their quartiles, on a logarithmic axis.

    Args:
        rows: what was measured; rows without times are left out.
        path: the picture, written over where it exists.
        machine: a line about the machine, below the bars.

    Raises:
        ArgumentError: the picture cannot be written.
    """
    columns = _columns(rows)
    limits = _limits([row.ratio for row in rows if row.ratio])
    step = MARGIN + LABELS + BARS
    width, height = step * len(columns) + MARGIN, ABOVE + BELOW + LINE * max(map(len, columns))
    figure = Figure(figsize=(width, height), dpi=130)
    FigureCanvasAgg(figure)
    left, top = MARGIN / width, 1 - 0.2 / height
    title = "How many times faster selfloop is than its peers"
    figure.text(left, top, title, fontsize=16, weight="bold", va="top", color=INK)
    figure.text(left, 0.15 / height, fill(machine, 88 * len(columns)), fontsize=11, va="bottom", color=PALE)
    for number, lines in enumerate(columns):
        tall = LINE * len(lines)
        place = (step * number + MARGIN + LABELS) / width, (height - ABOVE - tall) / height
        _column(figure.add_axes((*place, BARS / width, tall / height)), lines, limits)
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:].lower())
    with refused_if_unwritable(path), replacing(path) as file:
        file.write(picture.getvalue())


def _columns(rows: Sequence[Row]) -> list[list[Line]]:
    """Headings and bars, in columns of about one height that begin with a heading."""
    parts: list[list[Line]] = []
    for title, of_title in groupby(rows, key=lambda row: row.case.title):
        timed = [(_label(row.case), row.ratio) for row in of_title if row.ratio]
        parts += [[title, *timed]] if timed else []
    total = sum(map(len, parts))
    height = total / max(1, ceil(total / TALLEST))
    columns: list[list[Line]] = [[]]
    for part in parts:
        if columns[-1] and len(columns[-1]) + len(part) / 2 > height:
            columns.append([])
        columns[-1] += part
    return columns


def _label(case: Case) -> tuple[str, str]:
    inputs = f"{case.I}→" if case.I != case.H else ""
    return f"{case.cell} {inputs}{case.H}", "" if case.mode == "step" else f"T {case.T}, B {case.B}"


def _limits(ratios: Sequence[Spread]) -> tuple[float, float]:
    """The ends of the axis, with room for the numbers at the bars' ends."""
    low = min([0.9, *(ratio.low for ratio in ratios)])
    high = max([1.5, *(ratio.high for ratio in ratios)])
    room = (high / low) ** 0.15
    return low / (room if low < 0.9 else 1), high * room


def _column(axes: Any, lines: Sequence[Line], limits: tuple[float, float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.axvline(1, color=INK, linewidth=1.2, zorder=3)
    for y, line in enumerate(lines):
        if isinstance(line, str):
            _heading(axes, y, line)
        else:
            _labels(axes, y, *line[0])
            _bar(axes, y, line[1])
    ticks = FINE_TICKS if limits[1] / limits[0] < 10 else TICKS
    axes.set_yticks([])
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if limits[0] <= tick <= limits[1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    axes.set_xlabel("time of the peer / our time, median and quartiles", fontsize=12, color=INK)
    axes.tick_params(axis="x", labelsize=12, labelcolor=INK)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _heading(axes: Any, y: int, title: str) -> None:
    axes.text(
        -LABELS / BARS, y + 0.14, title, transform=axes.get_yaxis_transform(), fontsize=12, weight="bold", color=INK,
        va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 2}, zorder=4,
    )  # fmt: skip


def _labels(axes: Any, y: int, name: str, shape: str) -> None:
    place = {"transform": axes.get_yaxis_transform(), "va": "center_baseline", "fontsize": 11}
    axes.text(-LABELS / BARS, y, name, color=INK, **place)
    axes.text(-0.02, y, shape, color=PALE, ha="right", **place)


def _bar(axes: Any, y: int, ratio: Spread) -> None:
    faster = ratio.median >= 1
    axes.barh(y, ratio.median - 1, left=1, height=0.66, color=FASTER if faster else SLOWER, zorder=2)
    axes.plot([ratio.low, ratio.high], [y, y], color=INK, linewidth=1.5, solid_capstyle="butt", zorder=5)
    end, side, shift = (max(ratio.high, 1), "left", 5) if faster else (min(ratio.low, 1), "right", -5)
    number = f"{ratio.median:.{2 if ratio.median < 10 else 1}f}"
    axes.annotate(
        number, (end, y), xytext=(shift, 0), textcoords="offset points", fontsize=11, color=INK,
        ha=side, va="center_baseline", zorder=5,
    )  # fmt: skip
