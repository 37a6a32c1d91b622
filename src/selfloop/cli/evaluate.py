"""``selfloop evaluate RUN [DATA]``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from selfloop.cli.open_run import Header, Id, read_as
from selfloop.errors import ArgumentError


def evaluate(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Argument(
            help="Data to score, as the run was trained on; without it, the run's own validation and test data.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(help="Of a translator: the file of translations, line by line.", show_default=False),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Score about so many tokens or examples, for a quick figure. [dim]All.[/]")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="The column with the text or the series. [dim]The run's own.[/]")
    ] = None,
    cell: Annotated[str | None, typer.Option(help="The cell of a run that was trained with your own.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="The image encoder of a run that was trained with your own.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Keep what is predicted, with what is true, in this file (CSV): a row per example, or per step.",
            show_default=False,
        ),
    ] = None,
    header: Header = None,
    id: Id = None,
    set: Annotated[
        list[str] | None, typer.Option(help="Read or decode in another way: data.… and decoding.… as KEY=VALUE.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score data with a trained model: what the task is judged by, and where there are classes, each of them.

    A language model scores every token once, given all tokens before it; the state is carried through the whole text.

    [bold]Examples[/bold]

      selfloop evaluate runs/play

      selfloop evaluate runs/play other.txt --json

      selfloop evaluate runs/names more_names/ --predictions said.csv

      selfloop evaluate runs/en-de test.en test.de
    """
    from rich.columns import Columns
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from selfloop.app.predictions import save_table
    from selfloop.app.screen import scoring, show_mistakes
    from selfloop.cli.open_run import open_for
    from selfloop.tasks.loading import kind_of_model
    from selfloop.tasks.predictor import Predictor, Predicts, ScoresPairs
    from selfloop.tasks.reading import bad_items
    from selfloop.tasks.table import PARTS
    from selfloop.world import joined_world

    needs: tuple[str, type[Any]] = (
        ("evaluate", Predictor) if target is None else ("evaluate with two files", ScoresPairs)
    )
    if predictions is not None and target is None:
        needs = "evaluate --predictions", Predicts
    model = open_for(*needs, run, cell=cell, encoder=encoder)
    model.change([*read_as(header, id), *(set or [])])
    kind = kind_of_model(model)
    more = {} if target is None else {"target": target}
    bad = bad_items(model.config.data)
    with joined_world() as world:
        model.world = world
        console = Console(stderr=True, quiet=as_json or not world.is_first, highlight=False)
        with scoring(console, kind) as report:
            scores = model.scores(model.parts(data, column, bad=bad, **more), sample=sample, report=report)
    if not world.is_first:
        return
    for place, reason in bad.found:
        typer.echo(f"left out: {place} {reason}", err=True)
    if predictions is not None:
        rows = ({"part": name, **row} for name, score in scores.items() for row in score.judged_rows())
        try:
            save_table(predictions, rows)
        except OSError as error:
            raise ArgumentError(f"{predictions} cannot be written ({error.strerror}): name another file.") from error
    unit = f"{kind.unit}s"
    if as_json:
        facts = {
            name: {**s.metrics(), **s.signatures, unit: s.count, "classes": s.details()} for name, s in scores.items()
        }
        typer.echo(json.dumps({n: {k: v for k, v in f.items() if v != []} for n, f in facts.items()}))
        return
    console = Console(highlight=False, markup=False)  # classes may be called [neutral]
    for name, score in scores.items():
        metrics = score.metrics()
        figures = [
            f"{score.count:,} {unit}",
            *(f.format(metrics[key]) for key, f in kind.figures.items() if key in metrics),
        ]
        console.print(Text(name, "bold"))
        console.print(Padding(Columns(figures, padding=(0, 3, 0, 0)), (0, 0, 0, 2)))
    for signature in sorted({text for score in scores.values() for text in score.signatures.values()}):
        console.print(signature, style="dim")
    for name, score in scores.items():
        rows = score.details()
        if rows:
            classes = Table(*rows[0], title=name, title_justify="left")
            for row in rows:
                classes.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
            console.print(classes)
        if mistakes := score.mistakes():
            show_mistakes(console, mistakes, PARTS.get(name, name))
