"""One training, from a configuration to scores and pictures."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from selfloop.app.precision import mixed_precision
from selfloop.app.scoring import conclude, is_scored
from selfloop.app.screen import Screen
from selfloop.errors import ArgumentError, ConfigError, RunError
from selfloop.language import Cell
from selfloop.options.fields import configure
from selfloop.options.sections import ExampleSourceOptions
from selfloop.options.training import BUDGETS, TrainingOptions
from selfloop.tasks import load
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.learner import Learner
from selfloop.tasks.loading import kind_of, open_run_of
from selfloop.tasks.predictor import TrainedModel
from selfloop.tasks.results import read_results
from selfloop.tasks.run_config import read_config
from selfloop.tasks.table import TASKS, TaskEntry
from selfloop.training import Progress, Run, read_progress
from selfloop.training import train as run_loop
from selfloop.training.allocator import keep_freed_memory
from selfloop.training.resume import check_data
from selfloop.training.run import differences
from selfloop.training.schedule import Budget
from selfloop.untrusted import exists, short
from selfloop.world import World, others_may_end

PATIENCE = 30.0
"""Seconds that `begin_or_go_on` waits for a process that holds the run's lock: as long as torchrun gives those that it
replaces."""

FEW = 50
"""Validation examples below which figures say little."""


@dataclass(frozen=True)
class Outcome:
    """What has become of a run.

    Attributes:
        run: its folder.
        result: what results.json holds, and ``finished``; None in processes that are not the first.
        finished: whether its budget is spent.
    """

    run: Run
    result: dict[str, Any] | None
    finished: bool

    def model(self, cell: Cell | str | None = None, encoder: str | None = None) -> TrainedModel:
        """The model with its best weights."""
        return load(self.run.path, cell=cell, encoder=encoder)


def begin(
    task: str,
    chosen: Any,
    path: Path | None,
    screen: Screen,
    *,
    cell: Cell | None = None,
    device: str | None = None,
    place: Callable[[str], Path] | None = None,
    anew: bool = False,
) -> Outcome:
    """Begin a run with a configuration.

    Args:
        task: its name.
        chosen: the configuration.
        path: the folder to make; None for ``runs/NAME``.
        screen: shows it.
        cell: one that is not to be found by its name.
        device: as of `selfloop.train`.
        place: makes the path of the data's name, where it is None.
        anew: whether the folder is there, and is locked: of a run that was stopped before its first checkpoint.
    """
    entry = TASKS[task]
    with _processes(chosen, screen, device) as accelerator:
        with _reading(entry, accelerator), screen.status("reading the data"):
            learner = entry.learner(chosen) if cell is None else entry.learner(chosen, cell=cell)
        _check_shared(learner.config.training.batch_size, accelerator)
        run = Run(path or Path())
        if accelerator.is_main_process:
            if anew:
                run.create_anew(task, learner.config.model_dump())
            else:
                run = Run.create(path or (place or free_path)(learner.name), task, learner.config.model_dump())
        with run.locked(accelerator.is_main_process):
            if accelerator.is_main_process:
                learner.save(run)
                run.save_skipped(learner.bad.found)
            return _train(entry, learner, run, accelerator, screen, resumed=False)


def begin_or_go_on(
    task: str, chosen: Any, path: Path, screen: Screen, *, cell: Cell | None = None, device: str | None = None
) -> Outcome:
    """Go on with the run of a folder where it has a checkpoint, and begin it where it has none.

    So one command can be given as often as a job is started. The first process decides for all.

    Raises:
        RunError: what is in the folder is not the run of this configuration, or other processes do not see it.
    """
    run = Run(path)
    with _processes(chosen, screen, device), ExitStack() as locks:
        world, refused = World.here(), False
        if world.is_first and exists(path):
            refused = not run.has_checkpoint and not run.can_begin(task)
            if not refused:
                locks.enter_context(run.locked(patience=PATIENCE))
        there, refused, begun = world.from_first((exists(path), refused, run.has_checkpoint))
        if refused:
            raise RunError(
                f"{path} exists already, has no checkpoint to go on from, and is not overwritten. Choose another "
                "folder with --run."
            )
        if not begun:
            return begin(task, chosen, path, screen, cell=cell, device=device, anew=there)
        if not run.has_checkpoint:
            raise RunError(
                f"{path} has a checkpoint where the first process is, and none on {socket.gethostname()}: give --run a "
                "folder that all machines share."
            )
        own, encoder = own_code(chosen, cell)
        return go_on(open_run_of(task, path), screen, {}, cell=own, encoder=encoder, device=device, given=chosen)


def own_code(chosen: Any, cell: Cell | None) -> tuple[Cell | str | None, str | None]:
    """The cell and the encoder of a configuration that are the user's own, which a run is opened with again."""
    model = chosen.model
    return cell or (model.cell if model.is_own_cell else None), model.encoder if model.is_own_encoder else None


