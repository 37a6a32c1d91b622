"""Calls of changing shapes, forward and backward, and what they leave in memory: the resident size must stay flat.

python benchmarks/soak.py [--calls 10000]
"""

import argparse
import random
import time
from pathlib import Path

import torch

import selfloop as sl
from selfloop import cells


def resident() -> float:
    """What the process holds, in MB."""
    fields = Path("/proc/self/status").read_text(encoding="utf-8").split("VmRSS:")[1].split()
    return int(fields[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    calls = parser.parse_args().calls
    random.seed(0)
    torch.manual_seed(0)
    layers = [
        sl.Recurrent(cell, inputs, hidden)
        for cell in (cells.lstm, cells.gru, cells.layer_norm_lstm, cells.slstm)
        for inputs, hidden in ((3, 17), (64, 64))
    ]
    print(f"{'calls':>7} {'seconds':>8} {'MB':>8}")
    begin = time.perf_counter()
    for call in range(calls + 1):
        if call % (calls // 20) == 0:
            print(f"{call:7} {time.perf_counter() - begin:8.1f} {resident():8.1f}", flush=True)
        rnn = random.choice(layers)
        steps, batch = random.randint(0, 60), random.randint(0, 24)
        x = torch.randn(steps, batch, rnn.input_size, requires_grad=True)
        lengths = [random.randint(0, steps) for _ in range(batch)] if random.random() < 0.5 else None
        resets = torch.rand(steps, batch) < 0.05 if random.random() < 0.3 else None
        y, state = rnn(x, lengths=lengths, resets=resets)
        if random.random() < 0.8:
            (y.sum() + sum(s.sum() for s in state)).backward()


if __name__ == "__main__":
    main()
