"""Logits that are held, as predictions need them: torch's linear, beside the product in our pass of readout and loss.

    python benchmarks/logits.py

Rows, units and types of a step of a translator's beam, of a training batch of words, of characters and of labels. Our
pass makes the logits of some rows at a time and a loss of them, with no gradient, and writes none: a kernel of logits
alone, which writes them as torch does, would gain less than the ratio of both. Medians in turns; GFLOP/s are of the
product alone.
"""

import torch
from torch.nn import functional as F

from selfloop.bench.peak import peak
from selfloop.bench.timing import ratio, spread, take_turns
from selfloop.kernels.cross_entropy import linear_cross_entropy

SHAPES = ((5, 256, 8_000), (32, 256, 8_000), (160, 256, 8_000), (700, 650, 10_000), (2_048, 512, 100), (600, 256, 17))


@torch.no_grad()
def main() -> None:
    """Measure all shapes."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, peak {peak():.0f} GFLOP/s of float32")
    for rows, units, types in SHAPES:
        x, weight, bias = torch.randn(rows, units), torch.randn(types, units), torch.randn(types)
        labels = torch.randint(types, (rows,))
        calls = [
            lambda x=x, weight=weight, bias=bias, labels=labels: linear_cross_entropy(x, weight, bias, labels),
            lambda x=x, weight=weight, bias=bias: F.linear(x, weight, bias),
        ]
        times = take_turns(calls, rounds=7)
        ours, theirs = (spread(own).median for own in times)
        work = 2 * rows * units * types / 1e6
        print(
            f"{rows:5,} × {units} × {types:6,}   torch's linear {theirs:8.3f} ms {work / theirs:5.0f} GFLOP/s   "
            f"our pass {ours:8.3f} ms {work / ours:5.0f} GFLOP/s   {ratio(*times).median:.2f}"
        )


if __name__ == "__main__":
    main()
