"""What a run reports: metrics.jsonl, TensorBoard, and whoever listens."""

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch.utils.tensorboard import SummaryWriter

from selfloop.errors import RunError
from selfloop.training.run import Run

if TYPE_CHECKING:
    from selfloop.training.loop import Listener

LINES = 200
"""How many lines of training loss a whole run writes."""

LIVE_EVERY = 0.25
"""Seconds between reports to the listener."""


class Log:
    """Gathers the losses of steps and reports their means."""

    def __init__(self, run: Run, listener: "Listener", step: int) -> None:
        self._listener = listener
        self._file = (run.path / "metrics.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(run.path), purge_step=step or None)
        self._written, self._live = _Window(), _Window()
        self._lines: int | None = None

    def add(self, step: int, elapsed: float, spent: float, loss: float, targets: int, rate: float) -> None:
        """One update: its loss over so many targets, at this learning rate."""
        self._written.add(loss, targets)
        self._live.add(loss, targets)
        facts = {"step": step, "elapsed": round(elapsed, 3), "spent": spent, "learning_rate": rate}
        line = int(spent * LINES)
        if self._lines is None or line > self._lines:
            self._lines = line
            self._write({**facts, **self._written.means()})
            self._written = _Window()
        if self._live.seconds >= LIVE_EVERY:
            self._listener.reported({**facts, **self._live.means()})
            self._live = _Window()

    def validated(self, step: int, elapsed: float, spent: float, metrics: Mapping[str, float], best: bool) -> None:
        """One validation."""
        named = {f"valid_{name}": value for name, value in metrics.items()}
        self._write({"step": step, "elapsed": round(elapsed, 3), "spent": spent, **named})
        self._listener.validated(metrics, best)
        self._written, self._live = _Window(), _Window()  # the speed of training leaves validation out

    def close(self) -> None:
        """Write what is left."""
        self._file.close()
        self._board.close()

    def _write(self, line: Mapping[str, float]) -> None:
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise RunError(f"{self._file.name} cannot be written: {error.strerror or error}.") from error
        for name, value in line.items():
            if name not in ("step", "elapsed", "spent"):
                self._board.add_scalar(name, value, int(line["step"]))


class _Window:
    """The losses since now."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._loss = 0.0
        self._steps = self._targets = 0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._since

    def add(self, loss: float, targets: int) -> None:
        self._loss += loss
        self._steps += 1
        self._targets += targets

    def means(self) -> dict[str, float]:
        return {"loss": self._loss / max(1, self._steps), "tokens_per_second": self._targets / self.seconds}
