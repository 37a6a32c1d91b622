"""The picture of an attention: which source tokens each target token was made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from selfloop.errors import ArgumentError
from selfloop.inspect.canvas import BLUES, INK, RULE, canvas, shorten, text_width

LONGEST = 20
"""Characters of a token."""

CELLS = ((6, 0.7), (25, 0.42), (45, 0.3))
"""Up to so many tokens, the side of a cell in inches."""

WIDEST, GAP, SEVERAL = 15.0, 0.6, 0.3
"""In inches: several maps stand side by side up to this width, this far from each other, with cells no larger."""

Alignment = tuple[ArrayLike, Sequence[str], Sequence[str]]


def draw_attention(
    weights: ArrayLike, source_tokens: Sequence[str], target_tokens: Sequence[str], path: str | Path
) -> Figure:
    """Draw attention weights as a map: a row for each target token, a column for each source token.

    Args:
        weights: (T, S), from 0 to 1; row t holds the weights with which target token t attends to the source.
        source_tokens: the S source tokens; spaces and ends of lines are shown as signs.
        target_tokens: the T target tokens.
        path: the file to write; its suffix, .png, .svg or .pdf, is its format.

    Returns:
        The figure, which notebooks show.

    Raises:
        ArgumentError: the weights do not fit the tokens, or the picture cannot be written.

    Example:
        >>> import tempfile
        >>> weights = [[0.9, 0.1], [0.2, 0.8]]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = draw_attention(weights, ["das", "Haus"], ["the", "house"], f"{folder}/attention.png")
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['the', 'house']
    """
    return draw_attentions([(weights, source_tokens, target_tokens)], path)


def draw_attentions(alignments: Sequence[Alignment], path: str | Path) -> Figure:
    """Draw the attention weights of several sequences, a map each, with one scale.

    Args:
        alignments: of each sequence its weights, source tokens and target tokens, as `draw_attention` takes them; what
            a translator's `align` returns.
        path: the file to write; its suffix, .png, .svg or .pdf, is its format.

    Returns:
        The figure, which notebooks show.

    Raises:
        ArgumentError: there are no alignments, weights do not fit their tokens, or the picture cannot be written.

    Example:
        >>> import tempfile
        >>> weights = [[0.9, 0.1], [0.2, 0.8]]
        >>> alignments = [(weights, ["das", "Haus"], ["the", "house"]), (weights, ["ein", "Hund"], ["a", "dog"])]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = draw_attentions(alignments, f"{folder}/attention.png")
        >>> len(figure.axes)  # two maps and the scale
        3
    """
    if not len(alignments):
        raise ArgumentError("The 'alignments' of draw_attentions must be one or more. Got none instead.")
    largest = SEVERAL if len(alignments) > 1 else CELLS[0][1]
    maps = [_Map.of(*alignment, largest) for alignment in alignments]
    places, width, height = _arranged(maps)
    with canvas(path, width, height) as figure:
        for one, (left, top) in zip(maps, places, strict=True):
            wide, tall = one.size
            axes = figure.add_axes((left / width, 1 - (top + tall) / height, wide / width, tall / height))
            axes.imshow(one.weights, cmap=BLUES, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            _tokens(axes, one)
        tall = min(2.2, max(1.4, *(one.size[1] for one in maps)))
        scale = figure.add_axes((1 + 0.3 / width, 1 - (places[0][1] + tall) / height, 0.2 / width, tall / height))
        bar = figure.colorbar(ScalarMappable(Normalize(0, 1), BLUES), cax=scale)
        bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"], fontsize=11, color=INK)
        bar.set_label("attention weight", fontsize=12, color=INK)
        bar.outline.set_edgecolor(RULE)
        scale.tick_params(length=0)
    return figure


@dataclass(frozen=True)
class _Map:
    """One map.

    Attributes:
        weights: (T, S).
        source, target: the tokens, as they are shown.
        cell: the side of a cell, in inches.
    """

    weights: NDArray[np.float64]
    source: list[str]
    target: list[str]
    cell: float

    @classmethod
    def of(
        cls, weights: ArrayLike, source_tokens: Sequence[str], target_tokens: Sequence[str], largest: float
    ) -> "_Map":
        """The map of an alignment, with cells of this size at the most."""
        given = np.asarray(weights)
        T, S = len(target_tokens), len(source_tokens)
        if given.shape != (T, S) or not given.size:
            raise ArgumentError(
                f"The 'weights' of draw_attention must have shape ({T}, {S}), target by source tokens, with one token "
                f"or more of each. Got {given.shape} instead."
            )
        if given.dtype.kind not in "fiu" or not np.all((given >= 0) & (given <= 1 + 1e-3)):
            raise ArgumentError("The 'weights' of draw_attention must be numbers from 0 to 1, as a softmax gives them.")
        cell = min(largest, next((size for most, size in CELLS if most >= max(T, S)), 0.22))
        return cls(given, [_shown(token) for token in source_tokens], [_shown(token) for token in target_tokens], cell)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the cells together, in inches."""
        return self.cell * len(self.source), self.cell * len(self.target)

    @property
    def font(self) -> float:
        """The size of the tokens, in points."""
        return 13 if self.cell > 0.4 else 12 if self.cell > 0.25 else 10.5

    @property
    def across(self) -> bool:
        """Whether there is room for the source tokens side by side; else they stand upright."""
        return all(text_width(token, self.font) < 0.92 * self.cell for token in self.source)

    @property
    def margins(self) -> tuple[float, float]:
        """What the tokens and the axes' names take on the left and above, in inches."""
        above = 0.2 if self.across else max(text_width(token, self.font) for token in self.source)
        return max(text_width(token, self.font) for token in self.target) + 0.45, above + 0.45


def _arranged(maps: list[_Map]) -> tuple[list[tuple[float, float]], float, float]:
    """Left and upper edge of each map, in rows as wide as `WIDEST` at the most; and the width and height of all."""
    rows: list[list[_Map]] = []
    for one in maps:
        if rows and sum(other.margins[0] + other.size[0] + GAP for other in [*rows[-1], one]) <= WIDEST:
            rows[-1].append(one)
        else:
            rows.append([one])
    places, width, bottom = list[tuple[float, float]](), 0.0, 0.0
    for number, row in enumerate(rows):
        top = bottom + (max(one.margins[1] for one in row) if number else 0.0) + (GAP if number else 0.0)
        edge = 0.0
        for column, one in enumerate(row):
            left = edge + (one.margins[0] + GAP if column else 0.0)
            places.append((left, top))
            edge = left + one.size[0]
        width, bottom = max(width, edge), top + max(one.size[1] for one in row)
    return places, width, bottom


def _tokens(axes: Axes, one: _Map) -> None:
    source, target = one.source, one.target
    axes.set_xticks(range(len(source)), source, fontsize=one.font, color=INK, rotation=0 if one.across else 90)
    axes.set_yticks(range(len(target)), target, fontsize=one.font, color=INK)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("source", fontsize=13, color=INK, labelpad=8)
    axes.set_ylabel("target", fontsize=13, color=INK, labelpad=8)
    axes.tick_params(length=0, pad=5)
    axes.set_xticks(np.arange(len(source) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(target) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=RULE, linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_color(RULE)


def _shown(token: str) -> str:
    visible = token.replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣")
    return shorten(visible, LONGEST) or "∅"
