"""``selfloop export RUN --to FORM``."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from selfloop.errors import ArgumentError, nearest


def export(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    to: Annotated[str, typer.Option(help="The form: onnx.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(help="The folder to make. [dim]export-onnx in the run's own.[/]", show_default=False),
    ] = None,
    weights: Annotated[str, typer.Option(help="What matrices are kept as: f32, bf16 or int8.")] = "f32",
    cell: Annotated[str | None, typer.Option(help="The cell of a run that was trained with your own.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="The image encoder of a run that was trained with your own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a trained model as files that run without selfloop.

    The files are run before they are handed over, on the run's validation data and on random numbers. What is more than
    rounding away from selfloop's own numbers is an error.

    [bold]Examples[/bold]

      selfloop export runs/play --to onnx

      selfloop export runs/en-de --to onnx --out translator --weights int8
    """
    from rich.console import Console

    from selfloop.exporting.forms import FORMS
    from selfloop.tasks import load
    from selfloop.untrusted import is_folder

    if to not in FORMS:
        raise ArgumentError(
            f"The --to must be one of {', '.join(FORMS)}. Got '{to}' instead{nearest(to, FORMS) or '.'}"
        )
    form = FORMS[to]
    if weights not in form.weights:
        raise ArgumentError(
            f"The --weights for {to} must be one of {', '.join(form.weights)}. Got '{weights}' instead."
        )
    if out is None:
        out = (Path(run) if is_folder(Path(run)) else Path()) / f"export-{to}"
    model = load(run, cell=cell, encoder=encoder)
    with Console(stderr=True, quiet=as_json).status("writing files and trying them …"):
        made = form.export(model, out, weights)
    if as_json:
        typer.echo(json.dumps(made.facts()))
    else:
        typer.echo(f"{out}: {made}{form.next.format(folder=shlex.quote(str(out)))}")
