"""Training: the loop, the budget, checkpoints, and a run's folder."""

from selfloop.options.training import TrainingOptions
from selfloop.training.loop import Listener, Task, train
from selfloop.training.resume import Progress, read_progress
from selfloop.training.run import Run

__all__ = ["Listener", "Progress", "Run", "Task", "TrainingOptions", "read_progress", "train"]
