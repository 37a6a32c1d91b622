"""What the training loop costs: updates of `train lm` against a bare loop of the same forward, backward and update.

    python benchmarks/loop_overhead.py TEXT [--rounds 5] [--steps 60]

Both run in turns, on fresh models of the shipped defaults. The loop's time holds all that `train lm` does at an update:
batches, carried state, learning rate, finiteness, log. Validation and checkpoints come on top, now and then.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from accelerate import Accelerator

from selfloop.options import LanguageModelConfig
from selfloop.options.lm import TextOptions
from selfloop.tasks.lm import LanguageModelling
from selfloop.tasks.lm.score import negative_log_likelihood
from selfloop.training import Run, TrainingOptions, train
from selfloop.training.optimizers import make_optimizer


class Clock:
    """A listener that notes when each update ends; the loop asks it once an update whether to stop."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def reported(self, report: object) -> None:
        pass

    def validated(self, metrics: object, best: bool) -> None:
        pass

    def stop(self) -> bool:
        self.times.append(time.perf_counter())
        return False


def loop(config: LanguageModelConfig) -> list[float]:
    """Seconds of each update in selfloop's loop."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", "lm", config.model_dump())
        train(LanguageModelling(config), run, config.training, Accelerator(cpu=True), clock)
    return [b - a for a, b in zip(clock.times, clock.times[1:], strict=False)]


def bare(config: LanguageModelConfig) -> list[float]:
    """Seconds of each update in the shortest loop that does the same work."""
    task = LanguageModelling(config)
    model, options = task.model.train(), config.training
    optimizer = make_optimizer(model, options)
    windows = [task._streams.window(0, k) for k in range(options.steps or 0)]
    state, seconds = None, []
    for inputs, targets in windows:
        start = time.perf_counter()
        logits, state = model(inputs, state)
        state = state.detach()
        loss = negative_log_likelihood(logits, targets) / targets.numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    chosen = parser.parse_args()
    config = LanguageModelConfig(
        data=TextOptions(source=chosen.text), training=TrainingOptions(steps=chosen.steps, validations=1)
    )
    tokens = config.training.batch_size * config.data.window
    ratios = []
    for number in range(chosen.rounds):
        ours, theirs = statistics.median(loop(config)), statistics.median(bare(config))
        ratios.append(theirs / ours)
        print(
            f"round {number + 1}: train lm {tokens / ours:8,.0f} tokens/s, bare loop {tokens / theirs:8,.0f} tokens/s, "
            f"ratio {ratios[-1]:.3f}"
        )
    print(f"median ratio {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
