"""``selfloop evaluate RUN [DATA]``."""

import json
from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Argument(
            help="A text to score; without it, the run's own validation and test texts.", show_default=False
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Score about so many tokens, for a quick figure. [dim]Every one.[/]")
    ] = None,
    column: Annotated[str | None, typer.Option(help="The column with the text. [dim]The run's own.[/]")] = None,
    cell: Annotated[str | None, typer.Option(help="The cell of a run that was trained with your own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a text with a trained model: loss, perplexity and bits per character.

    Every token is scored once, given all tokens before it; the state is carried through the whole text.

    [bold]Examples[/bold]

      selfloop evaluate runs/play

      selfloop evaluate runs/play other.txt --json
    """
    from rich.console import Console
    from rich.table import Table

    from selfloop.data import read_text
    from selfloop.tasks import load
    from selfloop.tasks.lm.task import open_corpus

    model = load(run, cell=cell)
    chosen = model.config.data
    if data is None:
        corpus = open_corpus(chosen)
        texts = {"validation": corpus.valid, **({"test": corpus.test} if corpus.test else {})}
    else:
        texts = {Path(data).name: read_text(data, column=column or chosen.column, encoding=chosen.encoding)}
    with Console(stderr=True, quiet=as_json).status("scoring …"):
        scores = {name: model.score(text, sample=sample) for name, text in texts.items()}
    if as_json:
        typer.echo(json.dumps({name: {**s.metrics(), "tokens": s.tokens} for name, s in scores.items()}))
        return
    table = Table("text", "tokens", "nats/token", "perplexity", "bits/character")
    for name, s in scores.items():
        table.add_row(name, f"{s.tokens:,}", f"{s.loss:.4f}", f"{s.perplexity:.2f}", f"{s.bits_per_character:.4f}")
    Console().print(table)
