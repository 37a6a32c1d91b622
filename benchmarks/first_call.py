"""The first call of a cell in a process: where nothing is on disk, at a new hidden size, and with its code on disk.

    python benchmarks/first_call.py [--cells lstm gru …] [--modes train infer] [--rounds 5]

Each is timed in a process of its own that has run one of torch's LSTMs. Printed are the ms of the first call, with
its backward pass in training, less those of the next, and in brackets those of the processor, in which what else runs
hardly counts. They are medians of the rounds. The cell has 64 units and as many inputs; the new size, for which the
code of 64 is on disk, is 96. `gru_ode16` evaluates a GRU's equations 16 times a step, in four steps of the Runge-
Kutta method of fourth order.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

SCRIPT = """
import sys, time, torch
import selfloop as sl
from selfloop import cells, param, sigmoid, split, tanh

@sl.cell
def gru_ode16(x, h, *, W=param("3h x"), U=param("2h h"), V=param("h h"), b=param("3h")):
    for_r, for_z, for_n = split(W @ x + b, 3)

    def slope(h):
        r, z = split(U @ h, 2)
        n = tanh(for_n + V @ (sigmoid(for_r + r) * h))
        return (1 - sigmoid(for_z + z)) * (n - h)

    for _ in range(4):
        k1 = slope(h)
        k2 = slope(h + 0.125 * k1)
        k3 = slope(h + 0.125 * k2)
        k4 = slope(h + 0.25 * k3)
        h = h + 0.25 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return h

name, mode, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
x = torch.randn(32, 16, size)
torch.nn.LSTM(64, 64)(torch.randn(32, 16, 64))[0].sum().backward()
cell = gru_ode16 if name == "gru_ode16" else cells.ZOO[name]
rnn = sl.Recurrent(cell, size, size, **dict.fromkeys(cell.sizes, 32), backend="native")
rnn.requires_grad_(mode == "train")

def step():
    start = time.perf_counter(), time.process_time()
    y, _ = rnn(x)
    if mode == "train":
        y.sum().backward()
    return time.perf_counter() - start[0], time.process_time() - start[1]

first = step()
later = [step() for _ in range(5)]
print(*(1e3 * (ms - min(again)) for ms, again in zip(first, zip(*later))))
"""


def first_call(cell: str, mode: str, size: int, folder: str) -> tuple[float, float]:
    """Ms of wall and processor, with the machine code in a folder."""
    environment = os.environ | {"SELFLOOP_CACHE": folder}
    command = [sys.executable, "-c", SCRIPT, cell, mode, str(size)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    wall, processor = map(float, done.stdout.split())
    return wall, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cells = ["vanilla", "gru", "lstm", "slstm", "recurrent_highway", "gru_ode16"]
    parser.add_argument("--cells", nargs="+", default=cells)
    parser.add_argument("--modes", nargs="+", choices=["train", "infer"], default=["train", "infer"])
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    columns = ("nothing on disk", "a new size", "on disk")
    print(f"{'ms':26}", *(f"{column:>24}" for column in columns))
    for cell in chosen.cells:
        for mode in chosen.modes:
            times: dict[str, list[tuple[float, float]]] = {column: [] for column in columns}
            for _ in range(chosen.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    for column, size in zip(columns, (64, 96, 96), strict=True):
                        times[column].append(first_call(cell, mode, size, folder))
            medians = ([statistics.median(ms) for ms in zip(*own, strict=True)] for own in times.values())
            shown = (f"{wall:.0f} ({processor:.0f})" for wall, processor in medians)
            print(f"{cell + ' ' + mode:26}", *(f"{text:>24}" for text in shown), flush=True)


if __name__ == "__main__":
    main()
