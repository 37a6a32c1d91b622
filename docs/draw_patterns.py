"""Draws docs/patterns.png: what goes in, what comes out, and when.

python docs/draw_patterns.py
"""

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INPUT, STATE, OUTPUT = "#56B4E9", "#BBBBBB", "#E69F00"  # Okabe and Ito's, which colour-blind readers can tell apart
HEIGHTS = {"x": 0.0, "h": 1.0, "y": 2.0}
COLOURS = {"x": INPUT, "h": STATE, "y": OUTPUT}


@dataclass(frozen=True)
class Pattern:
    """A panel: what each step reads, and what it says; an empty string is nothing."""

    title: str
    module: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fed_back: bool = False


PATTERNS = (
    Pattern("one to many: caption", "OneToMany", ("image", "", "", ""), ("a", "dog", "runs", "."), fed_back=True),
    Pattern("many to one: classify", "ManyToOne", ("a", "fine", "film", "!"), ("", "", "", "good")),
    Pattern(
        "many to one to many: translate",
        "EncoderDecoder",
        ("guten", "Tag", "", "", ""),
        ("", "", "good", "day", "."),
        fed_back=True,
    ),
    Pattern(
        "many to many: label, lm", "ManyToMany", ("frame", "frame", "frame", "frame"), ("sil", "bin", "bin", "blue")
    ),
)


def draw(axes: Axes, pattern: Pattern) -> None:
    """One panel: inputs below, the state in the middle, outputs above, and time to the right."""
    steps = len(pattern.inputs)
    for t, (read, said) in enumerate(zip(pattern.inputs, pattern.outputs, strict=True)):
        _box(axes, t, "h", "h")
        if t:
            _arrow(axes, (t - 1, HEIGHTS["h"]), (t, HEIGHTS["h"]), sideways=True)
        if read:
            _box(axes, t, "x", read)
            _arrow(axes, (t, HEIGHTS["x"]), (t, HEIGHTS["h"]))
        if said:
            _box(axes, t, "y", said)
            _arrow(axes, (t, HEIGHTS["h"]), (t, HEIGHTS["y"]))
        if pattern.fed_back and said and t + 1 < steps:
            bow = FancyArrowPatch(
                (t + 0.36, HEIGHTS["y"] - 0.1),
                (t + 0.9, HEIGHTS["h"] + 0.27),
                connectionstyle="arc3,rad=-0.15",
                arrowstyle="-|>",
                mutation_scale=11,
                linestyle=(0, (3, 2)),
                color="#666666",
            )
            axes.add_patch(bow)
    axes.set_xlim(-0.6, 4.6)
    axes.set_ylim(-0.45, 2.45)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(f"{pattern.title}\n{pattern.module}", fontsize=15, loc="left")


def _box(axes: Axes, t: int, row: str, text: str) -> None:
    corner = (t - 0.36, HEIGHTS[row] - 0.24)
    axes.add_patch(
        FancyBboxPatch(corner, 0.72, 0.48, "round,pad=0,rounding_size=0.1", facecolor=COLOURS[row], edgecolor="#333333")
    )
    axes.text(t, HEIGHTS[row], text, ha="center", va="center", fontsize=13)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], sideways: bool = False) -> None:
    dx, dy = (0.38, 0.0) if sideways else (0.0, 0.26)
    places = (start[0] + dx, start[1] + dy), (end[0] - dx, end[1] - dy)
    axes.add_patch(FancyArrowPatch(*places, arrowstyle="-|>", mutation_scale=13, color="#333333", shrinkA=0, shrinkB=0))


def main() -> None:
    """Draw all four."""
    figure = Figure(figsize=(11, 7.6), dpi=110, layout="constrained")
    for axes, pattern in zip(figure.subplots(2, 2).flat, PATTERNS, strict=True):
        draw(axes, pattern)
    figure.savefig(Path(__file__).with_name("patterns.png"))


if __name__ == "__main__":
    main()
