"""The picture of a model's memory: what it loses where it sees less, how far it learns, and how long its units keep."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from selfloop.inspect.canvas import INK, OKABE_ITO, PALE, RULE, beside, canvas
from selfloop.inspect.gates import Gates
from selfloop.inspect.gradient_flow import COLORS, GradientFlow, plot_gradient_flow
from selfloop.inspect.heat_maps import FADES, KEEPS
from selfloop.inspect.memory import Memory

WIDTH, HEIGHT = 5.4, 3.7
"""Of each panel, in inches."""

BETWEEN, NAMES = 1.15, 0.9
"""What the axis of a panel takes on its left, and the names of lines on the right, in inches."""


def draw_memory(
    memory: Memory,
    path: str | Path,
    *,
    flows: Mapping[str, GradientFlow] | None = None,
    before: Mapping[str, GradientFlow] | None = None,
    gates: Gates | None = None,
) -> Figure:
    """Draw the loss by how many of the last steps the model sees, and what else tells of its memory.

    The grey band is a standard error of the difference to the loss with all steps. Beside it: how far the gradient of a
    loss at the end reaches back, before training and after; and how many units remember for how long. The data lie
    beside the picture, as .npz.

    Args:
        memory: of a trained model.
        path: the file to write; its suffix, .png, .svg or .pdf, is its format.
        flows: of its layers, by name.
        before: the same before training.
        gates: of the same stack.

    Returns:
        The figure, which notebooks show.

    Raises:
        ArgumentError: the picture cannot be written.

    Example:
        >>> import tempfile
        >>> memory = Memory(np.array([1, 2, 4]), np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.1, 0]), "word")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = draw_memory(memory, f"{folder}/memory.png")
        >>> figure.axes[0].get_xlabel()
        'words that the model sees'
    """
    remembering = {
        suffix: layer for suffix, layer in (gates.layers if gates is not None else {}).items() if layer.remembers
    }
    panels = 1 + bool(flows) + bool(remembering)
    widths = WIDTH * panels + BETWEEN * (panels - 1) + (NAMES if flows and panels > 2 else 0)
    with canvas(path, widths, HEIGHT) as figure:
        axes = figure.add_axes((0, 0, WIDTH / widths, 1))
        _losses(axes, memory)
        left = WIDTH + BETWEEN
        if flows:
            axes = figure.add_axes((left / widths, 0, WIDTH / widths, 1))
            plot_gradient_flow(axes, flows, before or {})
            axes.set_ylabel("gradient norm, last output = 1", fontsize=13, color=INK)
            _title(axes, "How far back the loss at the last step reaches", 0.42)
            left += WIDTH + NAMES + BETWEEN
        if remembering:
            axes = figure.add_axes((left / widths, 0, WIDTH / widths, 1))
            names = {suffix: (layer.title, str(layer.remembers)) for suffix, layer in remembering.items()}
            constants = {suffix: layer.time_constants(names[suffix][1]) for suffix, layer in remembering.items()}
            _constants(axes, names, constants, memory.unit)
        if memory.is_both_ways:
            note = "No gradient flow: this stack reads both ways, and going backwards there is no last step."
            figure.text(0, -0.72 / HEIGHT, note, fontsize=11, color=PALE, va="top")
    _save(memory, path, flows or {}, before or {}, gates)
    return figure


def uses(memory: Memory) -> str:
    """How many steps the model uses, in words.

    >>> uses(Memory(np.array([1, 2, 4]), np.array([3.0, 2.0, 1.0]), np.zeros(3), "word"))
    'uses 4 words or more'
    >>> uses(Memory(np.array([1, 2, 4]), np.array([1.0, 1.0, 1.0]), np.zeros(3), "word"))
    'uses 1 word'
    """
    number = memory.uses
    unit = memory.unit if number == 1 else f"{memory.unit}s"
    if memory.is_open:
        return f"uses {number:,} {unit} or more"
    if memory.is_whole and number == memory.spans[-1]:
        return f"uses all {number:,} {unit}"
    return f"uses about {number:,} {unit}" if number > 1 else f"uses {number:,} {unit}"


def _losses(axes: Axes, memory: Memory) -> None:
    spans, losses, errors = memory.spans, memory.losses, memory.errors
    blue = OKABE_ITO[0]
    axes.fill_between(spans, losses - errors, losses + errors, color="#D9D9D9", linewidth=0)
    axes.plot(spans, losses, color=blue, linewidth=2.4, marker="o", markersize=4)
    axes.axhline(losses[-1], color=PALE, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
    place = int(np.flatnonzero(spans == memory.uses)[0])
    axes.plot([spans[place]], [losses[place]], marker="o", markersize=11, markerfacecolor="none", markeredgecolor=INK,
              markeredgewidth=1.6)  # fmt: skip
    low, high = float((losses - errors).min()), float((losses + errors).max())
    room = (high - low) or 1.0
    axes.set_ylim(low - 0.08 * room, high + 0.3 * room)
    axes.set_xscale("log")
    axes.set_xlim(0.9, max(2.0, float(spans[-1])) * 1.1)
    late = place > len(spans) / 2
    axes.annotate(
        uses(memory), (float(spans[place]), float(losses[place])), xytext=(0.97 if late else 0.3, 0.9),
        textcoords="axes fraction", fontsize=13, fontweight="bold", color=INK, ha="right" if late else "left",
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 1, "shrinkB": 7, "shrinkA": 2},
    )  # fmt: skip
    _log_steps(axes)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    sees = "sees on either side" if memory.is_both_ways else "sees"
    axes.set_xlabel(f"{memory.unit}s that the model {sees}", fontsize=13, color=INK)
    axes.set_ylabel(f"loss, {memory.loss_unit}", fontsize=13, color=INK)
    _plain(axes)
    _title(axes, "The loss of the model where it sees no more than these")


def _constants(axes: Axes, names: Mapping[str, tuple[str, str]], constants: Mapping[str, Any], unit: str) -> None:
    """For every number of steps the share of the units that remember for longer."""
    both = any(suffix.endswith("_reverse") for suffix in names)
    ends = np.concatenate(list(constants.values())).clip(FADES, KEEPS)
    for number, (suffix, values) in enumerate(constants.items()):
        sorted_values = np.sort(values.clip(FADES, KEEPS))
        share = 1 - np.arange(len(values)) / len(values)
        color = COLORS[number // (2 if both else 1) % len(COLORS)]
        style = (0, (4, 2.5)) if suffix.endswith("_reverse") else "-"
        title, state = names[suffix]
        axes.plot(sorted_values, share, drawstyle="steps-pre", color=color, linewidth=2.2, linestyle=style,
                  label=f"{state} of {title}")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(float(ends.min()) / 1.3, max(10.0, float(ends.max()) * 1.3))
    axes.set_ylim(0, 1.04)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    _log_steps(axes)
    axes.set_xlabel(f"time constant, {unit}s", fontsize=13, color=INK)
    axes.set_ylabel("units that remember for longer", fontsize=13, color=INK)
    axes.legend(frameon=False, fontsize=12, labelcolor=INK, loc="upper right", borderpad=0.2)
    _plain(axes)
    _title(axes, "How long the units remember")


def _log_steps(axes: Axes) -> None:
    axes.xaxis.set_major_locator(
        LogLocator(10, subs=(1, 2, 5) if axes.get_xlim()[1] / axes.get_xlim()[0] < 500 else (1,))
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=12, labelcolor=INK, color=RULE)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)


def _title(axes: Axes, text: str, above: float = 0.12) -> None:
    axes.text(0, 1 + above / HEIGHT, text, transform=axes.transAxes, fontsize=13.5, color=INK, va="bottom")


def _save(
    memory: Memory,
    path: str | Path,
    flows: Mapping[str, GradientFlow],
    before: Mapping[str, GradientFlow],
    gates: Gates | None,
) -> None:
    arrays: dict[str, Any] = {"spans": memory.spans, "losses": memory.losses, "errors": memory.errors}
    about = {
        "spans": f"(S,), how many {memory.unit}s the model sees",
        "losses": f"(S,), the mean loss with each, in {memory.loss_unit}",
        "errors": "(S,), the standard error of its difference to the last",
    }
    for when, kind in (("after", flows), ("before", before)):
        for number, (name, flow) in enumerate(kind.items()):
            key = f"gradient_{when}_{number}"
            arrays[key] = flow.relative
            about[key] = f"(T,), of {name}, {when} training: the gradient's norm in the state, 0, 1, 2, … steps back"
    for suffix, layer in (gates.layers if gates is not None else {}).items():
        if layer.remembers is not None:
            key = f"time_constants_{layer.remembers}{suffix}"
            arrays[key] = layer.time_constants(layer.remembers)
            about[key] = f"(n,), of {layer.title}: for how many {memory.unit}s each unit remembers"
    beside(path, arrays, about)
