"""``selfloop inspect RUN``."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from selfloop.inspect import Gates, GradientFlow, Memory
    from selfloop.tasks.predictor import Inspectable


def inspect(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Argument(help="Data as evaluate takes them. [dim]The run's own validation data[/]", show_default=False),
    ] = None,
    gates: Annotated[
        bool, typer.Option("--gates", help="Gates and states at every step, and the units that follow something.")
    ] = False,
    memory: Annotated[bool, typer.Option("--memory", help="How many of the past steps the model uses.")] = False,
    flow: Annotated[
        bool, typer.Option("--gradient-flow", help="How far back the signal of learning reaches, before and after.")
    ] = False,
    steps: Annotated[int, typer.Option(min=2, help="The most steps of a sequence that are looked at.")] = 200,
    out: Annotated[
        str | None, typer.Option(help="The folder for the pictures and their data. [dim]The run's own[/]")
    ] = None,
    cell: Annotated[str | None, typer.Option(help="The cell of a run that was trained with your own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the names of the pictures.")] = False,
) -> None:
    """Look inside a trained model: its gates, its memory, and how far back it learns.

    Without an option it shows gates and memory. Each picture lies beside its data, as .npz.

    [bold]Examples[/bold]

      selfloop inspect runs/play

      selfloop inspect runs/play chapter.txt --gates --steps 100

      selfloop inspect runs/play --memory --steps 500

      selfloop inspect runs/play --gradient-flow --json > flow.json
    """
    from pathlib import Path

    from rich.console import Console

    from selfloop.cli.open_run import open_for
    from selfloop.tasks.predictor import Inspectable
    from selfloop.untrusted import is_folder

    if not (gates or memory or flow):
        gates = memory = True
    model = open_for("inspect", Inspectable, run, cell=cell)
    folder = Path(out) if out is not None else Path(run) if is_folder(Path(run)) else Path()
    found: dict[str, Any] = {}
    with Console(stderr=True, quiet=as_json).status("looking …"):
        if gates:
            found["gates"] = _gates(model, steps, data, folder)
        if memory:
            found["memory"] = _memory(model, steps, data, folder)
        if flow:
            found["gradient_flow"] = _flow(model, steps, data, folder)
    if as_json:
        typer.echo(json.dumps({name: facts for name, (facts, _) in found.items()}))
        return
    console = Console(highlight=False)
    for facts, shown in found.values():
        for one in shown:
            console.print(one)
        for picture in facts["pictures"]:
            typer.echo(f"The picture: {picture}")
