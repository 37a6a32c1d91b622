"""The picture of units that follow something: a text in the colours of a unit, or its values as a line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from selfloop.errors import ArgumentError
from selfloop.inspect.canvas import (
    INK,
    OKABE_ITO,
    PALE,
    RULE,
    SIGNED,
    beside,
    canvas,
    ink_on,
    monospaced,
    shorten,
    text_width,
)
from selfloop.inspect.gates import Gates
from selfloop.inspect.probes import Followed

MOST = 6
"""Units that are drawn."""

WIDTH = 9.6
"""Of the picture's axes, in inches."""

CELL, LINE = 0.105, 0.235
"""The width of a character and the height of a line of text, in inches."""

LINES = 8
"""Of text for each unit, at the most."""

SEQUENCES, TRACE, STRIP = 4, 0.85, 0.2
"""Sequences of numbers that stand end to end, and the heights of a unit's line and of what it follows, in inches."""

TITLE, GAP = 0.52, 0.3
"""What a unit's heading takes, and the room below a unit."""


def draw_units(gates: Gates, path: str | Path) -> Figure:
    """Draw the units that follow something, each with its score (Karpathy et al. 2015).

    Of a text each token has the colour of the unit's value after it, as in "Visualizing and understanding recurrent
    networks", and a dark line under it where what the unit follows is so. Of numbers and frames the unit's value is a
    line, with what it follows under it. What is shown are sequences that the unit was not chosen by. The data lie
    beside the picture, as .npz.

    Args:
        gates: of a trained stack, with a unit that follows something or more.
        path: the file to write; its suffix, .png, .svg or .pdf, is its format.

    Returns:
        The figure, which notebooks show.

    Raises:
        ArgumentError: no unit follows anything, or the picture cannot be written.
    """
    if not gates.followed:
        raise ArgumentError("The 'gates' of draw_units must have a unit that follows something. Got none.")
    drawn = [_Drawn.of(gates, one) for one in gates.followed[:MOST]]
    left_out = gates.followed[MOST:]
    height = sum(TITLE + one.height + GAP for one in drawn) + (0.25 if left_out else 0)
    with canvas(path, WIDTH, height) as figure:
        y = 0.0
        for one in drawn:
            y += TITLE
            axes = figure.add_axes((0, 1 - (y + one.height) / height, 1, one.height / height))
            axes.set_xlim(0, WIDTH)
            axes.set_ylim(one.height, 0)
            axes.set_axis_off()
            _heading(axes, gates, one)
            if one.lines:
                _text(axes, one)
            else:
                _traces(axes, one)
            y += one.height + GAP
        if left_out:
            more = f"and {', '.join(one.what for one in left_out)}: in the .npz"
            figure.text(0, 0, shorten(more, 110), fontsize=11, color=PALE)
    _save(gates, path)
    return figure


@dataclass(frozen=True)
class _Drawn:
    """A unit and what of it is drawn.

    Attributes:
        followed: what it is.
        values, facts: of the unit and of what it follows, (T, B).
        columns: the sequences that are drawn.
        lengths: of all sequences.
        names: of all sequences.
        lines: of a text for each line the sequence and the step of each token, with the token.
        words: whether the tokens are words, which have their own widths.
        low, high: the values at the ends of the colours and of the line's axis.
    """

    followed: Followed
    values: NDArray[np.floating]
    facts: NDArray[np.float64]
    columns: list[int]
    lengths: NDArray[np.int64]
    names: Sequence[str]
    lines: list[list[tuple[int, int, str]]]
    words: bool
    low: float
    high: float

    @classmethod
    def of(cls, gates: Gates, one: Followed) -> "_Drawn":
        """With sequences that it was not chosen by."""
        values = gates.layers[one.layer].states[one.state][:, :, one.unit]
        facts = gates.facts[one.what]
        order = _telling(facts, one.is_number)
        columns = sorted(order[:SEQUENCES])
        words = any(len(token) > 1 for text in gates.steps for token in text)
        lines: list[list[tuple[int, int, str]]] = []
        if gates.steps:
            columns = []
            for column in order:
                lines += _lines(gates.steps[column], column, words)
                columns.append(column)
                if len(lines) >= LINES:
                    break
        shown = values[:, columns]
        low, high = np.nanquantile(shown, (0.02, 0.98))
        if not high > low:
            low, high = low - 1, high + 1
        return cls(
            one, values, facts, columns, gates.lengths, gates.names, lines[:LINES], words, float(low), float(high)
        )

    @property
    def height(self) -> float:
        """In inches."""
        return LINE * len(self.lines) if self.lines else TRACE + STRIP + 0.1


