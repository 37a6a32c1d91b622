"""How far back the signal of learning reaches: the gradient of a loss at the end, at every step before."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from selfloop.errors import ArgumentError
from selfloop.inspect.canvas import INK, OKABE_ITO, PALE, RULE, canvas
from selfloop.layers import Recurrent, State
from selfloop.layers.layout import Lengths, Sequences, arrange
from selfloop.tasks.watched import Watched, check_steps

Norms = NDArray[np.float64]

SEED = 0
"""Of the direction that the default loss looks in."""

WIDTH, HEIGHT = 7.2, 4.6
"""Of the picture's axes, in inches."""

FLOOR, CEILING = 1e-10, 1e6
"""Lines leave the picture where they are further than this from 1; else one that vanishes would flatten the rest."""

COLORS = OKABE_ITO[:6]  # yellow is too pale for a line


@dataclass(frozen=True, eq=False)
class GradientFlow:
    r"""The norms of a loss's gradient in the state, by layer and lag: the means over the sequences.

    A loss $L$ stands at a sequence's last step alone. The state after an earlier step $t$ is all that the steps after
    it know of the past, so $\partial L / \partial s_t$ is what they could tell the weights about it: where it has
    vanished, nothing before step $t$ is learnt from $L$, and where it has exploded, too much (Hochreiter 1991; Bengio
    et al. 1994, "Learning long-term dependencies with gradient descent is difficult"; Pascanu et al. 2013).

    Attributes:
        lags: (T,), the steps between a state and the end: 0, 1, … T - 1.
        whole: (layers, T), of the gradient in all that a layer carries: an LSTM's h and c as one vector.
        by_state: the same in each state of the cell alone, by its name.
        at_output: of the gradient in the last output; 1 with the default loss.
        layer: the one that `norms` and `relative` tell of; -1 is the top one.
    """

    lags: NDArray[np.int64]
    whole: Norms
    by_state: Mapping[str, Norms]
    at_output: float
    layer: int = -1

    @property
    def norms(self) -> Norms:
        """(T,), of the chosen layer's whole state, at each lag."""
        norms: Norms = self.whole[self.layer]
        return norms

    @property
    def relative(self) -> Norms:
        """(T,), the norms as shares of that in the last output, which compare cells and losses."""
        return self.norms / self.at_output

    @property
    def num_layers(self) -> int:
        """How many layers there are to choose from."""
        return len(self.whole)

    def of_layer(self, layer: int) -> "GradientFlow":
        """The same flow, told of another layer.

        Raises:
            ArgumentError: there is no such layer.
        """
        if not -self.num_layers <= layer < self.num_layers:
            raise ArgumentError(
                f"The 'layer' of a gradient flow must be from 0 to {self.num_layers - 1}, or -1 for the top one. "
                f"Got {layer} instead."
            )
        return replace(self, layer=layer)

    def reach(self, share: float = 0.01) -> int:
        """How many steps back the gradient stays at or above a share of that in the last output; T - 1 at the most.

        >>> flow = GradientFlow(np.arange(4), np.array([[1.0, 0.1, 0.01, 0.001]]), {}, at_output=1.0)
        >>> flow.reach(), flow.reach(0.5)
        (2, 0)
        """
        below = np.flatnonzero(~(self.relative[1:] >= share))
        return int(below[0]) if len(below) else len(self.lags) - 1


