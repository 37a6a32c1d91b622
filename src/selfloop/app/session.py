"""A run from what is given to scores and pictures: what ``selfloop train`` and `selfloop.train` do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from selfloop.app import training, trials
from selfloop.app.screen import Screen
from selfloop.app.training import Outcome, own_code
from selfloop.cells import ZOO
from selfloop.errors import ArgumentError, ConfigError, check_one_of, together
from selfloop.language import Cell
from selfloop.options.fields import configure
from selfloop.tasks.loading import kind_of
from selfloop.tasks.predictor import TrainedModel
from selfloop.tasks.results import holds_several
from selfloop.tasks.return_types import by_run, by_task
from selfloop.tasks.table import TASKS, TaskEntry
from selfloop.tasks.trials import Trials
from selfloop.training import Listener, Run
from selfloop.untrusted import exists, short


@by_task  # type: ignore[arg-type]  # no option is called task
def train(
    task: str,
    *sources: str | Path,
    run: str | Path | None = None,
    resume: Literal["auto"] | None = None,
    config: str | Path | None = None,
    cell: Cell | str | None = None,
    device: str | None = None,
    quiet: bool = False,
    listener: Listener | None = None,
    **options: object,
) -> TrainedModel | Trials:
    """Train a model on your own data, and open it: `selfloop train` for Python.

    Args:
        task: ``lm``, ``classify``, ``label``, ``translate`` or ``caption``.
        sources: where the data are, as after `selfloop train TASK`: a file, a folder, a name on the hub; of
            ``translate`` also the file of translations. Without any, what the task brings with it.
        run: the folder to make; None for ``runs/NAME``, after the data.
        resume: with ``"auto"``, go on with the run of this folder where it has a checkpoint.
        config: a TOML file with sections of the configuration.
        cell: a name of the zoo, ``FILE.py:NAME``, or a Cell; of a Cell the run keeps its name alone.
        device: ``cpu`` or ``cuda``; None for the fastest there is.
        quiet: show nothing.
        listener: is told of reports and validations, and may stop the run.
        options: any field of the configuration by its name, as ``minutes=5`` or ``hidden_size=256``, or a section as a
            dictionary: ``model={"hidden_size": 256}``. `selfloop train TASK --fields` lists them all.

    Returns:
        The model with its best weights, as `selfloop.load` opens the run. If it is stopped, as by Ctrl-C, it is that of
        its best weights so far, and `resume` goes on. With ``folds`` or ``seeds``, which train several times: `Trials`.

    Raises:
        ArgumentError: there is no such task, or there are too many sources.
        ConfigError: a field does not exist, or a value does not fit.
        DataError: the data cannot be used.
        RunError: the folder exists already, or it stopped before its first validation.
    """
    entry = entry_of(task)
    if len(sources) > len(entry.sources):
        raise ArgumentError(
            f"selfloop.train('{task}') takes {together(entry.sources)}. Got {len(sources)} sources instead."
        )
    given = {**dict(zip(entry.sources, map(str, sources), strict=False)), **options}
    own = cell if isinstance(cell, Cell) else None
    if cell is not None:
        given["cell"] = cell if isinstance(cell, str) else name_of(cell)
    chosen = configure(entry.config, given, file=None if config is None else Path(config), source="selfloop.train")
    screen = Screen(task, entry, quiet=quiet, listener=listener)
    if resume not in (None, "auto"):
        raise ArgumentError(f"The 'resume' of train must be 'auto', or not be given. Got {short(resume)} instead.")
    path = None if run is None else Path(run)
    outcome = begin(task, chosen, path, screen, cell=own, device=device, resume=resume is not None)
    return outcome if isinstance(outcome, Trials) else outcome.model(*own_code(chosen, own))


@by_run  # type: ignore[arg-type]  # no budget is called run or task
def resume(
    run: str | Path,
    task: str | None = None,
    *,
    cell: Cell | str | None = None,
    encoder: str | None = None,
    device: str | None = None,
    quiet: bool = False,
    listener: Listener | None = None,
    **budget: float,
) -> TrainedModel | Trials:
    """Go on with a run that was stopped, as if it had never been, or train a finished one longer, and open it.

    Args:
        run: its folder.
        task: as of `selfloop.load`.
        cell: of a run that was trained with one's own.
        encoder: likewise the image encoder, as ``FILE.py:NAME``.
        device: as of `train`.
        quiet: as of `train`.
        listener: as of `train`.
        budget: of a finished run, how much longer to train it: ``minutes``, ``epochs`` or ``steps``. The learning rate
            goes on as if the run had had that budget from the beginning.

    Returns:
        As `train`.

    Raises:
        RunError: there is no run, it is finished or of another task, another process trains it, or its data or files
            have changed.
    """
    found = Run.open(Run.folder(run))
    entry = kind_of(found, task)
    screen = Screen(str(found.config()["task"]), entry, quiet=quiet, listener=listener)
    outcome = go_on(found, screen, budget, cell=cell, encoder=encoder, device=device)
    return outcome if isinstance(outcome, Trials) else outcome.model(cell, encoder)


def entry_of(task: str) -> TaskEntry:
    """The task of a name.

    Raises:
        ArgumentError: there is none.
    """
    check_one_of(task, TASKS, "The 'task'")
    return TASKS[task]


def name_of(cell: Cell) -> str:
    """How a run remembers a cell: by its name in the zoo, or by the file that it was written in."""
    known = next((name for name, other in ZOO.items() if other is cell), None)
    return known or f"{cell.function.__code__.co_filename}:{cell.name}"


def begin(
    task: str,
    chosen: Any,
    path: Path | None,
    screen: Screen,
    *,
    cell: Cell | None = None,
    device: str | None = None,
    resume: bool = False,
) -> Outcome | Trials:
    """Begin a run with a configuration, or as many as it asks for; with `resume`, go on with it where it is begun.

    Raises:
        ConfigError: it is to be resumed, and has no folder.
    """
    if resume:
        if path is None:
            raise ConfigError(
                "--resume auto goes on with the run in the folder that --run names. Got none: give --run."
            )
        again = trials.begin_or_go_on if trials.variants(chosen) else training.begin_or_go_on
        return again(task, chosen, path, screen, cell=cell, device=device)
    if path is not None and exists(path):
        Run.create(path, task, {})  # says that it exists
    how: Any = {"cell": cell, "device": device}
    if trials.variants(chosen):
        return trials.begin(task, chosen, path, screen, **how)
    return training.begin(task, chosen, path, screen, **how)


def go_on(
    run: Run,
    screen: Screen,
    more: Mapping[str, float],
    *,
    cell: Cell | str | None = None,
    encoder: str | None = None,
    device: str | None = None,
) -> Outcome | Trials:
    """Go on with a run, or with several in one folder, or train a finished one longer by a budget."""
    how: Any = {"cell": cell, "encoder": encoder, "device": device}
    if holds_several(run):
        return trials.go_on(run, screen, more, **how)
    return training.go_on(run, screen, more, **how)