def _telling(facts: NDArray[np.float64], is_number: bool) -> list[int]:
    """The sequences to be judged on, those first in which there is the most to see."""
    held_out = list(range(1, facts.shape[1], 2)) or [0]
    known = [column for column in held_out if np.isfinite(facts[:, column]).any()]
    if is_number:
        return sorted(known, key=lambda column: -float(np.nanstd(facts[:, column])))
    share = {column: float(np.nanmean(facts[:, column])) for column in known}
    if all(one in (0, 1) for one in share.values()):  # of whole sequences: one that is so beside one that is not
        so, other = [c for c in known if share[c] == 1], [c for c in known if share[c] == 0]
        both = [column for pair in zip(so, other, strict=False) for column in pair]
        return both + [column for column in known if column not in both]
    return sorted(known, key=lambda column: abs(share[column] - 0.5))


def _lines(text: Sequence[str], column: int, words: bool) -> Iterator[list[tuple[int, int, str]]]:
    """The text of a sequence, broken where its lines end and where the picture does."""
    line: list[tuple[int, int, str]] = []
    reached = 0.0
    for step, token in enumerate(text):
        width = _width(token, words)
        if line and reached + width > WIDTH:
            yield line
            line, reached = [], 0.0
        line.append((column, step, token))
        reached += width
        if "\n" in token:
            yield line
            line, reached = [], 0.0
    if line:
        yield line


def _width(token: str, words: bool) -> float:
    return text_width(_visible(token), 10) + 0.1 if words else CELL


def _visible(token: str) -> str:
    shown = token.replace("\n", "↵").replace("\t", "⇥") if token else "·"
    shown = "".join(c if c.isprintable() else "�" for c in shown)
    return shown if len(shown) == 1 else shorten(shown, 24) or "␣"


def _heading(axes: Axes, gates: Gates, one: _Drawn) -> None:
    """What it follows, which unit it is and how well it does; and the scale of its colours."""
    unit = one.followed
    axes.text(0, -0.27, unit.what, fontsize=14, fontweight="bold", color=INK)
    place = f"unit {unit.unit} of {unit.state}, {gates.layers[unit.layer].title}"
    score = f"{unit.measure} {unit.score:.2f} (all units of {unit.state} together {unit.by_all:.2f})"
    falls = "" if unit.sign > 0 else ", falls with it"
    axes.text(0, -0.08, f"{place}: {score}{falls}", fontsize=11, color=PALE)
    if not one.lines:
        return
    scale = axes.inset_axes((WIDTH - 1.5, -0.2, 1.0, 0.1), transform=axes.transData)
    scale.imshow(np.linspace(0, 1, 128)[None], cmap=SIGNED, aspect="auto", interpolation="none")
    scale.set_axis_off()
    place_of: dict[str, Any] = {"fontsize": 10, "color": PALE, "va": "center_baseline", "transform": scale.transAxes}
    scale.text(-0.06, 0.5, f"{one.low:.2g}".replace("-", "−"), ha="right", **place_of)
    scale.text(1.06, 0.5, f"{one.high:.2g}".replace("-", "−"), ha="left", **place_of)


def _text(axes: Axes, one: _Drawn) -> None:
    """Lines of tokens in the colours of the unit's values."""
    boxes, colors, marks = [], [], []
    font: dict[str, Any] = {"fontsize": 10} if one.words else {"fontsize": 9.5, "family": monospaced()}
    for number, line in enumerate(one.lines):
        x = 0.0
        for column, step, token in line:
            width = _width(token, one.words)
            value = float(one.values[step, column])
            color = SIGNED(np.clip((value - one.low) / (one.high - one.low), 0, 1))
            boxes.append(Rectangle((x, LINE * number), width, LINE - 0.045))
            colors.append(color)
            if not one.followed.is_number and one.facts[step, column] == 1:
                marks.append(Rectangle((x, LINE * (number + 1) - 0.045), width, 0.03))
            shown = _visible(token)
            if shown != " ":
                axes.text(
                    x + width / 2, LINE * (number + 0.5) - 0.022, shown, ha="center", va="center_baseline",
                    color=ink_on(*color[:3]), **font,
                )  # fmt: skip
            x += width
    axes.add_collection(PatchCollection(boxes, facecolors=colors, linewidths=0))
    axes.add_collection(PatchCollection(marks, facecolors=INK, linewidths=0))


