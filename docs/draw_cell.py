"""Draws docs/cell_and_speed.png: a cell as equations, and how long it takes to train with it.

python docs/draw_cell.py
"""

import re
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent
RESULT = HERE.parent / "benchmarks" / "results" / "bench_sapphire_rapids.txt"

OURS, PEER = "#0072B2", "#BBBBBB"

EQUATIONS = (
    (r"$i, f, g, o = \mathrm{split}(W x_t + U h_{t-1} + b)$", "i, f, g, o = split(W @ x + U @ h + b, 4)"),
    (r"$i = \sigma(i + p \odot c_{t-1}), \;\; f = \sigma(f + q \odot c_{t-1})$",
     "i, f = sigmoid(i + p * c), sigmoid(f + q * c)"),
    (r"$c_t = f \odot c_{t-1} + i \odot \tanh(g)$", "c = f * c + i * tanh(g)"),
    (r"$h_t = \sigma(o + r \odot c_t) \odot \tanh(c_t)$", "h = sigmoid(o + r * c) * tanh(c)"),
)  # fmt: skip

CASES = (
    ("LSTM with peepholes\nbeside a loop over\ntorch operations", "zoo", "peephole_lstm", "64→64", "loop"),
    ("GRU\nbeside torch.nn.GRU", "gru", "gru", "64→64", "torch.nn"),
    ("LSTM, ragged batch,\nbeside torch.nn.LSTM\nwith packing", "ragged", "lstm", "64→64", "torch.nn"),
    ("LSTM\nbeside torch.nn.LSTM", "lstm", "lstm", "64→64", "torch.nn"),
)


def times(section: str, cell: str, sizes: str) -> tuple[float, float, float]:
    """Milliseconds of an update, ours and the peer's, and their ratio, as `selfloop bench` printed them."""
    text = RESULT.read_text(encoding="utf-8")
    rows = re.split(rf"^{section}: training.*$", text, flags=re.MULTILINE)[1].split("\n\n")[0]
    found = re.search(rf"^  {cell} +\d+×\d+ +{sizes} +([\d.]+) ms +([\d.]+) ms +([\d.]+)", rows, flags=re.MULTILINE)
    assert found is not None, (section, cell, sizes)
    return float(found[1]), float(found[2]), float(found[3])


def write_equations(axes: Axes) -> None:
    """The formulas, and below each the line of the cell."""
    axes.set_axis_off()
    axes.set_title("The equations are the program", fontsize=15, loc="left", pad=14)
    for row, (formula, code) in enumerate(EQUATIONS):
        y = 0.98 - 0.255 * row
        axes.text(0, y, formula, fontsize=15, va="top", transform=axes.transAxes)
        axes.text(0, y - 0.115, code, fontsize=11.5, va="top", family="monospace", color=OURS, transform=axes.transAxes)


def draw_speed(axes: Axes) -> None:
    """Two bars a case."""
    axes.set_title("Time of a training step, forward and backward", fontsize=15, loc="left", pad=14)
    for row, (_, section, cell, sizes, peer) in enumerate(CASES):
        ours, other, ratio = times(section, cell, sizes)
        axes.barh(row - 0.19, other, 0.36, color=PEER)
        axes.barh(row + 0.19, ours, 0.36, color=OURS)
        axes.text(other + 0.4, row - 0.19, f"{other:.1f} ms  {peer}", va="center", fontsize=11.5)
        axes.text(ours + 0.4, row + 0.19, f"{ours:.1f} ms  selfloop, {ratio:.1f} times as fast", va="center",
                  fontsize=11.5, color=OURS)  # fmt: skip
    axes.set_yticks(range(len(CASES)), [label for label, *_ in CASES], fontsize=11.5)
    axes.set_ylim(len(CASES) - 0.5, -0.5)
    axes.set_xlim(0, 37)
    axes.set_xlabel("milliseconds: 32 sequences of 64 or 96 steps, 64 units, two cores", fontsize=11.5)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def main() -> None:
    """Draw both halves."""
    figure = Figure(figsize=(13, 4.9), dpi=110, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    write_equations(left)
    draw_speed(right)
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15)
    figure.savefig(HERE / "cell_and_speed.png")


if __name__ == "__main__":
    main()
