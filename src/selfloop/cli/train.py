"""``selfloop train TASK``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selfloop.errors import ConfigError, RunError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from selfloop.cli.screen import Screen
    from selfloop.tasks.lm import LanguageModelConfig, LanguageModelling
    from selfloop.training import Progress, Run

train_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Train a model on your own data.")

BUDGETS = ("minutes", "epochs", "steps")
STOPPED = 130
"""The exit status of a run that was asked to stop: it is saved, and can be resumed."""


@train_app.callback()
def _tasks() -> None:
    """A callback, so that a single task is still a sub-command."""


@train_app.command("lm")
def train_lm(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A text file, a folder, a JSONL, CSV or Parquet file, or a name on the Hugging Face hub; "
            "without it, the language reference that ships inside Python.",
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Train this long. [dim]3 if no budget is given.[/]")] = None,
    epochs: Annotated[float | None, typer.Option(help="Train this many passes through the text.")] = None,
    steps: Annotated[int | None, typer.Option(help="Train this many updates.")] = None,
    run: Annotated[Path | None, typer.Option(help="The folder to make. [dim]runs/NAME, after the data.[/]")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue this run instead, as if it had never stopped.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="char, byte, word or bpe. [dim]char[/]")] = None,
    column: Annotated[str | None, typer.Option(help="The column with the text, in JSONL, CSV or Parquet.")] = None,
    cell: Annotated[str | None, typer.Option(help="A cell of the zoo, or your own: FILE.py:NAME. [dim]lstm[/]")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16. [dim]fp32[/]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random. [dim]1[/]")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with sections data, model and training.")] = None,
    set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any field of the configuration; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Train a language model: at every step it predicts the next token.

    [bold]Examples[/bold]

      selfloop train lm                                    the text inside Python

      selfloop train lm play.txt --minutes 3               characters of your own text

      selfloop train lm books/ --tokenizer bpe --epochs 5  a folder, byte-pair encoding

      selfloop train lm tweets.jsonl --column body         one column of a table

      selfloop train lm play.txt --set model.hidden_size=256 --set training.learning_rate=0.003

      selfloop train lm --resume runs/play                 go on after a stop
    """
    from selfloop.cli.screen import Screen

    screen = Screen(quiet=as_json)
    given = {
        "data.source": data,
        "data.tokenizer": tokenizer,
        "data.column": column,
        "model.cell": cell,
        "training.precision": precision,
        "training.seed": seed,
        **{f"training.{name}": value for name, value in zip(BUDGETS, (minutes, epochs, steps), strict=True)},
    }
    given = {key: value for key, value in given.items() if value is not None}
    if resume is not None:
        others = [*given, *(name for name, value in (("config", config), ("set", set), ("run", run)) if value)]
        refused = [name.rpartition(".")[2] for name in others if name != "model.cell"]
        if refused:
            got = "a text" if refused[0] == "source" else f"--{refused[0]}"
            raise ConfigError(
                f"--resume continues a run as it was begun, and takes no other choices. Got {got} too: leave it out."
            )
        result = _continue(resume, cell, screen)
    else:
        result = _begin(configuration(config, given, set or []), run, screen)
    if as_json and result is not None:
        typer.echo(json.dumps(result))
    if result is not None and not result["finished"]:
        raise typer.Exit(STOPPED)


def configuration(file: Path | None, given: dict[str, Any], assignments: list[str]) -> "LanguageModelConfig":
    """The file's configuration, changed by the options given and then by assignments.

    A new budget replaces the file's.
    """
    from selfloop import config
    from selfloop.tasks.lm import LanguageModelConfig

    values: dict[str, Any] = config.read_toml(file) if file else {}
    config.parse(LanguageModelConfig, values, str(file))  # what is wrong with the file alone is said of the file
    touched = {*given, *(a.partition("=")[0].strip() for a in assignments)}
    if touched & {f"training.{name}" for name in BUDGETS}:
        values["training"] = {k: v for k, v in values.get("training", {}).items() if k not in BUDGETS}
    for key, value in given.items():
        section, name = key.split(".")
        values.setdefault(section, {})[name] = value
    values = config.assign(values, assignments)
    texts = config.parse(LanguageModelConfig, values, "The command").data
    for name in ("source", "valid", "test"):
        path = getattr(texts, name)
        if path is not None and Path(path).exists():  # so that the run can be resumed from anywhere
            values["data"][name] = str(Path(path).resolve())
    return config.parse(LanguageModelConfig, values, "The command")


