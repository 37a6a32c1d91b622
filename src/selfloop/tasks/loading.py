"""``selfloop.load``: open a run, whatever its task."""

from pathlib import Path
from shlex import quote

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from selfloop.errors import RunError, nearest
from selfloop.language import Cell
from selfloop.layers.device import check_device
from selfloop.tasks.predictor import TrainedModel
from selfloop.tasks.return_types import by_run
from selfloop.tasks.run_config import read_config
from selfloop.tasks.table import TASKS, TaskEntry
from selfloop.training.run import Run
from selfloop.untrusted import exists, written


@by_run
def load(
    path: str | Path,
    task: str | None = None,
    *,
    cell: Cell | str | None = None,
    encoder: str | None = None,
    device: str = "cpu",
) -> TrainedModel:
    """Open a run with its best weights, ready to use.

    Args:
        path: a run's folder, or the name of a repository on the Hugging Face hub that holds one: ``owner/name``.
        task: what the run must have been trained for, as ``classify``, so that type checkers know what is returned.
            None opens a run of any task.
        cell: the cell of a run that was trained with one's own, as a Cell or as ``FILE.py:NAME``; code is not kept in
            a run, and never loaded from one.
        encoder: likewise the image encoder of a run of `caption` that was trained with one's own, as ``FILE.py:NAME``.
        device: where the model is to be.

    Returns:
        A model of the run's task, such as a `TextModel` of `lm` or a `Classifier` of `classify`.

    Raises:
        RunError: there is no run, or it is damaged, of another version, of another task, or needs its cell.
        ArgumentError: `path` is no path, torch has no such device here, or the model has no image encoder.
    """
    check_device("load", device)
    run = Run.open(_folder(path))
    kind = kind_of(run, task)
    return kind.predictor.open(run, read_config(run, kind.config), cell=cell, encoder=encoder, device=device)


def kind_of(run: Run, asked: str | None = None) -> TaskEntry:
    """The task that a run was trained for.

    Raises:
        RunError: it is none that is known, or another than is asked for.
    """
    task = str(run.config().get("task"))
    if task not in TASKS:
        hint = nearest(task, TASKS) or f"; known are: {', '.join(TASKS)}."
        raise RunError(f"{run.path} was trained for the task '{written(task)}', which is not known{hint}")
    if asked not in (None, task):
        raise RunError(f"{run.path} is a run of the task '{task}', not '{asked}': give task='{task}', or leave it out.")
    return TASKS[task]


def open_run_of(task: str, path: Path) -> Run:
    """A run to go on with.

    Raises:
        RunError: there is none, or it is of another task.
    """
    run = Run.open(path)
    if kind_of(run) is not TASKS[task]:
        own = run.config()["task"]
        raise RunError(
            f"{path} is a run of the task '{own}', not '{task}': selfloop train {own} --resume {quote(str(path))}."
        )
    return run


def kind_of_model(model: object) -> TaskEntry:
    """The task that an opened model is of."""
    return next(kind for kind in TASKS.values() if isinstance(model, kind.predictor))


def _folder(path: str | Path) -> Path:
    """The folder itself, or a copy of the repository of that name."""
    folder = Run.folder(path)
    if exists(folder) or str(path).count("/") != 1 or str(path).startswith((".", "runs/")):
        return folder
    try:
        return Path(snapshot_download(str(path)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise RunError(
            f"{path} is no folder here, and the hub has not given it: {(str(error).splitlines() or [''])[0]}"
        ) from error
