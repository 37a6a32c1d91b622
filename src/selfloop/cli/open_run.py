"""A run as a verb opens it."""

import shlex
from typing import Annotated, Any, TypeVar

import typer

from selfloop.errors import ArgumentError

Can = TypeVar("Can")

Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", help="Whether line 1 of CSV or TSV names the columns; else they are called 1, 2, 3."
    ),
]

Id = Annotated[
    str | None,
    typer.Option(help="The column with the ids of the rows, kept with their predictions. [dim]One called id.[/]"),
]


def read_as(header: bool | None, id: str | None = None) -> list[str]:
    """The options --header and --id as assignments."""
    header_as = [] if header is None else [f"data.header={str(header).lower()}"]
    return header_as if id is None else [*header_as, f"data.id={id}"]


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
    command = mine.next[0].format(run=shlex.quote(run))
    raise ArgumentError(f"{what} is for runs of {able}. {run} is of {task}: use {command}.")
