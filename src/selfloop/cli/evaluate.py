"""``selfloop evaluate RUN [DATA]``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from selfloop.cli.open_run import Header, Id, OwnCell, OwnEncoder, Set, SkipBad


def evaluate(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Argument(
            help="Data of the kind that the run was trained on, with what is true. "
            "[dim]\\[default: the run's own validation and test data][/]",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(help="The file of translations, one per line, of a run of translate.", show_default=False),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Score about so many tokens or examples only. [dim]\\[default: all][/]")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="The column with the text or the series. [dim]\\[default: as in training][/]")
    ] = None,
    cell: OwnCell = None,
    encoder: OwnEncoder = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Save what is predicted and what is true as CSV in this file: a row per example, or per step.",
            show_default=False,
        ),
    ] = None,
    header: Header = None,
    id: Id = None,
    set: Set = None,
    skip_bad: SkipBad = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a trained model on data: the figures of its task and, where there are classes, of each of them.

    Of a language model every token is scored once, given all tokens before it.

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
    from selfloop.atomic import check_replacing, refused_if_unwritable
    from selfloop.cli.open_run import check_given, open_for, read_as, tell_left_out
    from selfloop.tasks.loading import kind_of_model
    from selfloop.tasks.predictor import Predictor, Predicts, ScoresPairs
    from selfloop.tasks.table import PARTS
    from selfloop.world import joined_world

    check_given(data, target)
    needs: tuple[str, type[Any]] = (
        ("evaluate", Predictor) if target is None else ("evaluate with two files", ScoresPairs)
    )
    if predictions is not None:
        with refused_if_unwritable(predictions):
            check_replacing(predictions)
        if target is None:
            needs = "evaluate --predictions", Predicts
    model = open_for(*needs, run, cell=cell, encoder=encoder)
    bad = read_as(model, header=header, id=id, skip_bad=skip_bad or None, assignments=set or [])
    kind = kind_of_model(model)
    more = {} if target is None else {"target": target}
    with joined_world() as world:
        model.world = world
        console = Console(stderr=True, quiet=as_json or not world.is_first, highlight=False)
        with scoring(console, kind) as report:
            scores = model.scores(model.parts(data, column, bad=bad, **more), sample=sample, report=report)
    if not world.is_first:
        return
    tell_left_out(bad)
    if predictions is not None:
        rows = ({"part": name, **row} for name, score in scores.items() for row in score.judged_rows())
        with refused_if_unwritable(predictions):
            save_table(predictions, rows)
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
