"""The command line: ``selfloop VERB``. Each verb is a file, and imports what it needs when it runs."""

import difflib
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from selfloop import processors
from selfloop.cli.bench import bench
from selfloop.cli.convert import convert
from selfloop.cli.doctor import doctor
from selfloop.cli.evaluate import evaluate
from selfloop.cli.export import export
from selfloop.cli.generate import generate
from selfloop.cli.inspect import inspect
from selfloop.cli.predict import predict
from selfloop.cli.show import show
from selfloop.cli.spelling import as_taken_by
from selfloop.cli.train import train_app
from selfloop.errors import SelfloopError
from selfloop.version import __version__
from selfloop.world import end_with_torchrun


class _Verbs(TyperGroup):
    """The verbs, train first. What is offered for an option that does not exist is near without its dashes, too; what
    an error offers are options that the verb has.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """All verbs, in the order of their help."""
        return sorted(super().list_commands(ctx), key=lambda name: name != "train")

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except SelfloopError as error:
            error.args = (as_taken_by(self.commands.get(ctx.invoked_subcommand), str(error)),)
            raise
        except Exception as error:
            if offered := vars(error).get("possibilities"):
                bare = {name.lstrip("-"): name for name in offered}
                near = difflib.get_close_matches(error.option_name.lstrip("-"), bare)  # type: ignore[attr-defined]
                error.possibilities = [bare[name] for name in near]  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    name="selfloop",
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Recurrent networks: train them on your own data, look inside them, use them.\n\n"
    "[bold]Start here[/bold]\n\n"
    "  selfloop train lm                       train on the text inside Python\n\n"
    "  selfloop train lm play.txt --minutes 3  train on your own\n\n"
    "  selfloop generate runs/play             let it write\n\n"
    "  selfloop train --help                   classify, label, translate, caption\n",
)
app.add_typer(train_app, name="train")
app.command()(evaluate)
app.command()(predict)
app.command()(generate)
app.command()(inspect)
app.command()(export)
app.command()(show)
app.command()(convert)
app.command()(doctor)
app.command()(bench)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"selfloop {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    del version
    if "torch" not in sys.modules:  # in a comparison torch must run as it does by itself
        processors.share(os.environ, idle_threads_sleep=context.invoked_subcommand != "bench")


def main() -> None:
    """Run the command line; what goes wrong on the user's side is one sentence and exit status 2."""
    end_with_torchrun()
    try:
        app()
    except SelfloopError as error:
        process = os.environ.get("RANK", "0")  # where there are several, most errors are all theirs
        typer.echo(f"selfloop{f', process {process}' * (process != '0')}: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
