"""The picture of a run: its learning curves."""

import io
import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from selfloop.errors import RunError
from selfloop.training.checkpoint import write_bytes
from selfloop.training.run import Run

Point = tuple[int, float]

# Two of Okabe and Ito's colours, which colour-blind readers can tell apart.
TRAIN, VALID = "#0072B2", "#D55E00"

LARGEST = 1e15
"""A number beyond it is damage, and would leave the rest of a curve flat."""


def draw_curves(run: Run, unit: str) -> Path:
    """Draw ``curves.png`` from ``metrics.jsonl``: training and validation loss over the updates.

    Args:
        run: whose.
        unit: of the loss: ``nats per token``.

    Raises:
        RunError: the metrics cannot be read, or the picture cannot be written.
    """
    train, valid, unreadable = _points(run.metrics)

    figure = Figure(figsize=(7.2, 4.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if train:
        axes.plot(*zip(*train, strict=True), color=TRAIN, linewidth=1, alpha=0.35)
        axes.plot(*zip(*_smooth(train), strict=True), color=TRAIN, linewidth=2, label="training")
    if valid:
        step, best = min(valid, key=lambda point: point[1])
        label = f"validation, best {best:.3f} at {step:,}"
        axes.plot(*zip(*valid, strict=True), color=VALID, linewidth=2, marker="o", markersize=5, label=label)
        axes.plot(step, best, color=VALID, marker="o", markersize=11, markerfacecolor="none", markeredgewidth=2)
        late = [loss for s, loss in train if s > train[-1][0] / 50]  # the first losses would flatten the rest
        top, bottom = max([*late, *(loss for _, loss in valid)]), min([*late, best])
        axes.set_ylim(bottom - 0.04 * (top - bottom), top + 0.04 * (top - bottom) or None)
    axes.set_xlabel("updates", fontsize=13)
    axes.set_ylabel(f"loss, {unit}", fontsize=13)
    axes.set_title(run.path.name, fontsize=14, loc="left")
    if unreadable:
        axes.set_title(f"damaged lines of metrics.jsonl left out: {unreadable}", fontsize=9, loc="right")
    axes.tick_params(labelsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if train or valid:
        axes.legend(frameon=False, fontsize=13, loc="upper right")
    picture = io.BytesIO()
    figure.savefig(picture)
    path = run.path / "curves.png"
    write_bytes(path, picture.getvalue())
    return path


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
            facts = json.loads(line)
            step = int(facts["step"])
            found = {name: (step, float(facts[name])) for name in curves if name in facts}
            if abs(step) > LARGEST or not all(abs(loss) < LARGEST for _, loss in found.values()):
                raise ValueError
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
            unreadable += 1
            continue
        for name, point in found.items():
            curves[name].append(point)
    return curves["loss"], curves["valid_loss"], unreadable


def _smooth(points: list[Point]) -> list[Point]:
    """The means of a window of a twentieth of the points around each."""
    reach = len(points) // 40
    means = []
    for i, (step, _) in enumerate(points):
        around = points[max(0, i - reach) : i + reach + 1]
        means.append((step, sum(loss for _, loss in around) / len(around)))
    return means
