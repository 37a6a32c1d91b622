"""What every ``selfloop train TASK`` does: from the options given to a trained run."""

import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from selfloop.errors import ConfigError, RunError
from selfloop.untrusted import exists

if TYPE_CHECKING:
    from accelerate import Accelerator

    from selfloop.cli.screen import Screen
    from selfloop.config import Section
    from selfloop.tasks.task import Learner, TaskEntry
    from selfloop.training import Progress, Run

BUDGETS = ("minutes", "epochs", "steps")
STOPPED = 128
"""And the number of the signal, as shells count: the exit status of a run that was asked to stop, and is saved."""

Minutes = Annotated[float | None, typer.Option(help="Train this long. [dim]2 if no budget is given.[/]")]
Epochs = Annotated[float | None, typer.Option(help="Train this many passes through the data.")]
Steps = Annotated[int | None, typer.Option(help="Train this many updates.")]
RunFolder = Annotated[Path | None, typer.Option(help="The folder to make. [dim]runs/NAME, after the data.[/]")]
Resume = Annotated[Path | None, typer.Option(help="Continue this run instead, as if it had never stopped.")]
CellName = Annotated[str | None, typer.Option(help="A cell of the zoo, or your own: FILE.py:NAME. [dim]lstm[/]")]
Precision = Annotated[str | None, typer.Option(help="fp32 or bf16. [dim]fp32[/]")]
Seed = Annotated[int | None, typer.Option(help="Of everything random. [dim]1[/]")]
ConfigFile = Annotated[
    Path | None, typer.Option(help="A TOML file with the sections of the configuration, such as data and model.")
]
Assignments = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any field of the configuration; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
SkipBad = Annotated[
    bool | None, typer.Option("--skip-bad", help="Leave out what cannot be used, count it, and list it in the run.")
]


def run_training(
    task: str,
    given: dict[str, Any],
    *,
    run: Path | None,
    resume: Path | None,
    config: Path | None,
    assignments: list[str] | None,
    as_json: bool,
) -> None:
    """Begin a run, or go on with one, and report.

    Args:
        task: its name.
        given: fields of the configuration that have options of their own; None where an option was not given.
        run: the folder to make.
        resume: the run to go on with instead.
        config: a TOML file.
        assignments: fields of the configuration as ``section.key=value``.
        as_json: print the result as JSON and nothing else.

    Raises:
        SelfloopError: what goes wrong on the user's side.
    """
    import json

    from selfloop.cli.screen import Screen
    from selfloop.tasks.table import TASKS

    given = {key: value for key, value in given.items() if value is not None}
    kind = TASKS[task]
    screen = Screen(task, kind, quiet=as_json)
    if resume is not None:
        others = [*given, *(name for name, value in (("config", config), ("set", assignments), ("run", run)) if value)]
        refused = [name.rpartition(".")[2] for name in others if name not in ("model.cell", "model.encoder")]
        if refused:
            got = "data" if refused[0] == "source" else f"--{refused[0].replace('_', '-')}"
            raise ConfigError(
                f"--resume continues a run as it was begun, and takes no other choices. Got {got} too: leave it out."
            )
        result = _continue(task, kind, resume, given, screen)
    else:
        result = _begin(task, kind, configuration(kind.config, config, given, assignments or []), run, screen)
    if as_json and result is not None:
        typer.echo(json.dumps(result))
    if result is not None and not result["finished"]:
        raise typer.Exit(STOPPED + screen.stopped_by)


def configuration(kind: "type[Section]", file: Path | None, given: dict[str, Any], assignments: list[str]) -> "Any":
    """The file's configuration, changed by the options given and then by assignments.

    A new budget replaces the file's.
    """
    from selfloop import config

    values: dict[str, Any] = config.read_toml(file) if file else {}
    config.parse(kind, values, str(file))  # what is wrong with the file alone is said of the file
    touched = {*given, *(a.partition("=")[0].strip() for a in assignments)}
    if touched & {f"training.{name}" for name in BUDGETS}:
        values["training"] = {k: v for k, v in values.get("training", {}).items() if k not in BUDGETS}
    for key, value in given.items():
        section, name = key.split(".")
        values.setdefault(section, {})[name] = value
    values = config.assign(values, assignments)
    sources: Any = config.parse(kind, values, "The command")
    for name in sources.data.PATHS:
        path = getattr(sources.data, name)
        if path is not None and exists(Path(path)):  # so that the run can be resumed from anywhere
            values["data"][name] = str(Path(path).resolve())
    return config.parse(kind, values, "The command")


def _begin(name: str, kind: "TaskEntry", chosen: Any, path: Path | None, screen: "Screen") -> dict[str, Any] | None:
    from selfloop.training import Run

    accelerator = _accelerator(chosen, screen)
    if path is not None and exists(path):
        Run.create(path, name, {})  # says that it exists
    with accelerator.main_process_first(), screen.status("reading the data"):
        task = kind.learner(chosen)
    if accelerator.is_main_process:
        run = Run.create(path or _free(Path("runs") / task.name), name, chosen.model_dump())
    else:
        run = Run(path or Path())
    with run.locked(accelerator.is_main_process):
        if accelerator.is_main_process:
            task.save(run)
            run.save_skipped(task.bad.found)
        return _train(kind, task, run, accelerator, screen, resumed=False)


