"""The first call of a cell in a process, forward and backward: compiled, and with the machine code on disk.

    python benchmarks/first_call.py [--cells lstm gru …] [--rounds 5]

Each is timed in a process of its own that has run one of torch's LSTMs; printed are the ms of the first training step
less those of the next: the median and the extremes of the rounds. The input has 64 features and the cell 64 units.
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
from selfloop import cells

x = torch.randn(32, 16, 64)
torch.nn.LSTM(64, 64)(x)[0].sum().backward()
cell = cells.ZOO[sys.argv[1]]
rnn = sl.Recurrent(cell, 64, 64, **dict.fromkeys(cell.sizes, 32), backend="native")

def step():
    start = time.perf_counter()
    rnn(x)[0].sum().backward()
    return time.perf_counter() - start

first = step()
print(1e3 * (first - min(step() for _ in range(5))))
"""


def first_call(cell: str, folder: str) -> float:
    """Ms, with the machine code in a folder."""
    environment = os.environ | {"SELFLOOP_CACHE": folder}
    command = [sys.executable, "-c", SCRIPT, cell]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=["vanilla", "gru", "lstm", "slstm", "recurrent_highway"])
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    print(f"{'ms':20} {'compiled':>24} {'on disk':>24}")
    for cell in chosen.cells:
        compiled, loaded = [], []
        for _ in range(chosen.rounds):
            with tempfile.TemporaryDirectory() as folder:
                compiled.append(first_call(cell, folder))
                loaded.append(first_call(cell, folder))
        shown = (f"{statistics.median(v):.0f} ({min(v):.0f} to {max(v):.0f})" for v in (compiled, loaded))
        print(f"{cell:20} " + " ".join(f"{text:>24}" for text in shown), flush=True)


if __name__ == "__main__":
    main()
