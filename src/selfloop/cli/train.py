"""``selfloop train TASK``: a command a task, with an option for each field of its configuration."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from selfloop.errors import ConfigError

EXAMPLES = {
    "lm": """Train a language model: at every step it predicts the next token.

    [bold]Examples[/bold]

      selfloop train lm                                    the text inside Python

      selfloop train lm play.txt --minutes 3               characters of your own text

      selfloop train lm books/ --tokenizer bpe --epochs 5  a folder, byte-pair encoding

      selfloop train lm tweets.jsonl --column body         one column of a table

      selfloop train lm play.txt --hidden 256 --lr 0.003

      selfloop train lm --resume runs/play                 go on after a stop; with --minutes 3, longer
    """,
    "classify": """Train a classifier: a text, a series or an image goes in, one of several classes comes out.

    [bold]Examples[/bold]

      selfloop train classify                              handwritten digits, pixel by pixel

      selfloop train classify reviews.csv --minutes 5      a table of texts with their class

      selfloop train classify walks.csv --series walk --time seconds

      selfloop train classify names/                       a text file a class, an example a line

      selfloop train classify walks/ --bidirectional --pooling attention

      selfloop train classify mnist/ --scan rows           images, a row of pixels a step
    """,
    "label": """Train a labeller: a sequence goes in, a label comes out at each of its steps.

    [bold]Examples[/bold]

      selfloop train label                                 moving digits, frame by frame

      selfloop train label treebank/ --minutes 10          words and their tags: train.tsv, dev.tsv, test.tsv

      selfloop train label walks.csv --series person --time seconds --label activity

      selfloop train label clips.jsonl --size [48,64] --fps 12

      selfloop train label clips.jsonl --no-bidirectional  a model that labels a camera as it runs
    """,
    "translate": """Train a translator: a text goes in, and when it is read, another comes out.

    [bold]Examples[/bold]

      selfloop train translate                             dates, from English to Hungarian

      selfloop train translate train.en train.de --minutes 60

      selfloop train translate train.en.gz train.de.gz --valid val.en.gz --valid-target val.de.gz

      selfloop train translate pairs.tsv --source-column en --target-column de

      selfloop train translate pairs.tsv --attention additive --beam 10
    """,
    "caption": """Train a captioner: an image goes in, a sentence about it comes out.

    [bold]Examples[/bold]

      selfloop train caption                               drawn scenes of coloured shapes

      selfloop train caption photos/ --encoder efficientnet-lite0 --minutes 30

      selfloop train caption captions.csv --images photos.zip --encoder timm:resnet18

      selfloop train caption drawings/ --condition input --beam 10

      selfloop train caption photos/ --scheduled-sampling 0.2
    """,
}
"""What each task's command says of it."""

USUAL = {
    "lm": ("column", "tokenizer"),
    "classify": ("input", "label", "series", "time", "scan", "tokenizer", "bidirectional", "pooling", "skip_bad"),
    "label": ("input", "label", "series", "time", "ignore", "bidirectional", "skip_bad"),
    "translate": ("source_column", "target_column", "valid_target", "test_target", "tokenizer", "lowercase",
                  "attention", "skip_bad"),
    "caption": ("images", "image", "caption", "encoder", "condition", "skip_bad"),
}  # fmt: skip
"""The fields of each task's own that its help shows."""

ALWAYS = (
    *("minutes", "epochs", "steps", "valid", "test", "header", "cell", "hidden_size", "num_layers", "batch_size"),
    *("learning_rate", "precision", "seed"),
)
"""And those of every task's."""

