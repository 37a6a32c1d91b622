"""``selfloop predict RUN DATA…``."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from selfloop.cli.open_run import Header, Id, read_as
from selfloop.errors import ArgumentError, check_one_of


def predict(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    data: Annotated[
        list[str] | None,
        typer.Argument(help="Files or folders; without them, a text per line from stdin.", show_default=False),
    ] = None,
    format: Annotated[str, typer.Option(help="jsonl, csv, or text, which is the answers alone.")] = "jsonl",
    cell: Annotated[str | None, typer.Option(help="The cell of a run that was trained with your own.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="The image encoder of a run that was trained with your own.")
    ] = None,
    picture: Annotated[
        str | None,
        typer.Option(
            help="Draw a .png of images with captions, or of labels along time, against the true ones if there are any."
        ),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Label a film or a camera frame by frame, while it is read.")
    ] = False,
    header: Header = None,
    id: Id = None,
    set: Annotated[
        list[str] | None, typer.Option(help="Read or decode in another way: data.… and decoding.… as KEY=VALUE.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Name what cannot be used, and leave it out.")] = False,
) -> None:
    """Say what a trained model makes of your data, an answer per line.

    [bold]Examples[/bold]

      selfloop predict runs/names new.txt

      echo "Yamamoto" | selfloop predict runs/names --format text

      selfloop predict runs/walks walks/*.npy --format csv > answers.csv

      selfloop predict runs/en-de news.en --format text > news.de

      selfloop predict runs/photos holiday/ --format csv --picture sheet.png

      selfloop predict runs/clips film.mp4 --picture labels.png --set data.crop=[80,60,48,80]

      selfloop predict runs/clips /dev/video0 --stream
    """
    from selfloop.app.pictures import draw_predictions
    from selfloop.app.predictions import write_rows
    from selfloop.cli.open_run import open_for
    from selfloop.data.examples import BadItems
    from selfloop.tasks.predictor import Predicts, Watches
    from selfloop.world import joined_world

    check_one_of(format, FORMATS, "The --format")
    needs: tuple[str, type[Any]] = ("predict --stream", Watches) if stream else ("predict", Predicts)
    model = open_for(*needs, run, cell=cell, encoder=encoder)
    model.change([*read_as(header, id), *(set or [])])
    if stream:
        if picture is not None or skip_bad:
            raise ArgumentError("predict --stream goes on for ever: --picture and --skip-bad are for data that end.")
        _stream(model, data or [], format)
        return
    bad = BadItems(skip_bad)
    with joined_world() as world:
        model.world = world
        if data:
            parts = [model.read(source, bad) for source in data]
        else:
            typed = _typed() if world.is_first else ()
            parts = [model.lines(typed if world.size == 1 else world.from_first([*typed]))]
        if world.is_first:
            for place, reason in bad.found:
                typer.echo(f"left out: {place} {reason}", err=True)
        predictions = [found for part in parts for found in model.predict(part)]
    if not world.is_first:
        return
    if format == "csv":
        write_rows((row for found in predictions for row in found.rows()), sys.stdout)
    else:
        for found in predictions:
            typer.echo(found.line() if format == "text" else json.dumps(found.facts(), ensure_ascii=False))
    if picture is not None:
        draw_predictions(model.drawing(predictions), picture)


def _typed() -> Iterator[str]:
    """The lines of stdin."""
    try:
        yield from (line.rstrip("\r\n") for line in sys.stdin)
    except UnicodeDecodeError as error:
        raise ArgumentError(
            f"What predict reads from stdin must be {error.encoding}. Got other bytes: convert it, or give the file, "
            "and its encoding as --set data.encoding=latin-1."
        ) from error


def _stream(model: Any, data: list[str], format: str) -> None:
    """A label a frame, as it comes."""
    if len(data) != 1:
        raise ArgumentError(f"predict --stream takes one film, one camera or one address. Got {len(data)} instead.")
    for step, label in enumerate(model.stream(model.watch(data[0]))):
        facts = json.dumps({"step": step, "label": label}, ensure_ascii=False)
        typer.echo({"jsonl": facts, "csv": f"{step},{label}", "text": label}[format])


FORMATS = ("jsonl", "csv", "text")
