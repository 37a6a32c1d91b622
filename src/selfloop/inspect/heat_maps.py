"""The picture of gates and states: a heat map each, units by steps, with how long the units remember beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from selfloop.inspect.canvas import BLUES, INK, PALE, RULE, SIGNED, beside, canvas, monospaced, shorten, text_width
from selfloop.inspect.confusion import percent
from selfloop.inspect.gates import Gates, Layer, Values

UNITS = 48
"""Rows of a map at the most: of more units so many are shown, evenly from their order."""

NARROWEST, WIDEST, STEP = 6.8, 12.6, 0.3
"""Of a map, whose title and scale need room, and of a step unless there are few, in inches."""

CHARACTER, WORD = 0.115, 0.21
"""The width of a character's step and of a word's at the least; what does not fit into the widest map is left out."""

SIDE, GAP = 1.7, 0.62
"""The width of what stands beside a map, and the height between two, in inches."""

SHUT, OPEN, BETWEEN = "#E69F00", "#0072B2", "#EDEDED"

FADES, KEEPS = 0.1, 1e5
"""The ends of the axis of time constants: units beyond them stand at these."""


def draw_gates(gates: Gates, path: str | Path) -> Figure:
    """Draw what the top layer does on one sequence: its states and gates as heat maps, units by steps.

    The sequence is the longest, or the first of several; the units that remember the longest are at the top. Beside a
    state stand the time constants of its units; beside a gate the share of all steps, of all sequences, where it is
    shut (below 0.1) and open (above 0.9). The data of all layers on that sequence lie beside the picture, as .npz.

    Args:
        gates: of a trained stack.
        path: the file to write; its suffix, .png, .svg or .pdf, is its format.

    Returns:
        The figure, which notebooks show.

    Raises:
        ArgumentError: the picture cannot be written.

    Example:
        >>> import tempfile
        >>> import torch
        >>> import selfloop as sl
        >>> from selfloop.inspect import Watched, gates
        >>> x, lengths = torch.randn(20, 2, 3), torch.tensor([20, 12])
        >>> found = gates(Watched(sl.LSTM(3, 8), x, lengths, "step", ["one", "two"]), 20)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = draw_gates(found, f"{folder}/gates.png")
    """
    row = int(gates.lengths.argmax())
    axis = _Axis.of(gates.steps[row] if gates.steps else None, int(gates.lengths[row]), gates.unit)
    both = any(suffix.endswith("_reverse") for suffix in gates.layers)
    top = list(gates.layers.values())[-2 if both else -1 :]
    blocks = [list(_maps(layer, row)) for layer in top]
    above = axis.height + 0.5
    heights = [sum(one.height + GAP for one in maps) + above + axis.height + 0.9 for maps in blocks]
    width, height = axis.width, sum(heights) - 0.9
    with canvas(path, width, height) as figure:
        upper = 0.0
        for layer, maps, tall in zip(top, blocks, heights, strict=True):
            y = upper + above
            for number, one in enumerate(maps):
                place = (0, 1 - (y + one.height) / height, 1, one.height / height)
                axes = figure.add_axes(place)
                _map(axes, one, axis.shown, width)
                side = figure.add_axes((1 + 0.25 / width, place[1], SIDE / width, place[3]))
                _beside(side, one, gates.unit)
                if number in {0, len(maps) - 1}:
                    axis.write(axes, one.height, above=number == 0, below=number == len(maps) - 1)
                y += one.height + GAP
            _heading(figure, layer, gates, row, axis, maps[0], (upper, height))
            upper += tall
    _save(gates, row, path)
    return figure


@dataclass(frozen=True)
class _Axis:
    """The steps along the maps.

    Attributes:
        texts: of the steps that are shown; none where they are numbers.
        shown: how many are shown.
        all: how many there are.
        unit: what a step is, in the singular.
        step: the width of one, in inches.
    """

    texts: Sequence[str]
    shown: int
    all: int
    unit: str
    step: float

    @classmethod
    def of(cls, texts: Sequence[str] | None, length: int, unit: str) -> "_Axis":
        """The axis of a sequence."""
        least = 0.0 if texts is None else CHARACTER if _are_characters(texts) else WORD
        shown = min(length, int(WIDEST / least)) if least else length
        step = min(STEP, max(least, WIDEST / shown))
        step = max(step, NARROWEST / shown)  # headings have room
        return cls([_visible(text) for text in (texts or [])[:shown]], shown, length, unit, step)

    @property
    def width(self) -> float:
        """Of the map, in inches."""
        return self.step * self.shown

    @property
    def upright(self) -> bool:
        """Whether the texts stand upright, as words do."""
        return not _are_characters(self.texts)

    @property
    def height(self) -> float:
        """Of the texts, in inches."""
        if not self.texts:
            return 0.0
        return 0.1 + (max(text_width(text, 10) for text in self.texts) if self.upright else 0.15)

    def write(self, axes: Axes, tall: float, above: bool, below: bool) -> None:
        """Write the texts above a map and below it, or the numbers of the steps below it."""
        if not self.texts:
            if below:
                axes.xaxis.set_visible(True)
                axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
                axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x + 1:,.0f}"))
                axes.tick_params(axis="x", labelsize=11, labelcolor=INK, color=RULE)
                axes.set_xlabel(self.unit, fontsize=12, color=INK)
            return
        style: dict[str, Any] = {"color": INK, "ha": "center", "transform": axes.get_xaxis_transform()}
        if self.upright:
            style |= {"fontsize": 10, "rotation": 90}
        else:
            style |= {"fontsize": min(11.0, 78 * self.step), "family": monospaced()}
        for step, text in enumerate(self.texts):
            if above:
                axes.text(step, 1 + 0.34 / tall, text, va="bottom", **style)
            if below:
                axes.text(step, -0.06 / tall, text, va="top", **style)


@dataclass(frozen=True)
class _Map:
    """One heat map.

    Attributes:
        title: above it.
        values: (units, T), in the order of the rows.
        colors: of the values.
        low, high: the values at the ends of the colours.
        constants: of each row the time constant, where it is the state that remembers.
        shares: of each row the share of the steps where it is shut, and open, where it is a gate.
        all: how many units there are.
        ends: what the upper and the lower rows are, where they are in the order of the layer.
    """

    title: str
    values: Values
    colors: Colormap
    low: float
    high: float
    all: int
    ends: tuple[str, str] | None
    constants: NDArray[np.float64] | None = None
    shares: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    means: tuple[float, float] = (0.0, 0.0)

    @property
    def height(self) -> float:
        """In inches."""
        return float(np.clip(0.036 * len(self.values), 0.75, 1.75))


def _maps(layer: Layer, row: int) -> Iterator[_Map]:
    """The states and gates of a layer on one sequence: what remembers, what it keeps, the gates, the other states."""
    order, remembers = layer.order(), layer.remembers
    first = remembers or next(iter(layer.states))
    ends = ("long", "short") if remembers else ("varied", "level")

    def rows(n: int) -> tuple[NDArray[np.int64], tuple[str, str] | None]:
        own = order if n == len(order) else np.arange(n)
        return own[np.linspace(0, n - 1, min(n, UNITS)).round().astype(int)], ends if n == len(order) else None

    def state(name: str) -> _Map:
        values = layer.states[name][:, row]
        units, own_ends = rows(values.shape[-1])
        own = values / np.nanmax(np.abs(values), axis=0, initial=1e-12)
        title = f"{name}, the state that remembers" if name == remembers else f"{name}, a state"
        constants = layer.time_constants(name)[units] if name == remembers else None
        return _Map(
            f"{title}: each unit on its own scale",
            own[:, units].T,
            SIGNED,
            -1,
            1,
            values.shape[-1],
            own_ends,
            constants,
        )

    def gate(name: str, title: str) -> _Map:
        values = layer.gates[name][:, row]
        units, own_ends = rows(values.shape[-1])
        shut, opened = layer.saturation(name)
        return _Map(
            title, values[:, units].T, BLUES, 0, 1, values.shape[-1], own_ends, shares=(shut[units], opened[units]),
            means=(float(shut.mean()), float(opened.mean())),
        )  # fmt: skip

    yield state(first)
    straight = None if remembers is None else layer.kept[remembers]
    told = {name: _tells(values, straight, first) for name, values in layer.gates.items()}
    if straight is not None and not any(told.values()):
        units, own_ends = rows(straight.shape[-1])
        title = f"what {remembers} keeps of itself from one step to the next"
        end = max(1.0, float(np.nanquantile(np.abs(straight), 0.99)))
        signed = bool((straight < -1e-3).any())
        yield _Map(
            title, straight[:, row][:, units].T, SIGNED if signed else BLUES, -end if signed else 0, end,
            straight.shape[-1], own_ends,
        )  # fmt: skip
    for name in sorted(layer.gates, key=lambda name: not told[name]):
        yield gate(name, f"{name}, a gate{told[name]}")
    for name in layer.states:
        if name != first:
            yield state(name)


def _tells(gate: Values, straight: Values | None, state: str) -> str:
    """What a gate does to the state that remembers, where it alone decides what goes straight on."""
    if straight is None or gate.shape != straight.shape:
        return ""
    if np.allclose(gate, straight, atol=1e-4, equal_nan=True):
        return f": the share of {state} that is kept"
    if np.allclose(1 - gate, straight, atol=1e-4, equal_nan=True):
        return f": the share of {state} that is replaced"
    return ""


def _map(axes: Axes, one: _Map, shown: int, width: float) -> None:
    axes.imshow(
        one.values[:, :shown], cmap=one.colors, vmin=one.low, vmax=one.high, aspect="auto", interpolation="none"
    )
    axes.xaxis.set_visible(False)
    axes.set_yticks([])
    axes.spines[:].set_color(RULE)
    across = axes.transAxes
    axes.text(0, 1 + 0.08 / one.height, one.title, transform=across, fontsize=12, color=INK, va="bottom")
    style: dict[str, Any] = {"transform": across, "fontsize": 10, "color": PALE, "ha": "right"}
    if one.ends is not None:
        axes.text(-0.1 / width, 1, one.ends[0], va="top", **style)
        axes.text(-0.1 / width, 0, one.ends[1], va="bottom", **style)
    scale = axes.inset_axes((1 - 1.5 / width, 1 + 0.11 / one.height, 0.9 / width, 0.09 / one.height))
    scale.imshow(np.linspace(0, 1, 128)[None], cmap=one.colors, aspect="auto", interpolation="none")
    scale.set_xticks([])
    scale.set_yticks([])
    scale.spines[:].set_color(RULE)
    place: dict[str, Any] = {"fontsize": 10, "color": PALE, "va": "center_baseline", "transform": scale.transAxes}
    scale.text(-0.07, 0.5, _short(one.low), ha="right", **place)
    scale.text(1.07, 0.5, _short(one.high), ha="left", **place)


def _beside(axes: Axes, one: _Map, unit: str) -> None:
    """Time constants, or how often the gate is shut and open; a row each."""
    rows = np.arange(len(one.values))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(PALE)
    axes.tick_params(labelsize=10, labelcolor=INK, color=RULE, pad=2)
    title: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 11, "va": "bottom"}
    y = 1 + 0.08 / one.height
    if one.constants is not None:
        constants = one.constants.clip(FADES, KEEPS)
        first = min(0.5, float(constants.min()) / 1.2)
        axes.barh(rows, constants - first, height=1, left=first, color=OPEN, linewidth=0)
        axes.set_xscale("log")
        axes.set_xlim(first, max(10.0, float(constants.max()) * 1.2))
        powers = [p for p in range(-1, 6) if first <= 10**p <= axes.get_xlim()[1]]
        axes.xaxis.set_major_locator(FixedLocator([10.0**p for p in powers]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))
        axes.text(0, y, f"remembers for, {unit}s", color=INK, **title)
    elif one.shares is not None:
        shut, opened = one.shares
        axes.barh(rows, np.ones(len(rows)), height=1, color=BETWEEN, linewidth=0)
        axes.barh(rows, shut, height=1, color=SHUT, linewidth=0)
        axes.barh(rows, opened, left=1 - opened, height=1, color=OPEN, linewidth=0)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"])
        axes.text(0, y, f"shut {percent(one.means[0])}", color="#9A6A00", **title)
        axes.text(1, y, f"open {percent(one.means[1])}", color=OPEN, ha="right", **title)
    else:
        axes.set_visible(False)


def _heading(
    figure: Figure, layer: Layer, gates: Gates, row: int, axis: _Axis, one: _Map, place: tuple[float, float]
) -> None:
    """What is seen, and what is left out."""
    upper, height = place
    shown, units = len(one.values), one.all
    lines = [f"{units:,} units" if shown == units else f"{shown} of {units:,} units, evenly from their order"]
    if layer.remembers is None:
        lines.append("nothing of a state goes straight on: those that vary the most at the top")
    else:
        lines.append("those that remember the longest at the top")
    if axis.shown < axis.all:
        lines.append(f"the first {axis.shown} of {axis.all} {gates.unit}s")
    others = [other.title for other in gates.layers.values() if other.title.split(",")[0] != layer.title.split(",")[0]]
    if others:
        lines.append(f"{', '.join(others)}: in the .npz")
    title = f"{layer.title.capitalize()}, on {shorten(gates.names[row], 60)}"
    figure.text(0, 1 - (upper - 0.42) / height, title, fontsize=15, color=INK, va="bottom")
    figure.text(0, 1 - (upper - 0.16) / height, "; ".join(lines), fontsize=11, color=PALE, va="bottom")


def _short(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


def _are_characters(texts: Sequence[str]) -> bool:
    return all(len(text) <= 1 for text in texts)


def _visible(text: str) -> str:
    """A token as it is written along an axis."""
    if len(text) > 1:
        return shorten(text, 16) or "␣"
    return {"\n": "↵", "\t": "⇥", "": "·"}.get(text, text if text.isprintable() else "�")


def _save(gates: Gates, row: int, path: str | Path) -> None:
    """The data of all layers on the sequence, beside the picture."""
    n = int(gates.lengths[row])
    arrays: dict[str, Any] = {"name": np.array(gates.names[row])}
    about = {"name": "of the sequence"}
    if gates.steps:
        arrays["texts"], about["texts"] = np.array(gates.steps[row]), f"(T,), the {gates.unit} that each step reads"
    for suffix, layer in gates.layers.items():
        for name, values in (*layer.states.items(), *layer.gates.items()):
            kind = "state" if name in layer.states else "gate"
            arrays[name + suffix] = values[:n, row]
            about[name + suffix] = f"(T, n), the {kind} {name} of {layer.title} after each step"
        for name, values in layer.kept.items():
            key = f"kept_{name}{suffix}"
            arrays[key], about[key] = values[:n, row], f"(T, n), how much of {name} goes straight on: its straight path"
            key = f"time_constants_{name}{suffix}"
            arrays[key] = layer.time_constants(name)
            about[key] = f"(n,), for how many {gates.unit}s each unit of {name} remembers, over all sequences"
        for name in layer.gates:
            for key, shares in zip(
                (f"shut_{name}{suffix}", f"open_{name}{suffix}"), layer.saturation(name), strict=True
            ):
                arrays[key] = shares
                about[key] = f"(n,), the share of the steps of all sequences where {name} is so: below 0.1, above 0.9"
        arrays[f"order{suffix}"] = layer.order()
        about[f"order{suffix}"] = "(n,), the units in the order of the rows of the picture"
    beside(path, arrays, about)
