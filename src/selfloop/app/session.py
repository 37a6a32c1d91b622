"""A run from what is given to scores and pictures: what ``selfloop train`` and `selfloop.train` do."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from accelerate import Accelerator

from selfloop.app.pictures import draw_score
from selfloop.app.screen import Screen
from selfloop.cells import ZOO
from selfloop.errors import ArgumentError, ConfigError, RunError, nearest
from selfloop.language import Cell
from selfloop.options.fields import configure
from selfloop.options.training import BUDGETS, TrainingOptions
from selfloop.tasks import load
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.learner import Learner
from selfloop.tasks.loading import kind_of
from selfloop.tasks.predictor import TrainedModel
from selfloop.tasks.return_types import by_run, by_task
from selfloop.tasks.run_config import read_config
from selfloop.tasks.table import TASKS, TaskEntry
from selfloop.training import Listener, Progress, Run, read_progress
from selfloop.training import train as run_loop
from selfloop.training.allocator import keep_freed_memory
from selfloop.training.checkpoint import write_bytes
from selfloop.training.curves import draw_curves
from selfloop.training.schedule import Budget
from selfloop.untrusted import exists


@by_task  # type: ignore[arg-type]  # no option is called task
def train(
    task: str,
    *sources: str | Path,
    run: str | Path | None = None,
    config: str | Path | None = None,
    cell: Cell | str | None = None,
    device: str | None = None,
    quiet: bool = False,
    listener: Listener | None = None,
    **options: object,
) -> TrainedModel:
    """Train a model on your own data, and open it: `selfloop train` for Python.

    Args:
        task: ``lm``, ``classify``, ``label``, ``translate`` or ``caption``.
        sources: where the data are, as after `selfloop train TASK`: a file, a folder, a name on the hub; of
            ``translate`` also the file of translations. Without any, what the task brings with it.
        run: the folder to make; None for ``runs/NAME``, after the data.
        config: a TOML file with sections of the configuration.
        cell: a name of the zoo, ``FILE.py:NAME``, or a Cell; of a Cell the run keeps its name alone.
        device: ``cpu`` or ``cuda``; None for the fastest there is.
        quiet: show nothing.
        listener: is told of reports and validations, and may stop the run.
        options: any field of the configuration by its name, as ``minutes=5`` or ``hidden_size=256``, or a section as a
            dictionary: ``model={"hidden_size": 256}``. `selfloop train TASK --fields` lists them all.

    Returns:
        The model with its best weights, as `selfloop.load` opens the run. If it is stopped, as by Ctrl-C, it is that of
        its best weights so far, and `resume` goes on.

    Raises:
        ArgumentError: there is no such task, or there are too many sources.
        ConfigError: a field does not exist, or a value does not fit.
        DataError: the data cannot be used.
        RunError: the folder exists already, or it stopped before its first validation.
    """
    entry = entry_of(task)
    if len(sources) > len(entry.sources):
        raise ArgumentError(
            f"selfloop.train('{task}') takes {' and '.join(entry.sources)}. Got {len(sources)} sources instead."
        )
    given = {**dict(zip(entry.sources, map(str, sources), strict=False)), **options}
    own = cell if isinstance(cell, Cell) else None
    if cell is not None:
        given["cell"] = cell if isinstance(cell, str) else name_of(cell)
    chosen = configure(entry.config, given, file=None if config is None else Path(config), source="selfloop.train")
    screen = Screen(task, entry, quiet=quiet, listener=listener)
    outcome = begin(task, chosen, None if run is None else Path(run), screen, cell=own, device=device)
    return outcome.model(own or cell)


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
) -> TrainedModel:
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
    found = Run.open(Path(run))
    entry = kind_of(found, task)
    screen = Screen(str(found.config()["task"]), entry, quiet=quiet, listener=listener)
    outcome = go_on(found, entry, screen, budget, cell=cell, encoder=encoder, device=device)
    return outcome.model(cell, encoder)


def entry_of(task: str) -> TaskEntry:
    """The task of a name.

    Raises:
        ArgumentError: there is none.
    """
    if task not in TASKS:
        hint = nearest(str(task), TASKS) or "."
        raise ArgumentError(f"The 'task' must be one of {', '.join(TASKS)}. Got {task!r} instead{hint}")
    return TASKS[task]


def name_of(cell: Cell) -> str:
    """How a run remembers a cell: by its name in the zoo, or by the file that it was written in."""
    known = next((name for name, other in ZOO.items() if other is cell), None)
    return known or f"{cell.function.__code__.co_filename}:{cell.name}"


@dataclass(frozen=True)
class Outcome:
    """What has become of a run.

    Attributes:
        run: its folder.
        result: what results.json holds, and ``finished``; None in processes that are not the first.
    """

    run: Run
    result: dict[str, Any] | None

    def model(self, cell: Cell | str | None = None, encoder: str | None = None) -> TrainedModel:
        """The model with its best weights."""
        return load(self.run.path, cell=cell, encoder=encoder)


def begin(
    task: str, chosen: Any, path: Path | None, screen: Screen, *, cell: Cell | None = None, device: str | None = None
) -> Outcome:
    """Begin a run with a configuration."""
    entry = TASKS[task]
    accelerator = _accelerator(chosen, screen, device)
    if path is not None and exists(path):
        Run.create(path, task, {})  # says that it exists
    with accelerator.main_process_first(), screen.status("reading the data"):
        learner = entry.learner(chosen) if cell is None else entry.learner(chosen, cell=cell)
    _check_shared(learner.config.training.batch_size, accelerator)
    if accelerator.is_main_process:
        run = Run.create(path or _free(Path("runs") / learner.name), task, learner.config.model_dump())
    else:
        run = Run(path or Path())
    with run.locked(accelerator.is_main_process):
        if accelerator.is_main_process:
            learner.save(run)
            run.save_skipped(learner.bad.found)
        return _train(entry, learner, run, accelerator, screen, resumed=False)


def go_on(
    run: Run,
    entry: TaskEntry,
    screen: Screen,
    more: Mapping[str, float],
    *,
    cell: Cell | str | None = None,
    encoder: str | None = None,
    device: str | None = None,
) -> Outcome:
    """Go on with a run, or train a finished one longer by a budget."""
    with run.locked(os.environ.get("RANK", "0") == "0"):  # of torchrun's processes, the first writes
        chosen: Any = read_config(run, entry.config)
        progress = read_progress(run)
        longer = _longer(run, progress, chosen, more)
        chosen = _with_own_code(run, chosen, cell, encoder)
        last = replace(run, resuming=True)
        entry.predictor.open(last, chosen, cell=cell, encoder=encoder)  # what does not fit shows before data are read
        accelerator = _accelerator(chosen, screen, device)
        with accelerator.main_process_first(), screen.status("reading the data"):
            learner = entry.learner.resume(chosen, run, choose_cell(cell) if isinstance(cell, str) else cell)
        _check_shared(learner.config.training.batch_size, accelerator)
        budget = None if longer is None else Budget.of(longer, learner.steps_per_epoch)
        return _train(entry, learner, run, accelerator, screen, resumed=True, more=budget)


def _longer(run: Run, progress: Progress, chosen: Any, more: Mapping[str, float]) -> TrainingOptions | None:
    """By how much a finished run is trained longer.

    Raises:
        RunError: it is finished and no budget is given, or it is not and one is.
        ConfigError: this is no budget.
    """
    if progress.finished and not more:
        why = (
            "its budget is spent"
            if progress.validations >= chosen.training.validations
            else "validation had stopped improving"
        )
        raise RunError(
            f"{run.path} is finished: {why}. Train it longer with --minutes, --epochs or --steps, or start a new run."
        )
    if more and not progress.finished:
        raise RunError(
            f"{run.path} is not finished: resume it without --{next(iter(more))}, and train it longer after that."
        )
    for name in more:
        if name not in BUDGETS:
            raise ConfigError(f"A run is trained longer by {', '.join(BUDGETS[:-1])} or {BUDGETS[-1]}. Got '{name}'.")
    if not more:
        return None
    longer: TrainingOptions = configure(type(chosen), more).training
    return longer


def _with_own_code(run: Run, chosen: Any, cell: Cell | str | None, encoder: str | None) -> Any:
    """The configuration, with the user's own encoder where it lies now.

    Raises:
        RunError: the run was trained with code of the user's that is not given.
    """
    model = chosen.model
    if model.is_own_cell and cell is None:
        raise RunError(f"{run.path} was trained with your own cell; give it again: --cell {quote(model.cell)}.")
    if not model.is_own_encoder:
        return chosen
    if encoder is None:
        raise RunError(
            f"{run.path} was trained with your own encoder; give it again: --encoder {quote(model.encoder)}."
        )
    return chosen.model_copy(update={"model": model.model_copy(update={"encoder": encoder})})


def _train(
    entry: TaskEntry,
    learner: Learner[Any, Any, Any],
    run: Run,
    accelerator: Accelerator,
    screen: Screen,
    resumed: bool,
    more: Budget | None = None,
) -> Outcome:
    training = learner.config.training
    reached = read_progress(run) if resumed else Progress()
    screen.introduce(learner, run, more or reached.budget(training, learner.steps_per_epoch), accelerator)
    with screen.training():
        progress = run_loop(learner, run, training, accelerator, screen, resumed, more)
    accelerator.end_training()
    return Outcome(run, _conclude(entry, learner, run, progress, screen) if accelerator.is_main_process else None)


def _conclude(
    entry: TaskEntry, learner: Learner[Any, Any, Any], run: Run, progress: Progress, screen: Screen
) -> dict[str, Any]:
    """Score with the best weights, draw the curves, and say what comes next."""
    result: dict[str, Any] = {
        "run": str(run.path),
        "finished": progress.finished,
        "steps": progress.step,
        "seconds": round(progress.elapsed, 1),
        f"{entry.unit}s_per_second": round(progress.targets / progress.elapsed) if progress.elapsed else 0,
        "best_step": progress.best_step,
        "best_by": learner.best_by,
        "stopped_early": progress.finished and progress.validations < learner.config.training.validations,
        "parameters": sum(p.numel() for p in learner.model.parameters()),
        **({"notes": learner.bad.notes} if learner.bad.notes else {}),
    }
    result |= {name: dict(value) for name, value in vars(learner.origin).items() if value}
    draw_curves(run, f"{entry.loss} per {entry.unit}")
    if not progress.finished:
        screen.stopped(run, progress)
        return result
    with screen.status("scoring with the best weights"):
        run.load_model(learner.model)
        best = learner.opened()
        scores = {name: best.score(part) for name, part in learner.parts().items()}
    result |= {name: {**score.metrics(), **score.signatures} for name, score in scores.items()}
    pictures = draw_score(run, list(scores.values())[-1], entry.unit)
    facts = {**result, "data": dict(learner.facts())}
    write_bytes(run.results, (json.dumps(facts, indent=2) + "\n").encode())
    screen.conclude(best, result, pictures)
    return result


def _accelerator(chosen: Any, screen: Screen, device: str | None) -> Accelerator:
    """Devices and processes, as `accelerate launch` or `torchrun` arrange them; the first one has the screen."""
    if device not in (None, "cpu", "cuda"):
        raise ArgumentError(f"The device to train on must be cpu or cuda. Got '{device}' instead.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ArgumentError("The device to train on is cuda, and torch finds none here: leave it out, or give cpu.")
    keep_freed_memory()
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    accelerator = Accelerator(mixed_precision="bf16" if chosen.training.precision == "bf16" else "no", cpu=on_cpu)
    screen.console.quiet |= not accelerator.is_main_process
    return accelerator


def _check_shared(size: int, accelerator: Accelerator) -> None:
    """Raises a ConfigError where the processes cannot have equal shares of a batch."""
    if size % accelerator.num_processes:
        raise ConfigError(
            f"The training.batch_size must be a multiple of the number of processes, {accelerator.num_processes}. "
            f"Got {size} instead."
        )


def _free(path: Path) -> Path:
    """This path, or the first of path-2, path-3, … that is free."""
    number, free = 1, path
    while exists(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
