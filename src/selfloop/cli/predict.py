"""``selfloop predict RUN DATA…``."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selfloop.errors import ArgumentError

if TYPE_CHECKING:
    from selfloop.data.examples import Examples


def predict(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    data: Annotated[
        list[str] | None,
        typer.Argument(help="Files or folders; without them, a text a line from stdin.", show_default=False),
    ] = None,
    format: Annotated[str, typer.Option(help="jsonl, csv or text.")] = "jsonl",
    cell: Annotated[str | None, typer.Option(help="The cell of a run that was trained with your own.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Name what cannot be used, and leave it out.")] = False,
) -> None:
    """Say what a trained model makes of your data, an answer a line.

    [bold]Examples[/bold]

      selfloop predict runs/names new.txt

      echo "Yamamoto" | selfloop predict runs/names --format text

      selfloop predict runs/walks walks/*.npy --format csv > answers.csv
    """
    import csv
    import sys

    from selfloop.data.examples import BadItems
    from selfloop.tasks import load

    if format not in FORMATS:
        raise ArgumentError(f"The --format must be one of {', '.join(FORMATS)}. Got '{format}' instead.")
    model = load(run, cell=cell)
    if not hasattr(model, "predict"):
        raise ArgumentError(f"{run} is a language model, which writes: selfloop generate {run}.")
    bad = BadItems(skip_bad)
    parts = [model.read(source, bad) for source in data] if data else [_lines(model)]
    for place, reason in bad.found:
        typer.echo(f"left out: {place} {reason}", err=True)
    table = csv.writer(sys.stdout, lineterminator="\n")
    for number, found in enumerate(found for part in parts for found in model.predict(part)):
        if format == "jsonl":
            typer.echo(json.dumps(found.facts(), ensure_ascii=False))
        elif format == "text":
            typer.echo(found.text())
        else:
            table.writerows([*([found.COLUMNS] if number == 0 else []), *found.rows()])


FORMATS = ("jsonl", "csv", "text")


def _lines(model: Any) -> "Examples":
    """An example a line from stdin: a text, or words with spaces between."""
    import sys

    from selfloop.data.examples import Examples

    if model.inputs.kind not in ("text", "words"):
        raise ArgumentError("This model reads numbers, which do not come as lines: give files or folders.")
    lines = [line.rstrip("\r\n") for line in sys.stdin]
    lines = [line for line in lines if line.strip()]
    return Examples([line.split() for line in lines] if model.inputs.kind == "words" else lines, [], lines)
