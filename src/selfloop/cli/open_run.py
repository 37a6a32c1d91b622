"""A run as a verb opens it."""

import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from selfloop.errors import ArgumentError

if TYPE_CHECKING:
    from selfloop.data.examples import BadItems

Can = TypeVar("Can")

OwnCell = Annotated[
    str | None, typer.Option("--cell", help="Your own cell, FILE.py:NAME, where the run was trained with one.")
]

OwnEncoder = Annotated[
    str | None,
    typer.Option("--encoder", help="Your own image encoder, FILE.py:NAME, where the run was trained with one."),
]

Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="Whether line 1 of CSV or TSV names the columns. With --no-header they are called 1, 2, 3.",
    ),
]

Id = Annotated[
    str | None,
    typer.Option(
        help="The column with the ids of the rows, which are kept with their predictions. "
        "[dim]\\[default: the one called id][/]"
    ),
]

SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out what cannot be used.")]

Set = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Change how data are read or answers are found, as in data.encoding=latin-1; may be repeated.",
    ),
]


def read_as(
    model: Any,
    *,
    header: bool | None = None,
    id: str | None = None,
    skip_bad: bool | None = None,
    assignments: Sequence[str] = (),
) -> "BadItems":
    """Change how a model reads data; gives what collects those that cannot be used.

    Args:
        model: an opened one.
        header: of --header.
        id: of --id.
        skip_bad: of --skip-bad; None for as the run was trained.
        assignments: of --set.

    Raises:
        ArgumentError: its data have no such thing.
        ConfigError: an assignment does not fit.
    """
    from selfloop.tasks.reading import bad_items

    chosen = {"header": header, "id": id, "skip_bad": skip_bad}
    given = {name: value for name, value in chosen.items() if value is not None}
    for name in given:
        if name not in type(model.config.data).model_fields:
            raise ArgumentError(
                f"--{name.replace('_', '-')} is for examples, and this run reads a text as a whole: leave it out."
            )
    own = [f"data.{name}={json.dumps(value, ensure_ascii=False)}" for name, value in given.items()]  # is TOML, too
    model.change([*own, *assignments])
    return bad_items(model.config.data)


def check_given(*paths: str | None) -> None:
    """Raises an ArgumentError where a path is empty: it would stand for the folder at hand."""
    if "" in paths:
        raise ArgumentError("The path of the data must not be empty: give a file or a folder, or leave it out.")


def tell_left_out(bad: "BadItems") -> None:
    """Name what could not be used, on stderr."""
    for place, reason in bad.found:
        typer.echo(f"left out: {place} {reason}", err=True)


def open_for(what: str, needs: type[Can], run: str, **options: Any) -> Can:
    """The opened model of a run, which must be able to do what was asked.

    Args:
        what: was asked, for the error: ``generate``.
        needs: the class of the models that can do it: one of `selfloop.tasks.predictor`.
        run: the folder, or the name on the hub.
        options: of `selfloop.load`.

    Raises:
        ArgumentError: runs of its task cannot do it; the message says which can, and what this one is for.
        RunError: as of `selfloop.load`.
    """
    from selfloop.tasks import load
    from selfloop.tasks.loading import kind_of_model
    from selfloop.tasks.table import TASKS

    model: Any = load(run, **options)
    if isinstance(model, needs):
        return model
    mine = kind_of_model(model)
    task = next(name for name, kind in TASKS.items() if kind is mine)
    *first, last = [name for name, kind in TASKS.items() if issubclass(kind.predictor, needs)]
    able = f"{', '.join(first)} and {last}" if first else last
    verb = what.split(maxsplit=1)[0]
    command = next((one for one in mine.next if one.split()[1] == verb), mine.next[0]).format(run=shlex.quote(run))
    raise ArgumentError(f"{what} is for runs of {able}. {run} is of {task}: use {command}.")