def gradient_flow(
    rnn: Recurrent,
    x: Sequences,
    *,
    layer: int = -1,
    lengths: Lengths = None,
    loss: Callable[[Float[Tensor, "B H"]], Float[Tensor, " B"]] | None = None,
    start: State | None = None,
) -> GradientFlow:
    r"""Measure how the gradient of a loss at the last step runs back through the states.

    The network runs a step at a time, as in evaluation, and stands cut after each: the gradient in $h_t$ is the one in
    what the layer carries from step $t$ to step $t + 1$, with all else that is carried held as it is. Of an LSTM the
    two are $\partial L / \partial h_t$, through the gates of the next step, and $\partial L / \partial c_t$, along
    the carousel. The weights and their gradients stay as they are.

    Args:
        rnn: a stack that reads forwards, of any cell.
        x: sequences as `rnn` takes them: (T, B, I); (B, T, I) with `batch_first`; (T, I) for one; or a PackedSequence.
        layer: the one that the result tells of at first, -1 for the top; all are measured.
        lengths: how many steps each sequence has, 1 or more; lags count from its own end, and each lag's mean is over
            the sequences that have it.
        loss: from the last outputs of the B sequences to a loss each, (B,). By default the output's component in a
            fixed direction, drawn once at random, with a gradient of norm 1.
        start: the state before the first step; zeros if None.

    Raises:
        ArgumentError: the stack is bidirectional, `x` or `lengths` do not fit it, there is no such layer, or the loss
            is not one a sequence that depends on the output.

    Example:
        >>> from selfloop import cells
        >>> rnn = Recurrent(cells.lstm, input_size=3, hidden_size=8, num_layers=2)
        >>> flow = gradient_flow(rnn, torch.randn(50, 4, 3))
        >>> flow.lags[:3], flow.norms.shape, sorted(flow.by_state)
        (array([0, 1, 2]), (50,), ['c', 'h'])
        >>> bool(flow.relative[-1] < flow.relative[0])
        True
    """
    if rnn.bidirectional:
        raise ArgumentError(
            "The 'rnn' of gradient_flow must read forwards alone, since going backwards there is no last step. "
            "Make it with bidirectional=False."
        )
    layout = arrange("gradient_flow", x, lengths, None, rnn.batch_first, rnn.input_size, next(iter(rnn.zero_state(1))))
    T, B = layout.x.shape[:2]
    length = torch.full((B,), T, device=layout.x.device) if layout.lengths is None else layout.lengths
    if not B or not bool((length > 0).all()):
        raise ArgumentError(
            "The sequences of gradient_flow must be one or more, each of one step or more, since the loss is at the "
            f"last. Got lengths {length.tolist()} instead."
        )
    with _evaluating(rnn), torch.enable_grad():
        states, output = _unrolled(rnn, layout.ended().detach(), length, start or rnn.zero_state(B))
        at_output = _gradient_of(loss or _in_a_direction, output)
        carried = [s for state in states for s in state]
        gradients = torch.autograd.grad(output, carried, at_output, materialize_grads=True)
    names = list(states[0].tensors)
    squares = {
        name: torch.stack([_squared(g.flatten(2)) for g in gradients[k :: len(names)]]) for k, name in enumerate(names)
    }
    squares[names[0]][length - 1, -1, torch.arange(B)] += _squared(at_output)  # the output is this state at its end
    steps = length.cpu().numpy()
    flow = GradientFlow(
        lags=np.arange(steps.max()),
        whole=_by_lag(torch.stack(list(squares.values())).sum(0), steps),
        by_state={name: _by_lag(own, steps) for name, own in squares.items()},
        at_output=float(_squared(at_output).sqrt().mean()),
    )
    return flow.of_layer(layer)


def gradient_flow_of(watched: Watched, steps: int) -> GradientFlow:
    """How the gradient runs back on the longest sequences of a task, 16 at the most, cut to so many steps.

    Args:
        watched: what a task shows of its stack: ``model.watched(steps)``; with ``fresh=True``, before its training.
        steps: of a sequence, at the most.

    Raises:
        ArgumentError: the stack is bidirectional, or `steps` is below 1.

    Example:
        >>> import selfloop as sl
        >>> x, lengths = torch.randn(20, 2, 3), torch.tensor([20, 12])
        >>> watched = Watched(sl.LSTM(3, 8), x, lengths, "step", ["one", "two"])  # or model.watched(20)
        >>> gradient_flow_of(watched, 10).norms.shape
        (10,)
    """
    check_steps(steps)
    seen = watched.longest(steps)
    x = seen.x.transpose(0, 1) if seen.rnn.batch_first else seen.x
    return gradient_flow(seen.rnn, x, lengths=seen.lengths, start=seen.start)