OF_THE_COMMAND: dict[str, tuple[str, Any, str, str]] = {
    "run": ("--run", Path, "FOLDER", "The folder to make. [dim]runs/NAME, after the data.[/]"),
    "resume": ("--resume", Path, "FOLDER", "Go on with this run instead; train a finished one longer, by a budget."),
    "device": ("--device", str, "cpu|cuda", "Where to train. [dim]The fastest there is.[/]"),
    "config": ("--config", Path, "FILE", "TOML with the sections of the configuration, such as data and model."),
    "set": ("--set", list[str], "SECTION.NAME=VALUE", "Any field of the configuration; may be repeated."),
    "list_fields": ("--fields", bool, "", "List all fields that can be chosen, which are all options, and stop."),
    "as_json": ("--json", bool, "", "Print the result as JSON and nothing else."),
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
        if not self.commands:
            made = typer.Typer(rich_markup_mode="rich")
            for task in EXAMPLES:
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
    from selfloop.options import CONFIGS
    from selfloop.options.fields import fields

    known = fields(CONFIGS[task])
    sources = [name for name in ("source", "target") if name in known]
    parameters = [
        _parameter(name, typer.Argument(metavar=name.upper(), help=known[name].description, show_default=False))
        for name in sources
    ]
    others = [name for name in known if name not in sources and not isinstance(known[name].default, dict)]
    for name in (*USUAL[task], *ALWAYS, *(n for n in others if n not in {*USUAL[task], *ALWAYS})):
        field = known[name]
        default = f" [dim]{field.shown_default}[/]" if field.shown_default else ""
        option = typer.Option(
            *field.flags,
            help=field.description.replace("[", "\\[") + default,
            metavar=field.metavar,
            hidden=name not in {*USUAL[task], *ALWAYS},
            rich_help_panel=field.section.capitalize(),
        )
        parameters.append(_parameter(name, option, bool if field.is_switch else str))
    for name, (flag, kind, metavar, help) in OF_THE_COMMAND.items():
        option = typer.Option(flag, metavar=metavar, help=help, rich_help_panel="Run", show_default=False)
        parameters.append(_parameter(name, option, kind))

    def command(**given: Any) -> None:
        _run(task, given)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__doc__ = EXAMPLES[task]
    return command


def _parameter(name: str, info: Any, kind: Any = str) -> inspect.Parameter:
    annotation = Annotated[kind | None, info]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _run(task: str, given: dict[str, Any]) -> None:
    """Begin a run, or go on with one, and print the result if that was asked for."""
    from selfloop.options import CONFIGS
    from selfloop.options.fields import configure, fields
    from selfloop.options.training import BUDGETS

    own = {name: given.pop(name) for name in OF_THE_COMMAND}
    known = fields(CONFIGS[task])
    if own["list_fields"]:
        _print_fields(known.values())
        return
    chosen = {n: known[n].read(v) if isinstance(v, str) else v for n, v in given.items() if v is not None}
    device, as_json = own["device"], bool(own["as_json"])
    if own["resume"] is not None:
        _refuse_choices({**chosen, **{name: own[name] for name in ("run", "config", "set") if own[name]}})
        more = {name: chosen.pop(name) for name in BUDGETS if name in chosen}
        _go_on(task, own["resume"], more, chosen, device, as_json)
        return
    config = configure(CONFIGS[task], chosen, file=own["config"], assignments=own["set"] or [])
    _begin(task, config, own["run"], device, as_json)


def _refuse_choices(given: dict[str, Any]) -> None:
    from selfloop.options.training import BUDGETS

    refused = next((name for name in given if name not in ("cell", "encoder", *BUDGETS)), None)
    if refused is not None:
        got = "data" if refused == "source" else f"--{refused.replace('_', '-')}"
        raise ConfigError(
            f"--resume continues a run as it was begun, and takes no other choices. Got {got} too: leave it out."
        )


def _begin(task: str, config: Any, run: Path | None, device: str | None, as_json: bool) -> None:
    from selfloop.app.screen import Screen
    from selfloop.app.session import begin
    from selfloop.tasks.table import TASKS

    screen = Screen(task, TASKS[task], quiet=as_json)
    _end(begin(task, config, run, screen, device=device), screen, as_json)


def _go_on(
    task: str, path: Path, more: dict[str, float], code: dict[str, str], device: str | None, as_json: bool
) -> None:
    from selfloop.app.screen import Screen
    from selfloop.app.session import go_on
    from selfloop.tasks.loading import open_run_of
    from selfloop.tasks.table import TASKS

    screen = Screen(task, TASKS[task], quiet=as_json)
    run = open_run_of(task, path)
    _end(go_on(run, TASKS[task], screen, more, device=device, **code), screen, as_json)


def _end(outcome: Any, screen: Any, as_json: bool) -> None:
    import json

    result = outcome.result
    if as_json and result is not None:
        typer.echo(json.dumps(result))
    if result is not None and not result["finished"]:
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
