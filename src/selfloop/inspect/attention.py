"""The picture of an attention: which source tokens each target token was made from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from selfloop.errors import ArgumentError
from selfloop.inspect.canvas import BLUES, INK, RULE, canvas, shorten

LONGEST = 20
"""Characters of a token."""


def draw_attention(
    weights: ArrayLike, source_tokens: Sequence[str], target_tokens: Sequence[str], path: str | Path
) -> Figure:
    """Draw attention weights as a map: a row for each target token, a column for each source token.

    Args:
        weights: (T, S), from 0 to 1; row t is what target token t attended to.
        source_tokens: the S tokens that were read; spaces and ends of lines are shown as signs.
        target_tokens: the T tokens that were written.
        path: the picture; its suffix, .png, .svg or .pdf, is its format.

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
    given = np.asarray(weights)
    T, S = len(target_tokens), len(source_tokens)
    if given.shape != (T, S) or not given.size:
        raise ArgumentError(
            f"The 'weights' of draw_attention must have shape ({T}, {S}), target by source tokens, with one token or "
            f"more of each. Got {given.shape} instead."
        )
    if given.dtype.kind not in "fiu" or not np.all((given >= 0) & (given <= 1 + 1e-3)):
        raise ArgumentError("The 'weights' of draw_attention must be numbers from 0 to 1, as a softmax gives them.")
    cell = 0.7 if max(T, S) <= 6 else 0.42 if max(T, S) <= 25 else 0.3 if max(T, S) <= 45 else 0.22
    with canvas(path, cell * S, cell * T) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(given, cmap=BLUES, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        _tokens(axes, [_shown(token) for token in source_tokens], [_shown(token) for token in target_tokens], cell)
        wide, tall = 0.2 / (cell * S), min(2.2 / (cell * T), max(1.0, 1.4 / (cell * T)))
        scale = figure.add_axes((1 + 0.3 / (cell * S), 1 - tall, wide, tall))
        bar = figure.colorbar(ScalarMappable(Normalize(0, 1), BLUES), cax=scale)
        bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"], fontsize=11, color=INK)
        bar.set_label("attention weight", fontsize=12, color=INK)
        bar.outline.set_edgecolor(RULE)
        scale.tick_params(length=0)
    return figure


def _tokens(axes: Axes, source: list[str], target: list[str], cell: float) -> None:
    size = 13 if cell > 0.4 else 12 if cell > 0.25 else 10.5
    across = all(0.0085 * size * len(token) < cell for token in source)
    axes.set_xticks(range(len(source)), source, fontsize=size, color=INK, rotation=0 if across else 90)
    axes.set_yticks(range(len(target)), target, fontsize=size, color=INK)
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