def draw_gradient_flow(
    flows: Mapping[str, GradientFlow], path: str | Path, before: Mapping[str, GradientFlow] | None = None
) -> Figure:
    """Draw how the gradients run back: the norm against the steps before the end, a line each, on a log scale.

    Args:
        flows: by name, as of several cells or layers; each shows its chosen layer, relative to its last output.
        path: the picture; its suffix, .png, .svg or .pdf, is its format.
        before: the same before training, drawn dashed in the same colours; some or all of the names of `flows`.

    Returns:
        The figure, which notebooks show.

    Raises:
        ArgumentError: there is no flow, `before` has one that `flows` has not, or the picture cannot be written.

    Example:
        >>> import tempfile
        >>> from selfloop import cells
        >>> x = torch.randn(50, 4, 3)
        >>> flows = {cell.name: gradient_flow(Recurrent(cell, 3, 8), x) for cell in (cells.vanilla, cells.lstm)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = draw_gradient_flow(flows, f"{folder}/flow.png")
        >>> figure.axes[0].get_xlabel()
        'steps before the end, T − t'
    """
    if not flows:
        raise ArgumentError("The 'flows' of draw_gradient_flow must be at least one, by name. Got none instead.")
    unknown = [name for name in before or {} if name not in flows]
    if unknown:
        raise ArgumentError(
            f"The 'before' of draw_gradient_flow must have the names of 'flows', {', '.join(flows)}. "
            f"Got '{unknown[0]}' instead."
        )
    with canvas(path, WIDTH, HEIGHT) as figure:
        plot_gradient_flow(figure.add_axes((0, 0, 1, 1)), flows, before or {})
    return figure


def plot_gradient_flow(axes: Axes, flows: Mapping[str, GradientFlow], before: Mapping[str, GradientFlow]) -> None:
    """Draw on axes what `draw_gradient_flow` draws."""
    colors = {name: COLORS[k % len(COLORS)] for k, name in enumerate(flows)}
    _scales(axes, [*flows.values(), *before.values()])
    for name, flow in before.items():
        axes.plot(flow.lags, _positive(flow), color=colors[name], linewidth=1.6, linestyle=(0, (4, 2.5)), zorder=2)
    for name, flow in flows.items():
        axes.plot(flow.lags, _positive(flow), color=colors[name], linewidth=2.6, zorder=3)
    _line_ends(axes, flows, colors)
    if before:
        styles: list[dict[str, Any]] = [
            {"linewidth": 1.6, "linestyle": (0, (4, 2.5)), "label": "before training"},
            {"linewidth": 2.6, "label": "after"},
        ]
        axes.legend(
            handles=[Line2D([], [], color=PALE, **style) for style in styles], ncols=2, frameon=False, fontsize=13,
            labelcolor=INK, loc="lower left", bbox_to_anchor=(-0.01, 1.0), borderpad=0.2, handlelength=2.4,
        )  # fmt: skip


def _scales(axes: Axes, flows: list[GradientFlow]) -> None:
    """Room for all lines, unless they leave what can be shown; a tick at every power of ten, or at some of them."""
    seen = np.concatenate([_positive(flow) for flow in flows])
    seen = seen[np.isfinite(seen)]
    low, high = max(FLOOR, seen.min(initial=0.1)), min(CEILING, seen.max(initial=1))
    axes.set_yscale("log")
    axes.set_ylim(low / 2 if low > FLOOR else low, high * 2 if high < CEILING else high)
    axes.set_xlim(0, max(1, *(int(flow.lags[-1]) for flow in flows)))
    first, last = np.ceil(np.log10(axes.get_ylim()[0])), np.floor(np.log10(axes.get_ylim()[1]))
    step = max(1, round((last - first) / 6))
    powers = [p for p in range(int(first), int(last) + 1) if p % step == 0]
    axes.yaxis.set_major_locator(FixedLocator([10.0**p for p in powers]))
    axes.yaxis.set_minor_locator(FixedLocator([]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _power(round(log10(y)))))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlabel("steps before the end, T − t", fontsize=13, color=INK)
    axes.set_ylabel("gradient norm, relative to the last output's", fontsize=13, color=INK)
    axes.tick_params(labelsize=12, labelcolor=INK, color=RULE)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)


def _power(exponent: int) -> str:
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return "1" if exponent == 0 else "10" if exponent == 1 else f"10{raised}"