def _begin(chosen: "LanguageModelConfig", path: Path | None, screen: "Screen") -> dict[str, Any] | None:
    from selfloop.tasks.lm import LanguageModelling
    from selfloop.training import Run
    from selfloop.training.checkpoint import writing

    accelerator = _accelerator(chosen, screen)
    if path is not None and path.exists():
        Run.create(path, "lm", {})  # says that it exists
    with accelerator.main_process_first(), screen.status("reading the text"):
        task = LanguageModelling(chosen)
    if accelerator.is_main_process:
        run = Run.create(path or _free(Path("runs") / task.corpus.name), "lm", chosen.model_dump())
        with writing(run.path / "tokenizer.json"):
            task.tokenizer.save(run.path / "tokenizer.json")
    else:
        run = Run(path or Path())
    return _train(task, run, accelerator, screen, resumed=False)


def _continue(path: Path, cell: str | None, screen: "Screen") -> dict[str, Any] | None:
    from selfloop.data import Tokenizer
    from selfloop.tasks.choose_cell import choose_cell
    from selfloop.tasks.lm import LanguageModelling
    from selfloop.tasks.lm.text_model import read_config
    from selfloop.training import Run

    run = Run.open(path)
    chosen = read_config(run)
    _, facts = run.load_checkpoint()
    if facts["progress"]["finished"]:
        spent = facts["progress"]["validations"] >= chosen.training.validations
        why = "its budget is spent" if spent else "validation had stopped improving"
        raise RunError(f"{path} is finished: {why}. Start a new run to train more.")
    if chosen.model.is_own_cell and cell is None:
        raise RunError(f"{path} was trained with your own cell; give it again: --cell {chosen.model.cell}.")
    accelerator = _accelerator(chosen, screen)
    with accelerator.main_process_first(), screen.status("reading the text"):
        tokenizer = Tokenizer.load(run.path / "tokenizer.json")
        task = LanguageModelling(chosen, tokenizer, choose_cell(cell) if cell else None)
    return _train(task, run, accelerator, screen, resumed=True)


def _train(
    task: "LanguageModelling", run: "Run", accelerator: "Accelerator", screen: "Screen", resumed: bool
) -> dict[str, Any] | None:
    from selfloop.training import train
    from selfloop.training.schedule import Budget

    training = task.config.training
    screen.introduce(task, run, Budget.of(training, task.steps_per_epoch), accelerator)
    with screen.training():
        progress = train(task, run, training, accelerator, screen, resumed)
    accelerator.end_training()
    return _conclude(task, run, progress, screen) if accelerator.is_main_process else None


def _conclude(task: "LanguageModelling", run: "Run", progress: "Progress", screen: "Screen") -> dict[str, Any]:
    """Score with the best weights, draw the curves, and say what comes next."""
    from selfloop.tasks.lm import TextModel
    from selfloop.training.curves import draw_curves

    tokens = progress.step * task.config.training.batch_size * task.config.data.window
    result: dict[str, Any] = {
        "run": str(run.path),
        "finished": progress.finished,
        "steps": progress.step,
        "seconds": round(progress.elapsed, 1),
        "tokens_per_second": round(tokens / progress.elapsed) if progress.elapsed else 0,
        "best_step": progress.best_step,
        "parameters": task.model.num_parameters,
    }
    draw_curves(run)
    if not progress.finished:
        screen.stopped(run, progress)
        return result
    with screen.status("scoring the validation text with the best weights"):
        run.load_model(task.model)
        best = TextModel(task.model, task.tokenizer, task.config)
        result["valid"] = best.score(task.corpus.valid).metrics()
        if task.corpus.test is not None:
            result["test"] = best.score(task.corpus.test).metrics()
    screen.conclude(best, result)
    return result


def _accelerator(chosen: "LanguageModelConfig", screen: "Screen") -> "Accelerator":
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
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
