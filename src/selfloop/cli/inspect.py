"""``selfloop inspect RUN``."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from selfloop.errors import ArgumentError

if TYPE_CHECKING:
    from selfloop.inspect import GradientFlow


def inspect(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    flow: Annotated[
        bool, typer.Option("--gradient-flow", help="How far back the signal of learning reaches, before and after.")
    ] = False,
    steps: Annotated[int, typer.Option(min=2, help="How long the sequences are that the gradient runs back on.")] = 200,
    plot: Annotated[
        str | None, typer.Option(help="Where the picture goes. [dim]gradient_flow.png in the run[/]")
    ] = None,
    cell: Annotated[str | None, typer.Option(help="The cell of a run that was trained with your own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the norm at every step.")] = False,
) -> None:
    """Look inside a trained model.

    With --gradient-flow: the gradient of a loss at the last step, at every step before, on the run's own validation
    data. It compares the model as it is with itself before training.

    [bold]Examples[/bold]

      selfloop inspect runs/play --gradient-flow

      selfloop inspect runs/play --gradient-flow --steps 500 --plot flow.svg

      selfloop inspect runs/play --gradient-flow --json > flow.json
    """
    if not flow:
        raise ArgumentError("Say what to look at: selfloop inspect RUN --gradient-flow.")
    from pathlib import Path

    from rich.console import Console

    from selfloop.cli.open_run import open_for
    from selfloop.inspect import draw_gradient_flow, gradient_flow
    from selfloop.tasks.predictor import Inspectable
    from selfloop.untrusted import is_folder

    model = open_for("inspect --gradient-flow", Inspectable, run, cell=cell)
    with Console(stderr=True, quiet=as_json).status("running back …"):
        after = _layers(gradient_flow(*model.recurrent_inputs(steps)))
        before = _layers(gradient_flow(*model.recurrent_inputs(steps, fresh=True)))
    picture = plot or str((Path(run) if is_folder(Path(run)) else Path()) / "gradient_flow.png")
    draw_gradient_flow(after, picture, before=before)
    if as_json:
        norms = {
            name: {"before": before[name].relative.tolist(), "after": after[name].relative.tolist()} for name in after
        }
        lags = next(iter(after.values())).lags.tolist()
        typer.echo(json.dumps({"picture": picture, "lags": lags, "relative_norms": norms}))
        return
    _print(before, after)
    typer.echo(f"The picture: {picture}")


def _layers(flow: "GradientFlow") -> dict[str, "GradientFlow"]:
    """A flow for each layer, the top one first."""
    layers = reversed(range(flow.num_layers))
    return {f"layer {layer + 1}": flow.of_layer(layer) for layer in layers}


def _print(before: dict[str, "GradientFlow"], after: dict[str, "GradientFlow"]) -> None:
    from rich.console import Console
    from rich.table import Table

    longest = max(len(flow.lags) for flow in after.values())
    lags = [lag for lag in (1, 10, 30, 100, 300, 1000) if lag < longest]
    table = Table(
        "gradient norm, steps back", *map(str, lags), "1% reaches", title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, flow in after.items():
        for when, one in (("before training", before[name]), ("after", flow)):
            shown = [f"{one.relative[lag]:.1e}" for lag in lags]
            table.add_row(f"{name}, {when}", *shown, f"{one.reach()} steps")
    Console(highlight=False).print(table)