def _line_ends(axes: Axes, flows: Mapping[str, GradientFlow], colors: Mapping[str, str]) -> None:
    """Each line's name where it ends: beyond the right edge, or where it leaves the picture."""
    bottom, top = np.log10(axes.get_ylim())
    right: list[tuple[float, str]] = []
    taken: list[tuple[float, float]] = []  # of names inside: the place, and how far they reach
    for name, flow in flows.items():
        height = (np.log10(_positive(flow)) - bottom) / (top - bottom)
        inside = (height >= 0) & (height <= 1)
        last = len(inside) - 1 if inside.all() else int(np.argmin(inside))
        place = float(flow.lags[last]) / axes.get_xlim()[1]
        if inside[last] and place == 1:
            right.append((float(height[last]), name))
            continue
        taken.append((place, float(height[max(0, last - 1)])))
        up = height[max(0, last - 1)] > 0.5
        axes.annotate(
            name, (place, 1.0 if up else 0.0), xycoords="axes fraction", xytext=(8, -6 if up else 6),
            textcoords="offset points", fontsize=14, fontweight="bold", color=colors[name],
            va="top" if up else "bottom", zorder=4,
        )  # fmt: skip
    for y, (end, name) in zip(_spread([end for end, _ in right]), right, strict=True):
        axes.annotate(
            name, (1.0, end), xycoords="axes fraction", xytext=(1.035, y), textcoords="axes fraction", fontsize=14,
            fontweight="bold", color=colors[name], va="center_baseline", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colors[name], "linewidth": 1.2, "shrinkA": 1, "shrinkB": 0},
        )  # fmt: skip


def _spread(ends: list[float]) -> list[float]:
    """Places near the ends, in axes' heights, far enough from each other for a line of text."""
    gap = 0.065
    places = dict[int, float]()
    for k in sorted(range(len(ends)), key=lambda k: ends[k]):
        places[k] = max(ends[k], max(places.values(), default=-gap) + gap)
    over = max(places.values(), default=0) - 1
    if over > 0:  # pushed over the top: all that touch go down
        limit = 1.0
        for k in sorted(places, key=lambda k: -places[k]):
            places[k] = min(places[k], limit)
            limit = places[k] - gap
    return [places[k] for k in range(len(ends))]


def _positive(flow: GradientFlow) -> Norms:
    """The relative norms, NaN where a logarithm has no place for them."""
    relative = flow.relative
    return np.where(np.isfinite(relative) & (relative > 0), relative, np.nan)


@contextmanager
def _evaluating(rnn: Recurrent) -> Iterator[None]:
    """Without dropout inside the block, and as it was after it."""
    modes = [(module, module.training) for module in rnn.modules()]
    rnn.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _unrolled(rnn: Recurrent, x: Tensor, length: Tensor, start: State) -> tuple[list[State], Tensor]:
    """The states after each step, all in one graph of derivatives, and each sequence's last output (B, H)."""
    state = State(**{name: s.detach().requires_grad_() for name, s in start.tensors.items()})
    states, output = [], torch.zeros((), dtype=x.dtype, device=x.device)
    for t in range(int(length.max())):
        y, state = rnn.step(x[t], state)
        states.append(state)
        output = torch.where((length == t + 1)[:, None], y, output)
    return states, output


def _in_a_direction(output: Tensor) -> Tensor:
    direction = torch.randn(output.shape[1], generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
    along: Tensor = (direction / direction.norm()).to(output)
    return output @ along


def _gradient_of(loss: Callable[[Tensor], Tensor], output: Tensor) -> Tensor:
    """(B, H): the gradient of each sequence's loss in its own last output."""
    leaf = output.detach().requires_grad_()
    losses = loss(leaf)
    if not isinstance(losses, Tensor) or losses.shape != leaf.shape[:1]:
        got = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        raise ArgumentError(
            f"The 'loss' of gradient_flow must give one number a sequence, shape ({len(leaf)},), with no mean over "
            f"them. Got {got} instead."
        )
    (gradient,) = torch.autograd.grad(losses.sum(), leaf) if losses.requires_grad else (torch.zeros_like(leaf),)
    if not bool(gradient.any()):
        raise ArgumentError(
            "The 'loss' of gradient_flow must depend on the output that it is given; its gradient is zero everywhere."
        )
    return gradient


def _squared(gradient: Tensor) -> Tensor:
    """The squared norms over the last axis, in float64: the square of 1e-25 is nothing in float32."""
    return gradient.double().square().sum(-1)


def _by_lag(squares: Tensor, length: NDArray[np.int64]) -> Norms:
    """From squared norms (T, layers, B) by step to mean norms (layers, T) by lag, over the sequences that have it."""
    norms = squares.sqrt().cpu().numpy()
    step = length - 1 - np.arange(len(norms))[:, None]  # T x B
    there = step >= 0
    own = np.take_along_axis(norms, step.clip(0)[:, None, :], axis=0)
    means: Norms = np.where(there[:, None], own, 0).sum(2).T / there.sum(1)
    return means