def _traces(axes: Axes, one: _Drawn) -> None:
    """The unit's value over sequences that stand end to end, and what it follows under it."""
    total = int(one.lengths[one.columns].sum()) + 2 * len(one.columns)
    step = WIDTH / total
    known = one.facts[:, one.columns]
    least, most = float(np.nanmin(known)), float(np.nanmax(known))
    foot = TRACE + 0.08
    x = 0.0
    low = min(one.low, float(np.nanmin(one.values[:, one.columns])))
    high = max(one.high, float(np.nanmax(one.values[:, one.columns])))
    axes.text(-0.1, TRACE / 2, "unit", ha="right", va="center_baseline", fontsize=11, color=OKABE_ITO[0])
    label = "true" if one.followed.is_number else "so"
    axes.text(-0.1, foot + STRIP / 2, label, ha="right", va="center_baseline", fontsize=11, color=INK)
    for end, value in ((TRACE, low), (0, high)):
        shown = f"{value:.2g}".replace("-", "−")
        axes.text(WIDTH + 0.06, end, shown, va="center_baseline", fontsize=10, color=PALE)
    for column in one.columns:
        n = int(one.lengths[column])
        where = x + step * (np.arange(n) + 0.5)
        axes.add_patch(Rectangle((x, 0), step * n, TRACE, facecolor="#F6F6F6", linewidth=0, zorder=0))
        if low < 0 < high:
            axes.plot((x, x + step * n), [TRACE * high / (high - low)] * 2, color=RULE, linewidth=0.8, zorder=1)
        height = TRACE * (1 - (one.values[:n, column] - low) / (high - low))
        axes.plot(where, height, color=OKABE_ITO[0], linewidth=1.6, marker="." if n == 1 else None, zorder=2)
        fact = one.facts[:n, column]
        if one.followed.is_number:
            axes.plot(where, foot + STRIP * (1 - (fact - least) / (most - least)), color=INK, linewidth=1.2)
        else:
            axes.add_patch(Rectangle((x, foot), step * n, STRIP, facecolor="#F6F6F6", linewidth=0, zorder=0))
            so = [Rectangle((left - step / 2, foot), step, STRIP) for left in where[fact == 1]]
            axes.add_collection(PatchCollection(so, facecolors=INK, linewidths=0))
            unknown = [Rectangle((left - step / 2, foot), step, STRIP) for left in where[np.isnan(fact)]]
            axes.add_collection(PatchCollection(unknown, facecolors="white", linewidths=0))
        x += step * (n + 2)


def _save(gates: Gates, path: str | Path) -> None:
    """The values of every unit that follows something, and what it follows, beside the picture."""
    arrays: dict[str, Any] = {"lengths": gates.lengths, "names": np.array(gates.names)}
    about = {"lengths": f"(B,), the {gates.unit}s of each sequence", "names": "(B,), of the sequences"}
    if gates.steps:
        longest = int(gates.lengths.max())
        arrays["texts"] = np.array([[*row, *[""] * (longest - len(row))] for row in gates.steps]).T
        about["texts"] = f"(T, B), the {gates.unit} that each step reads"
    for number, one in enumerate(gates.followed):
        arrays[f"values_{number}"] = gates.layers[one.layer].states[one.state][:, :, one.unit]
        about[f"values_{number}"] = f"(T, B), {one}; sequences 1, 3, 5, … are those it was scored on"
        arrays[f"follows_{number}"] = gates.facts[one.what]
        about[f"follows_{number}"] = f"(T, B), {one.what}; NaN where it is not known"
    beside(path, arrays, about)
