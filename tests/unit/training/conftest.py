from pathlib import Path

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from unit.training.toy import Watcher

from selfloop.training import Run, TrainingOptions, train


@pytest.fixture
def accelerator(request):
    AcceleratorState._reset_state(reset_partial_state=True)
    yield Accelerator(cpu=True, mixed_precision=getattr(request, "param", "no"))
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def fit(tmp_path: Path, accelerator: Accelerator):
    """Trains a task in a folder, and gives how far it came; a folder that is there is resumed."""

    def run(task, *, folder="run", listener=None, **options):
        path = tmp_path / folder
        resumed = path.exists()
        made = Run(path) if resumed else Run.create(path, "toy", {})
        chosen = TrainingOptions(**{"steps": 20, "validations": 4, "warmup": 0.0, **options})
        return train(task, made, chosen, accelerator, listener or Watcher(), resumed)

    return run