def go_on(
    run: Run,
    screen: Screen,
    more: Mapping[str, float],
    *,
    cell: Cell | str | None = None,
    encoder: str | None = None,
    device: str | None = None,
    given: Any = None,
) -> Outcome:
    """Go on with a run, or train a finished one longer by a budget; one that is finished but not scored is scored.

    With `given`, the configuration of a command that would begin it, it must be the run's, though its data may have
    moved; and a finished run is left as it is.
    """
    entry = kind_of(run)
    with run.locked(os.environ.get("RANK", "0") == "0"):  # of torchrun's processes, the first writes
        chosen: Any = read_config(run, entry.config)
        progress = read_progress(run)
        done = given is not None and progress.finished and is_scored(run, progress)
        longer = None if done else _longer(run, progress, chosen, more)
        chosen = with_own_code(run, chosen, cell, encoder)
        if given is not None:
            paths = {name: getattr(given.data, name) for name in given.data.PATHS}
            chosen = chosen.model_copy(update={"data": chosen.data.model_copy(update=paths)})
        last = replace(run, resuming=True)
        entry.predictor.open(last, chosen, cell=cell, encoder=encoder)  # what does not fit shows before data are read
        with _processes(chosen, screen, device) as accelerator:
            with _reading(entry, accelerator), screen.status("reading the data"):
                learner = entry.learner.resume(chosen, run, choose_cell(cell) if isinstance(cell, str) else cell)
            if given is not None:
                begun = with_own_code(run, read_config(run, entry.config), cell, encoder)
                check_same(run, learner.suited(given), begun)
            if done:
                result = read_results(run)
                check_data(run, result.get("data", {}), learner.facts())
                return Outcome(run, result if accelerator.is_main_process else None, True)
            _check_shared(learner.config.training.batch_size, accelerator)
            budget = None if longer is None else Budget.of(longer, learner.steps_per_epoch)
            return _train(entry, learner, run, accelerator, screen, resumed=True, more=budget)


def check_same(run: Run, given: Any, chosen: Any) -> None:
    """Raises a RunError where a command gives other settings than those that a run was begun with."""
    for field, (was, now) in differences(chosen.model_dump(), given.model_dump()).items():
        raise RunError(
            f"{run.path} was begun with other settings: {field} was {short(was)}, and is {short(now)} now. Give the "
            "settings that it was begun with, or choose another name with --run."
        )


def _longer(run: Run, progress: Progress, chosen: Any, more: Mapping[str, float]) -> TrainingOptions | None:
    """By how much a finished run is trained longer.

    Raises:
        RunError: it is finished and no budget is given, or it is not and one is.
        ConfigError: this is no budget.
    """
    if progress.finished and not more and is_scored(run, progress):
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


def with_own_code(run: Run, chosen: Any, cell: Cell | str | None, encoder: str | None) -> Any:
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
    _note_few(learner)
    reached = read_progress(run) if resumed else Progress()
    screen.introduce(learner, run, more or reached.budget(training, learner.steps_per_epoch), accelerator)
    with screen.training():
        progress = run_loop(learner, run, training, accelerator, screen, resumed, more)
    result = conclude(entry, learner, run, progress, screen)
    return Outcome(run, result if accelerator.is_main_process else None, progress.finished)


def _note_few(learner: Learner[Any, Any, Any]) -> None:
    """Say so where there are few examples to validate on."""
    data = learner.config.data
    if not isinstance(data, ExampleSourceOptions) or data.fold is not None:
        return
    count = len(learner.parts()["valid"])
    if count < FEW:
        learner.bad.note(
            f"validation holds {count} examples, too few for reliable figures: --folds 5 trains five times, and "
            "validates on every example once"
        )


def _reading(entry: TaskEntry, accelerator: Accelerator) -> AbstractContextManager[None]:
    """Within it, processes read their data: at once, or the first one before the others."""
    first: AbstractContextManager[None] = accelerator.main_process_first()
    return nullcontext() if entry.learner.TOGETHER else first


@contextmanager
def _processes(chosen: Any, screen: Screen, device: str | None) -> Iterator[Accelerator]:
    """Devices and processes, as `accelerate launch` or `torchrun` arrange them; the first one has the screen.

    Within another, it is that one.
    """
    outermost = World.here().size == 1
    with others_may_end():
        accelerator = _accelerator(chosen, screen, device)
        try:
            yield accelerator
        finally:
            if outermost:  # a thread of the group that still runs when Python ends would abort the process
                accelerator.end_training()


def _accelerator(chosen: Any, screen: Screen, device: str | None) -> Accelerator:
    if device not in (None, "cpu", "cuda"):
        raise ArgumentError(f"The device to train on must be cpu or cuda. Got '{device}' instead.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ArgumentError("The device to train on is cuda, and torch finds none here: leave it out, or give cpu.")
    keep_freed_memory()
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    AcceleratorState._reset_state()  # a run before this one, in the same process, may have had another precision
    accelerator = Accelerator(mixed_precision=mixed_precision(chosen, on_cpu), cpu=on_cpu)
    screen.console.quiet |= not accelerator.is_main_process
    return accelerator


def _check_shared(size: int, accelerator: Accelerator) -> None:
    """Raises a ConfigError where the processes cannot have equal shares of a batch."""
    if size % accelerator.num_processes:
        raise ConfigError(
            f"The training.batch_size must be a multiple of the number of processes, {accelerator.num_processes}. "
            f"Got {size} instead."
        )


def free_path(name: str) -> Path:
    """``runs/NAME``, or the first of NAME-2, NAME-3, … that is free."""
    number, free = 1, (path := Path("runs") / name)
    while exists(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
