"""Logits that are held, as predictions need them: our `linear` beside torch's.

    python benchmarks/logits.py

Rows, units and types of a translator's beams, of a batch of words, of characters and of labels, each by our functions,
whether `linear` would take them or not. Medians in turns.
"""

import torch
from torch.nn import functional as F

from selfloop.bench.peak import peak
from selfloop.bench.timing import ratio, spread, take_turns
from selfloop.kernels import readout

SHAPES = (
    (5, 256, 8_000),
    (16, 256, 8_000),
    (32, 256, 8_000),
    (160, 256, 8_000),
    (320, 512, 8_000),
    (16, 650, 10_000),
    (64, 650, 10_000),
    (700, 650, 10_000),
    (320, 1024, 1_500),
    (16, 256, 2_000),
    (320, 256, 2_000),
    (2_048, 512, 100),
    (600, 256, 17),
)


@torch.no_grad()
def main() -> None:
    """Measure all shapes."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, peak {peak():.0f} GFLOP/s of float32")
    print("   rows   units    types   torch's ms   GFLOP/s   ours ms   GFLOP/s   ratio   `linear` takes")
    rows_of_ours, weights_of_ours = readout.LEAST_ROWS, readout.LEAST_WEIGHTS
    readout.LEAST_ROWS = readout.LEAST_WEIGHTS = 1
    for rows, units, types in SHAPES:
        x, weight, bias = torch.randn(rows, units), torch.randn(types, units), torch.randn(types)
        given = x, weight, bias
        times = take_turns([lambda g=given: readout.linear(*g), lambda g=given: F.linear(*g)], rounds=9)
        ours, theirs = (spread(own).median for own in times)
        work = 2 * rows * units * types / 1e6
        takes = "ours" if rows >= rows_of_ours and weight.numel() >= weights_of_ours else "torch's"
        print(
            f"{rows:7,} {units:7,} {types:8,} {theirs:12.3f} {work / theirs:9.0f} {ours:9.3f} {work / ours:9.0f} "
            f"{ratio(*times).median:7.2f}   {takes}"
        )


if __name__ == "__main__":
    main()
