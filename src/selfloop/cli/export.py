"""``selfloop export RUN --to FORM``."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from selfloop.cli.open_run import OwnCell, OwnEncoder
from selfloop.errors import ArgumentError, check_one_of


def export(
    run: Annotated[
        str | None, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(help="The form: c (source), object (machine code), wasm or onnx.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder to make. [dim]\\[default: export-FORM in the run's own][/]", show_default=False),
    ] = None,
    weights: Annotated[str, typer.Option(help="The numbers that matrices are kept as: f32, bf16 or int8.")] = "f32",
    target: Annotated[
        str | None,
        typer.Option(
            help="Of object the processor, of which --target list prints all; of wasm simd, relaxed-simd or plain. "
            "[dim]\\[default: this processor; simd][/]",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="What the files and functions of c, object and wasm are called. [dim]\\[default: model][/]",
            show_default=False,
        ),
    ] = None,
    cell: OwnCell = None,
    encoder: OwnEncoder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a trained model as files that run without selfloop.

    The files are run before they are handed over, on the run's validation data
    and on random numbers. Answers that differ from selfloop's own by more than
    rounding are an error. What bf16 and int8 weights cost is measured.

    [bold]Examples[/bold]

      selfloop export runs/play --to c --name play

      selfloop export runs/gestures --to object --target cortex-m7 --weights int8

      selfloop export runs/en-de --to onnx --out translator

      selfloop export --target list
    """
    from rich.console import Console

    from selfloop.compiler import target_table
    from selfloop.exporting.forms import FORMS, WEIGHTS, check_takes
    from selfloop.tasks import load
    from selfloop.untrusted import is_folder

    if target == "list":
        table = target_table()
        if as_json:
            typer.echo(json.dumps(table))
            return
        width = max(map(len, table))
        typer.echo("\n".join(f"{one:{width}}  {about}" for one, about in table.items()))
        return
    if run is None:
        raise ArgumentError("Give the folder of a run: selfloop export RUN --to c.")
    if to is None:
        raise ArgumentError(f"Give the form with --to: {', '.join(FORMS)}.")
    check_one_of(to, FORMS, "The --to")
    form = FORMS[to]
    check_one_of(weights, WEIGHTS, f"The --weights for {to}")
    options = {title: value for title, value in (("name", name), ("target", target)) if value is not None}
    check_takes(to, options, "--{}", "--to {}")
    if out is None:
        out = (Path(run) if is_folder(Path(run)) else Path()) / f"export-{to}"
    model = load(run, cell=cell, encoder=encoder)
    with Console(stderr=True, quiet=as_json).status("writing files and trying them …"):
        made = form.export(model, out, weights, **options)
    if as_json:
        typer.echo(json.dumps(made.facts()))
    else:
        typer.echo(f"{out}: {made}{form.next.format(folder=shlex.quote(str(out)))}")
