"""The picture of a run: its learning curves."""

import io
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from selfloop.errors import RunError, together
from selfloop.training.checkpoint import write_bytes
from selfloop.training.run import Run
from selfloop.untrusted import parse_json

Point = tuple[int, float]

# Two of Okabe and Ito's colours, which colour-blind readers can tell apart.
TRAIN, VALID = "#0072B2", "#D55E00"

LINES = 200
"""Points of the training loss, at the most."""

REGULARISERS = {
    "dropout": (
        "input_dropout", "hidden_dropout", "output_dropout", "embedding_dropout", "image_dropout", "place_dropout",
        "weight_drop",
    ),
    "label smoothing": ("label_smoothing",),
    "penalties": ("activity", "slowness"),
    "class weights": ("class_weights",),
    "scheduled sampling": ("scheduled_sampling",),
}  # fmt: skip
"""What raises the training loss and not the validation loss, and the fields that switch it on."""

UNUSED = (None, 0, "none")

LARGEST = 1e15
"""A number beyond it is damage, and would leave the rest of a curve flat."""


def draw_curves(run: Run, unit: str, kept: int = 0) -> Path:
    """Draw ``curves.png`` from ``metrics.jsonl``: training and validation loss over the updates.

    The training loss is that of the updates themselves, so it holds dropout, label smoothing, penalties and class
    weights where the run has them; the legend says so. The validation loss holds none of them.

    Args:
        run: whose.
        unit: of the loss: ``nats per token``.
        kept: the update whose weights are kept, which is circled; 0 for that of the lowest validation loss.

    Raises:
        RunError: the metrics cannot be read, or the picture cannot be written.
    """
    picture = io.BytesIO()
    figure_of(run, unit, kept).savefig(picture)
    path = run.path / "curves.png"
    write_bytes(path, picture.getvalue())
    return path


def figure_of(run: Run, unit: str, kept: int = 0) -> Figure:
    """The figure that `draw_curves` writes."""
    reported, valid, unreadable = _points(run.metrics)
    train = _pooled(reported)
    figure = Figure(figsize=(7.2, 4.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if train:
        points = [(step, loss) for step, loss, _ in train]
        axes.plot(*zip(*points, strict=True), color=TRAIN, linewidth=1, alpha=0.35)
        axes.plot(*zip(*_smooth(train), strict=True), color=TRAIN, linewidth=2, label=f"training{_regularised(run)}")
    if valid:
        step, loss = min(valid, key=lambda point: (point[0] != kept, point[1]))
        label = f"validation, {loss:.3f} at update {step:,}, {'which is kept' if step == kept else 'the lowest'}"
        axes.plot(*zip(*valid, strict=True), color=VALID, linewidth=2, marker="o", markersize=5, label=label)
        axes.plot(step, loss, color=VALID, marker="o", markersize=11, markerfacecolor="none", markeredgewidth=2)
        late = [loss for s, loss, _ in train if s > train[-1][0] / 50]  # the first losses would flatten the rest
        shown = [*late, *(loss for _, loss in valid)]
        top, bottom = max(shown), min(shown)
        margin = 0.04 * (top - bottom) or 0.5
        axes.set_ylim(bottom - margin, top + margin)
    axes.set_xlabel("updates", fontsize=13)
    axes.set_ylabel(f"loss, {unit}", fontsize=13)
    damaged = f"   (damaged lines of metrics.jsonl left out: {unreadable})" if unreadable else ""
    axes.tick_params(labelsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    legend = figure.legend(  # above the axes, where it covers no curve
        handles=axes.get_legend_handles_labels()[0], title=run.path.name + damaged, alignment="left", fontsize=13,
        title_fontproperties={"size": 14, "weight": "bold"}, loc="outside upper left", frameon=False,
        borderpad=0.2, borderaxespad=0.3,
    )  # fmt: skip
    legend.get_title().set_parse_math(False)
    return figure


def _regularised(run: Run) -> str:
    """What the training loss holds and the validation loss does not: ``, with dropout``."""
    chosen: dict[str, Any] = {}
    for section in run.config().values():
        chosen |= section if isinstance(section, dict) else {}
    held = [what for what, fields in REGULARISERS.items() if any(chosen.get(f) not in UNUSED for f in fields)]
    return f", with {together(held)}" if held else ""


def _points(metrics: Path) -> tuple[list[Point], list[Point], int]:
    """Update and loss, of training and of validation; and how many lines cannot be read."""
    curves: dict[str, list[Point]] = {"loss": [], "valid_loss": []}
    unreadable = 0
    try:
        lines = metrics.read_bytes().splitlines()
    except OSError as error:
        raise RunError(f"{metrics} cannot be read ({error.strerror or error}). Restore it from a copy.") from error
    for line in lines:
        try:
            facts = parse_json(line)
            step = int(facts["step"])
            found = {name: (step, float(facts[name])) for name in curves if name in facts}
            if abs(step) > LARGEST or not all(abs(loss) < LARGEST for _, loss in found.values()):
                raise ValueError
        except (ValueError, LookupError, TypeError, OverflowError):
            unreadable += 1
            continue
        for name, point in found.items():
            curves[name].append(point)
    return curves["loss"], curves["valid_loss"], unreadable


def _pooled(points: list[Point]) -> list[tuple[int, float, int]]:
    """Update, mean loss and the number of updates that it is the mean of.

    A line of the metrics stands for a share of the budget. Where that is time and the machine is slow for a while, a
    line is of one or two updates, and its loss is noise: such lines are pooled with the next.
    """
    least = points[-1][0] / LINES if points else 0
    pooled, before, total, taken = list[tuple[int, float, int]](), 0, 0.0, 0
    for number, (step, loss) in enumerate(points, 1):
        count = max(1, step - before)
        before, total, taken = step, total + loss * count, taken + count
        if taken >= least or number == len(points):
            pooled.append((step, total / taken, taken))
            total, taken = 0.0, 0
    return pooled


def _smooth(train: list[tuple[int, float, int]]) -> list[Point]:
    """The means over a window of a twentieth of the updates around each point."""
    reach = train[-1][0] / 40
    means = []
    for step, _, _ in train:
        around = [(loss, count) for other, loss, count in train if abs(other - step) <= reach]
        means.append((step, sum(loss * count for loss, count in around) / sum(count for _, count in around)))
    return means
