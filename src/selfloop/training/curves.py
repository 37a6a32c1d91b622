"""The picture of a run: its learning curves."""

import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from selfloop.training.run import Run

# Two of Okabe and Ito's colours, which colour-blind readers can tell apart.
TRAIN, VALID = "#0072B2", "#D55E00"


def draw_curves(run: Run) -> Path:
    """Draw ``curves.png`` from ``metrics.jsonl``: training and validation loss over the updates."""
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    train = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    valid = [(line["step"], line["valid_loss"]) for line in lines if "valid_loss" in line]

    figure = Figure(figsize=(7.2, 4.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if train:
        axes.plot(*zip(*train, strict=True), color=TRAIN, linewidth=1.6, label="training")
    if valid:
        axes.plot(*zip(*valid, strict=True), color=VALID, linewidth=1.6, marker="o", markersize=5, label="validation")
        step, best = min(valid, key=lambda point: point[1])
        axes.annotate(
            f"best {best:.3f}",
            (step, best),
            xytext=(0, 14),
            textcoords="offset points",
            ha="right",
            color=VALID,
            fontsize=12,
        )
        late = [loss for s, loss in train if s > train[-1][0] / 50]  # the first losses would flatten the rest
        axes.set_ylim(top=max([*late, *(loss for _, loss in valid)]) * 1.03)
    axes.set_xlabel("updates", fontsize=12)
    axes.set_ylabel("loss, nats per token", fontsize=12)
    axes.set_title(run.path.name, fontsize=13, loc="left")
    axes.tick_params(labelsize=11)
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=12)
    path = run.path / "curves.png"
    figure.savefig(path)
    return path
