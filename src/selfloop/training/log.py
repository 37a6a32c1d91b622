"""What a run reports: metrics.jsonl, TensorBoard, and whoever listens."""

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from selfloop.training.checkpoint import append_bytes
from selfloop.training.events import Events
from selfloop.training.run import Run
from selfloop.training.schedule import passed

if TYPE_CHECKING:
    from selfloop.training.loop import Listener

LINES = 200
"""How many lines of training loss a whole run writes."""

LIVE_EVERY = 0.25
"""Seconds between reports to the listener."""


class Log:
    """Gathers the losses of steps and reports their means.

    Args:
        run: whose folder is written to.
        listener: is told a few times a second.
        step: where the run goes on.
        pending: what a checkpoint kept of `pending`; None for a new run.

    Raises:
        RunError: a file cannot be written, here or in any method.
    """

    def __init__(self, run: Run, listener: "Listener", step: int, pending: Mapping[str, float] | None) -> None:
        self._listener = listener
        self._metrics = run.metrics
        self._events = Events(run.path, step)
        self._live, self._written = _Window(), _Window(**(pending or {}))

    def add(self, step: int, elapsed: float, spent: float, loss: float, targets: int, rate: float) -> None:
        """One update: its loss over so many targets, at this learning rate."""
        self._written.add(loss, targets)
        self._live.add(loss, targets)
        facts = {"step": step, "elapsed": round(elapsed, 3), "spent": spent, "learning_rate": rate}
        line = passed(spent, LINES)
        if line > self._written.line:
            self._report({**facts, **self._written.means()})
            self._written = _Window(line=line)
        if self._live.seconds >= LIVE_EVERY:
            self._listener.reported({**facts, **self._live.means()})
            self._live = _Window()

    def validated(self, step: int, elapsed: float, spent: float, metrics: Mapping[str, float], best: bool) -> None:
        """One validation."""
        named = {f"valid_{name}": value for name, value in metrics.items()}
        self._report({"step": step, "elapsed": round(elapsed, 3), "spent": spent, **named})
        self._listener.validated({"step": step, **metrics}, best)
        self._live, self._written = _Window(), _Window(**self.pending())  # the speed leaves validation out

    def pending(self) -> dict[str, float]:
        """The losses that no line tells yet: with them, a run that is resumed writes the lines of one never stopped."""
        return {"line": self._written.line, "loss": self._written.loss, "steps": self._written.steps}

    def _report(self, line: Mapping[str, float]) -> None:
        append_bytes(self._metrics, json.dumps(line).encode() + b"\n")
        figures = {name: value for name, value in line.items() if name not in ("step", "elapsed", "spent")}
        self._events.add(int(line["step"]), figures)


class _Window:
    """The losses since now, and those of `steps` before, which a run that was stopped has left."""

    def __init__(self, line: float = -1, loss: float = 0.0, steps: float = 0) -> None:
        self.line, self.loss, self.steps = line, loss, steps
        self._since = time.perf_counter()
        self._targets = 0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._since

    def add(self, loss: float, targets: int) -> None:
        self.loss += loss
        self.steps += 1
        self._targets += targets

    def means(self) -> dict[str, float]:
        return {"loss": self.loss / max(1, self.steps), "targets_per_second": self._targets / self.seconds}
