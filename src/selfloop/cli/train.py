"""``selfloop train TASK``: one command per task, with an option for each field of its configuration."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from selfloop.errors import ConfigError

if TYPE_CHECKING:
    from selfloop.tasks.table import TaskEntry

ALWAYS = (
    *("minutes", "epochs", "steps", "valid", "test", "header", "cell", "hidden_size", "num_layers", "batch_size"),
    *("learning_rate", "precision", "seed", "seeds"),
)
"""The fields that the help of every task shows."""

AUTO = Path("auto")
"""What --resume takes for: where there is something to go on with."""

OF_THE_COMMAND: dict[str, tuple[str, Any, str, str]] = {
    "run": ("--run", Path, "FOLDER", "The folder to make. [dim]\\[default: runs/NAME, after the data][/]"),
    "resume": (
        "--resume",
        Path,
        "FOLDER",
        "Go on with this run, and with --minutes, --epochs or --steps train a finished one longer. "
        "auto: go on with the run of --run, or begin it.",
    ),
    "device": ("--device", str, "cpu|cuda", "Where to train. [dim]\\[default: the fastest there is][/]"),
    "config": ("--config", Path, "FILE", "A TOML file with fields in their sections, such as data and model."),
    "set": ("--set", list[str], "SECTION.NAME=VALUE", "Any field by its section and name; may be repeated."),
    "list_fields": ("--fields", bool, "", "List all fields, each of which is an option too, and stop."),
    "as_json": ("--json", bool, "", "Print the result as JSON, and nothing else."),
}
"""Options that are no fields: their flags, types, what stands for their values, and what they are for."""


class TaskGroup(TyperGroup):
    """The tasks' commands, made when one is asked for, since their options are read from the configurations."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All tasks."""
        self._make()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a task."""
        self._make()
        return super().get_command(ctx, cmd_name)

    def _make(self) -> None:
        from selfloop.tasks.table import TASKS

        if not self.commands:
            made = typer.Typer(rich_markup_mode="rich")
            for task in TASKS:
                made.command(task)(command_of(task))
            group: Any = typer.main.get_command(made)
            self.commands = group.commands


train_app = typer.Typer(
    cls=TaskGroup, no_args_is_help=True, rich_markup_mode="rich", help="Train a model on your own data."
)


@train_app.callback()
def _train() -> None:
    """Train a model on your own data."""


def command_of(task: str) -> Callable[..., None]:
    """The command of a task."""
    from selfloop.options.fields import fields
    from selfloop.tasks.table import TASKS

    entry = TASKS[task]
    known, usual = fields(entry.config), {*entry.usual, *ALWAYS}
    sources = [name for name in ("source", "target") if name in known]
    parameters = [
        _parameter(name, typer.Argument(metavar=name.upper(), help=known[name].description, show_default=False))
        for name in sources
    ]
    others = [name for name in known if name not in sources and not isinstance(known[name].default, dict)]
    for name in (*entry.usual, *ALWAYS, *(n for n in others if n not in usual)):
        field = known[name]
        default = f" [dim]\\[default: {field.shown_default}][/]" if field.shown_default else ""
        option = typer.Option(
            *field.flags,
            help=field.description.replace("[", "\\[") + default,
            metavar=field.metavar,
            hidden=name not in usual,
            rich_help_panel=field.section.capitalize(),
        )
        parameters.append(_parameter(name, option, bool if field.is_switch else str))
    for name, (flag, kind, metavar, help) in OF_THE_COMMAND.items():
        option = typer.Option(flag, metavar=metavar, help=help, rich_help_panel="Run", show_default=False)
        parameters.append(_parameter(name, option, kind))

    def command(**given: Any) -> None:
        _run(task, given)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__doc__ = _help_of(entry)
    return command


def _help_of(entry: "TaskEntry") -> str:
    """What a task is, and its examples, with what they do in a column."""
    width = max(len(command) for command, what in entry.examples.items() if what)
    examples = (f"  {command:{width}}  {what}".rstrip() for command, what in entry.examples.items())
    return "\n\n".join([entry.about, "[bold]Examples[/bold]", *examples])


def _parameter(name: str, info: Any, kind: Any = str) -> inspect.Parameter:
    annotation = Annotated[kind | None, info]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _run(task: str, given: dict[str, Any]) -> None:
    """Begin a run, or go on with one, and print the result if that was asked for."""
    from selfloop.options.fields import configure, fields
    from selfloop.options.training import BUDGETS
    from selfloop.tasks.table import TASKS

    own = {name: given.pop(name) for name in OF_THE_COMMAND}
    known = fields(TASKS[task].config)
    if own["list_fields"]:
        _print_fields(known.values())
        return
    chosen = {n: known[n].read(v) if isinstance(v, str) else v for n, v in given.items() if v is not None}
    device, as_json = own["device"], bool(own["as_json"])
    again = own["resume"] == AUTO
    if own["resume"] is not None and not again:
        _refuse_choices({**chosen, **{name: own[name] for name in ("run", "config", "set") if own[name]}})
        more = {name: chosen.pop(name) for name in BUDGETS if name in chosen}
        _go_on(task, own["resume"], more, chosen, device, as_json)
        return
    config = configure(TASKS[task].config, chosen, file=own["config"], assignments=own["set"] or [])
    _begin(task, config, own["run"], device, as_json, again)


def _refuse_choices(given: dict[str, Any]) -> None:
    from selfloop.options.training import BUDGETS

    refused = next((name for name in given if name not in ("cell", "encoder", *BUDGETS)), None)
    if refused is not None:
        got = "data" if refused == "source" else f"--{refused.replace('_', '-')}"
        raise ConfigError(
            f"--resume continues a run as it was begun, and takes no other choices. Got {got} too: leave it out."
        )


def _begin(task: str, config: Any, run: Path | None, device: str | None, as_json: bool, resume: bool) -> None:
    from selfloop.app.screen import Screen
    from selfloop.app.session import begin
    from selfloop.tasks.table import TASKS

    screen = Screen(task, TASKS[task], quiet=as_json)
    _end(begin(task, config, run, screen, device=device, resume=resume), screen, as_json)


def _go_on(
    task: str, path: Path, more: dict[str, float], code: dict[str, str], device: str | None, as_json: bool
) -> None:
    from selfloop.app.screen import Screen
    from selfloop.app.session import go_on
    from selfloop.tasks.loading import open_run_of
    from selfloop.tasks.table import TASKS

    screen = Screen(task, TASKS[task], quiet=as_json)
    _end(go_on(open_run_of(task, path), screen, more, device=device, **code), screen, as_json)


def _end(outcome: Any, screen: Any, as_json: bool) -> None:
    import json

    from selfloop.tasks.trials import Trials

    result = outcome.results if isinstance(outcome, Trials) else outcome.result
    if as_json and result is not None:
        typer.echo(json.dumps(result))
    if not outcome.finished:
        raise typer.Exit(STOPPED + screen.stopped_by)


STOPPED = 128
"""And the number of the signal, as shells count: the exit status of a run that was asked to stop, and is saved."""


def _print_fields(fields: Any) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    for field in fields:
        is_source = field.name in ("source", "target")
        flags = Text(field.name.upper() if is_source else ", ".join(field.flags), "bold")
        console.print(
            Text.assemble(flags, "" if is_source else f" {field.metavar}", (f"   {field.section}.{field.name}", "dim"))
        )
        default = f" [{field.shown_default}]" if field.shown_default else ""
        console.print(Padding(Text(f"{field.description}{default}"), (0, 0, 0, 4)))
