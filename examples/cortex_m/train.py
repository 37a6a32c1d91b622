"""Trains a model that says at each reading of an accelerometer whether it lies, is carried or falls, for a Cortex-M7.

The readings are made up: 50 a second, in g, along three axes.
"""

import argparse
import math
from pathlib import Path

import torch

import selfloop as sl
from selfloop import cells, models

LABELS = ("lying", "carried", "falling")


def recording(length: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Readings, (T, 3), and what they are, (T,): half a second to two of each."""
    readings, labels = [], []
    while sum(len(part) for part in labels) < length:
        n = int(torch.randint(25, 100, (1,), generator=draw))
        label = int(torch.randint(3, (1,), generator=draw))
        down = torch.tensor([0.0, 0.0, 0.0 if label == 2 else 1.0])
        t = torch.arange(n)[:, None] / 50
        swing = 0.4 * torch.sin(2 * math.pi * (1.8 * t + torch.rand(3, generator=draw))) * (label == 1)
        readings.append(down + swing + 0.05 * torch.randn(n, 3, generator=draw))
        labels.append(torch.full((n,), label))
    return torch.cat(readings)[:length], torch.cat(labels)[:length]


def trained(steps: int) -> models.ManyToMany:
    """A GRU of 16 units, and a linear readout of each of its outputs."""
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    numbers = models.NumberEncoder(3)
    numbers.fit([0.0, 0.0, 0.6], [0.3, 0.3, 0.6])  # mean and deviation of each axis
    model = models.ManyToMany(numbers, cells.gru, len(LABELS), hidden_size=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        pairs = [recording(200, draw) for _ in range(16)]
        x, y = (torch.stack(parts, 1) for parts in zip(*pairs, strict=True))
        loss = torch.nn.functional.cross_entropy(model(x)[0].flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def main() -> None:
    """Write `build/`: the model for the processor, and readings to try it on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--target", default="cortex-m7")
    parser.add_argument("--out", type=Path, default=Path("build"))
    asked = parser.parse_args()
    model = trained(asked.steps)
    print(sl.export(model, asked.out, to="object", target=asked.target, name="sensor", weights="int8"))
    x, y = recording(500, torch.Generator().manual_seed(1))
    rows = ",\n".join("    {" + ", ".join(f"{v:.4f}f" for v in row) + "}" for row in x.tolist())
    names = ", ".join(f'"{label}"' for label in LABELS)
    (asked.out / "readings.h").write_text(
        f"#define READINGS {len(x)}\n"
        f"static const char *const labels[] = {{{names}}};\n"
        f"static const float readings[READINGS][3] = {{\n{rows}}};\n"
        f"static const int expected[READINGS] = {{{', '.join(map(str, y.tolist()))}}};\n"
    )


if __name__ == "__main__":
    main()
