"""``selfloop predict RUN DATA…``."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from selfloop.cli.open_run import Header, Id, OwnCell, OwnEncoder, Set, SkipBad
from selfloop.errors import ArgumentError, check_one_of


def predict(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files or folders. Without any, texts are read from stdin, one per line.", show_default=False
        ),
    ] = None,
    format: Annotated[
        str, typer.Option(help="How answers are printed: jsonl, csv, or text, which is the answers alone.")
    ] = "jsonl",
    cell: OwnCell = None,
    encoder: OwnEncoder = None,
    picture: Annotated[
        str | None,
        typer.Option(
            help="Draw images with captions, or labels along time with the true ones, in a .png, .svg or .pdf."
        ),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Label a film or a camera frame by frame, while it is read.")
    ] = False,
    header: Header = None,
    id: Id = None,
    set: Set = None,
    skip_bad: SkipBad = False,
) -> None:
    """Print the answers of a trained model to your data.

    [bold]Examples[/bold]

      selfloop predict runs/names new.txt

      echo "Yamamoto" | selfloop predict runs/names --format text

      selfloop predict runs/walks walks/*.npy --format csv > answers.csv

      selfloop predict runs/en-de news.en --format text > news.de

      selfloop predict runs/photos holiday/ --format csv --picture sheet.png

      selfloop predict runs/clips film.mp4 --set data.crop=[80,60,48,80]

      selfloop predict runs/clips /dev/video0 --stream
    """
    from selfloop.app.pictures import draw_predictions
    from selfloop.app.predictions import write_rows
    from selfloop.cli.open_run import check_given, open_for, read_as, tell_left_out
    from selfloop.inspect.canvas import check_picture
    from selfloop.tasks.predictor import Draws, Predicts, Watches
    from selfloop.world import joined_world

    check_one_of(format, FORMATS, "The --format")
    check_given(*(data or []))
    if stream and (picture is not None or skip_bad or header is not None or id is not None):
        raise ArgumentError(
            "predict --stream reads numbers or frames without an end: --picture, --skip-bad, --header and --id are for "
            "files. Leave them out."
        )
    needs: tuple[str, type[Any]] = ("predict --stream", Watches) if stream else ("predict", Predicts)
    if picture is not None:
        check_picture(picture)
        needs = "predict --picture", Draws
    model = open_for(*needs, run, cell=cell, encoder=encoder)
    bad = read_as(model, header=header, id=id, skip_bad=skip_bad, assignments=set or [])
    if stream:
        _stream(model, data or [], format)
        return
    with joined_world() as world:
        model.world = world
        if data:
            parts = [model.read(source, bad) for source in data]
        else:
            typed = _typed() if world.is_first else ()
            parts = [model.lines(typed if world.size == 1 else world.from_first([*typed]))]
        if world.is_first:
            tell_left_out(bad)
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
    from selfloop.app.predictions import write_as_they_come

    if len(data) != 1:
        raise ArgumentError(f"predict --stream takes one film, one camera or one address. Got {len(data)} instead.")
    (source,) = data
    found = enumerate(model.stream_with_probabilities(model.watch(source)))
    if format == "csv":
        rows = ({"input": source, "step": n, "label": label, "probability": f"{p:.4f}"} for n, (label, p) in found)
        write_as_they_come(rows, sys.stdout)
        return
    for step, (label, _) in found:
        typer.echo(label if format == "text" else json.dumps({"step": step, "label": label}, ensure_ascii=False))


FORMATS = ("jsonl", "csv", "text")