def _continue(
    name: str, kind: "TaskEntry", path: Path, given: dict[str, Any], screen: "Screen"
) -> dict[str, Any] | None:
    from selfloop.tasks.loading import kind_of
    from selfloop.training import Run

    run = Run.open(path)
    if kind_of(run) is not kind:
        task = run.config()["task"]
        raise RunError(
            f"{path} is a run of the task '{task}', not '{name}': selfloop train {task} --resume {quote(str(path))}."
        )
    with run.locked(os.environ.get("RANK", "0") == "0"):  # of torchrun's processes, the first writes
        return _resume(kind, run, given, screen)


def _resume(kind: "TaskEntry", run: "Run", given: dict[str, Any], screen: "Screen") -> dict[str, Any] | None:
    from dataclasses import replace

    from selfloop.tasks.choose_cell import choose_cell
    from selfloop.tasks.opening import read_config
    from selfloop.training import read_progress

    path, chosen = run.path, cast("Any", read_config(run, kind.config))
    progress = read_progress(run)
    if progress.finished:
        spent = progress.validations >= chosen.training.validations
        why = "its budget is spent" if spent else "validation had stopped improving"
        raise RunError(f"{path} is finished: {why}. Start a new run to train more.")
    cell, encoder = given.get("model.cell"), given.get("model.encoder")
    if chosen.model.is_own_cell and cell is None:
        raise RunError(f"{path} was trained with your own cell; give it again: --cell {quote(chosen.model.cell)}.")
    if getattr(chosen.model, "is_own_encoder", False):
        if encoder is None:
            raise RunError(
                f"{path} was trained with your own encoder; give it again: --encoder {quote(chosen.model.encoder)}."
            )
        chosen = chosen.model_copy(update={"model": chosen.model.model_copy(update={"encoder": encoder})})
    own = {} if encoder is None else {"encoder": encoder}
    kind.opened.open(replace(run, resuming=True), cell=cell, **own)  # what does not fit shows before the data are read
    accelerator = _accelerator(chosen, screen)
    with accelerator.main_process_first(), screen.status("reading the data"):
        task = kind.learner.resume(chosen, run, choose_cell(cell) if cell else None)
    return _train(kind, task, run, accelerator, screen, resumed=True)


def _train(
    kind: "TaskEntry", task: "Learner", run: "Run", accelerator: "Accelerator", screen: "Screen", resumed: bool
) -> dict[str, Any] | None:
    from selfloop.training import train
    from selfloop.training.schedule import Budget

    training = task.config.training
    screen.introduce(task, run, Budget.of(training, task.steps_per_epoch), accelerator)
    with screen.training():
        progress = train(task, run, training, accelerator, screen, resumed)
    accelerator.end_training()
    return _conclude(kind, task, run, progress, screen) if accelerator.is_main_process else None


def _conclude(kind: "TaskEntry", task: "Learner", run: "Run", progress: "Progress", screen: "Screen") -> dict[str, Any]:
    """Score with the best weights, draw the curves, and say what comes next."""
    from selfloop.cli.evaluate import signatures
    from selfloop.cli.pictures import draw_score
    from selfloop.training.curves import draw_curves

    result: dict[str, Any] = {
        "run": str(run.path),
        "finished": progress.finished,
        "steps": progress.step,
        "seconds": round(progress.elapsed, 1),
        f"{kind.unit}s_per_second": round(progress.targets / progress.elapsed) if progress.elapsed else 0,
        "best_step": progress.best_step,
        "parameters": sum(p.numel() for p in task.model.parameters()),
    }
    draw_curves(run, kind.unit)
    if not progress.finished:
        screen.stopped(run, progress)
        return result
    with screen.status("scoring with the best weights"):
        run.load_model(task.model)
        best = task.opened()
        scores = {name: best.score(part) for name, part in task.parts().items()}
    result |= {name: {**score.metrics(), **signatures(score)} for name, score in scores.items()}
    pictures = draw_score(run, list(scores.values())[-1])
    screen.conclude(best, result, pictures)
    return result


def _accelerator(chosen: Any, screen: "Screen") -> "Accelerator":
    """Devices and processes, as `accelerate launch` or `torchrun` arrange them; the first one has the screen."""
    import torch
    from accelerate import Accelerator

    from selfloop.training.allocator import keep_freed_memory

    keep_freed_memory()
    accelerator = Accelerator(
        mixed_precision="bf16" if chosen.training.precision == "bf16" else "no", cpu=not torch.cuda.is_available()
    )
    screen.console.quiet |= not accelerator.is_main_process
    if chosen.training.batch_size % accelerator.num_processes:
        raise ConfigError(
            f"The training.batch_size must be a multiple of the number of processes, {accelerator.num_processes}. "
            f"Got {chosen.training.batch_size} instead."
        )
    return accelerator


def _free(path: Path) -> Path:
    """This path, or the first of path-2, path-3, … that is free."""
    number, free = 1, path
    while exists(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
