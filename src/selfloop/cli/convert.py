"""``selfloop convert FILE``: recurrent weights of other libraries' files as selfloop's layers."""

import json
from pathlib import Path
from typing import Annotated

import typer


def convert(
    file: Annotated[
        str,
        typer.Argument(
            help="An ONNX or Keras file, or a state dict of torch.nn: .safetensors, .pt.", show_default=False
        ),
    ],
    out: Annotated[
        str | None, typer.Option(help="A new .safetensors file for the weights of one layer.", show_default=False)
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="The name of a layer in the file; may be repeated. [dim]\\[default: all][/]"),
    ] = None,
    nonlinearity: Annotated[
        str | None, typer.Option(help="tanh or relu, of an RNN in a file that does not say which.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Convert LSTM, GRU and RNN layers of ONNX, Keras and torch files to selfloop's.

    Each layer is compared with the equations of the file's library on random
    input, and the largest difference is printed.

    [bold]Examples[/bold]

      selfloop convert model.onnx

      selfloop convert model.keras --layer lstm --out lstm.safetensors

      selfloop convert tagger.pt --layer encoder.rnn --nonlinearity tanh
    """
    import shlex
    import warnings

    from selfloop.converting import convert as convert_file
    from selfloop.errors import ArgumentError
    from selfloop.untrusted import written

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the notes, which are printed
        converted = convert_file(file, layer=layer or None, nonlinearity=nonlinearity)
    if out is not None and len(converted) > 1:
        names = ", ".join(map(written, converted))
        raise ArgumentError(f"--out takes the weights of one layer, and these are {names}. Choose with --layer.")
    saved = None if out is None else converted.row().save(Path(out))
    if as_json:
        rows = [
            {
                "name": row.name,
                "was": row.was,
                "is": row.code,
                "difference": row.difference,
                "notes": row.notes,
                "parameters": sum(own.numel() for own in row.layer.parameters()),
            }
            for row in converted.rows
        ]
        typer.echo(json.dumps(rows))
        return
    typer.echo(converted)
    if saved is not None:
        typer.echo(f"\n{saved} has the weights. In Python:\n\n{converted.row().loading(saved)}")
    else:
        choose = "" if len(converted) == 1 else " --layer NAME"
        typer.echo(f"\nKeep the weights: selfloop convert {shlex.quote(file)}{choose} --out weights.safetensors")
