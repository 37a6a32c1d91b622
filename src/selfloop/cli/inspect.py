"""``selfloop inspect RUN``."""

import json
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selfloop.cli.open_run import OwnCell, OwnEncoder, Set, SkipBad
from selfloop.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from selfloop.inspect import Gates, GradientFlow
    from selfloop.tasks.predictor import Inspectable
    from selfloop.tasks.watched import Watched


def inspect(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Argument(
            help="Data as evaluate takes them. [dim]\\[default: the run's own validation data][/]", show_default=False
        ),
    ] = None,
    gates: Annotated[
        bool,
        typer.Option(
            "--gates", help="Gates and states at every step, and units that follow something, such as quotes."
        ),
    ] = False,
    memory: Annotated[bool, typer.Option("--memory", help="How many of the past steps the model uses.")] = False,
    flow: Annotated[
        bool, typer.Option("--gradient-flow", help="How far back the gradient reaches, before training and after.")
    ] = False,
    steps: Annotated[int, typer.Option(min=2, help="How many steps of a sequence are looked at, at the most.")] = 200,
    out: Annotated[
        str | None, typer.Option(help="The folder for the pictures and their data. [dim]\\[default: the run's own][/]")
    ] = None,
    cell: OwnCell = None,
    encoder: OwnEncoder = None,
    skip_bad: SkipBad = False,
    set: Set = None,
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

    from selfloop.cli.open_run import check_given, open_for, read_as
    from selfloop.inspect import gates as record_gates
    from selfloop.inspect.canvas import check_picture
    from selfloop.tasks.predictor import Inspectable
    from selfloop.untrusted import is_folder

    check_given(data)
    folder = Path(out) if out is not None else Path(run) if is_folder(Path(run)) else Path()
    check_picture(folder / "gates.png")
    model = open_for("inspect", Inspectable, run, cell=cell, encoder=encoder)
    read_as(model, skip_bad=skip_bad or None, assignments=set or [])
    what_there_is = not (gates or memory or flow)
    found: dict[str, tuple[dict[str, Any], list[Any]]] = {}
    with Console(stderr=True, quiet=as_json).status("looking …"):
        watched = model.watched(steps, data)
        if flow and watched.rnn.bidirectional:
            raise ArgumentError(
                "The gradient runs back from a last step, and a model that reads both ways has none. Train one with "
                "--no-bidirectional."
            )
        if what_there_is:
            gates, memory = True, watched.losses is not None
        flows = None
        if flow or (memory and not watched.rnn.bidirectional):
            flows = _Flows.of(model, watched, steps, data)
        if gates or memory:
            seen = record_gates(watched, steps)
            if gates:
                found["gates"] = _gates(seen, folder)
            if memory:
                found["memory"] = _memory(watched, steps, seen, flows, folder)
        if flow and flows is not None:
            found["gradient_flow"] = _flow(flows, folder)
    if as_json:
        typer.echo(json.dumps({name: facts for name, (facts, _) in found.items()}))
        return
    console = Console(highlight=False, markup=False)  # classes may be called [neutral]
    for facts, shown in found.values():
        for one in shown:
            console.print(one)
        for picture in facts["pictures"]:
            typer.echo(f"The picture: {picture}")
        typer.echo()


@dataclass(frozen=True)
class _Flows:
    """The gradient flow of each layer by name, the top one first."""

    after: "dict[str, GradientFlow]"
    before: "dict[str, GradientFlow]"
    missing: str = ""
    """Why nothing is known of the model before its training, if so."""

    @classmethod
    def of(cls, model: "Inspectable", watched: "Watched", steps: int, data: str | None) -> "_Flows":
        """Of the model as it is, and before its training."""
        from selfloop.inspect import gradient_flow_of

        def by_layer(watched: "Watched") -> "dict[str, GradientFlow]":
            flow = gradient_flow_of(watched, steps)
            return {f"layer {layer + 1}": flow.of_layer(layer) for layer in reversed(range(flow.num_layers))}

        after = by_layer(watched)
        try:
            return cls(after, by_layer(model.watched(steps, data, fresh=True)))
        except DataError as error:  # the word vectors that it began with have gone
            return cls(after, {}, f"The model before its training is not shown. {error}")


def _gates(seen: "Gates", folder: "Path") -> "tuple[dict[str, Any], list[Any]]":
    """How long units remember, how often gates are saturated, and which units follow something."""
    import numpy as np
    from rich.table import Table

    from selfloop.inspect import draw_gates, draw_units
    from selfloop.inspect.confusion import percent

    pictures = [folder / "gates.png"]
    draw_gates(seen, pictures[0])
    if seen.followed:
        pictures.append(folder / "units.png")
        draw_units(seen, pictures[1])
    layers: dict[str, Any] = {}
    for layer in seen.layers.values():
        constants = {
            state: {"median": _finite(np.median(own)), "90%": _finite(np.quantile(own, 0.9, method="nearest"))}
            for state, own in ((state, layer.time_constants(state)) for state in layer.kept)
        }
        shares = {gate: [float(share.mean()) for share in layer.saturation(gate)] for gate in layer.gates}
        saturation = {gate: {"shut": shut, "open": opened} for gate, (shut, opened) in shares.items()}
        layers[layer.title] = {"time_constants": constants, "saturation": saturation}
    follows = [
        {
            "what": one.what,
            "layer": seen.layers[one.layer].title,
            "state": one.state,
            "unit": one.unit,
            "measure": one.measure,
            "score": one.score,
            "score_of_all_units": one.by_all,
        }
        for one in seen.followed
    ]
    remember = _table("remembers for", f"median, {seen.unit}s", "90% up to")
    saturated = _table("gate", "shut, below 0.1", "open, above 0.9")
    for title, own in layers.items():
        for state, constant in own["time_constants"].items():
            remember.add_row(f"{state} of {title}", *(_steps(value) for value in constant.values()))
        for gate, share in own["saturation"].items():
            saturated.add_row(f"{gate} of {title}", *(percent(value) for value in share.values()))
    units = _table("follows", "score", "all units together")
    for one in seen.followed:
        name = f"{one.what}: unit {one.unit} of {one.state}, {seen.layers[one.layer].title}"
        units.add_row(name, f"{one.measure} {one.score:.2f}", f"{one.by_all:.2f}")
    shown: list[Table | str] = [table for table in (remember, saturated, units) if table.row_count]
    if not remember.row_count:
        shown.insert(0, "This cell hands nothing of a state straight on from step to step.")
    if not seen.followed:
        shown.append("No unit alone follows anything that is known of the steps.")
    return {"layers": layers, "follows": follows, "pictures": [str(picture) for picture in pictures]}, shown


def _memory(
    watched: "Watched", steps: int, seen: "Gates", flows: _Flows | None, folder: "Path"
) -> "tuple[dict[str, Any], list[Any]]":
    """How many steps the model uses."""
    from selfloop.inspect import draw_memory, memory
    from selfloop.inspect.memory_picture import uses

    found = memory(watched, steps)
    picture = folder / "memory.png"
    after, before = (None, None) if flows is None else (flows.after, flows.before)
    draw_memory(found, picture, flows=after, before=before, gates=seen)
    at = dict(zip(found.spans.tolist(), found.losses.tolist(), strict=True))
    said = f"The model {uses(found)}. Its loss, in {found.loss_unit}, by how many it sees:"
    table = _table(f"{found.unit}s", *(f"{span:,}" for span in (*found.spans[:-1:3], found.spans[-1])))
    table.add_row("loss", *(f"{at[span]:.3f}" for span in (*found.spans[:-1:3].tolist(), int(found.spans[-1]))))
    shown: list[Table | str] = [said, table]
    if flows is None:
        shown.append("There is no gradient flow beside it: the stack reads both ways.")
    elif flows.missing:
        shown.append(flows.missing)
    facts = {
        "uses": found.uses,
        "or_more": found.is_open,
        "unit": found.unit,
        "spans": found.spans.tolist(),
        "losses": [_finite(value) for value in found.losses],
        "errors": [_finite(value) for value in found.errors],
        "loss_unit": found.loss_unit,
        "pictures": [str(picture)],
    }
    return facts, shown


def _flow(flows: _Flows, folder: "Path") -> "tuple[dict[str, Any], list[Any]]":
    """How far back the gradient reaches."""
    from selfloop.inspect import draw_gradient_flow

    picture = folder / "gradient_flow.png"
    draw_gradient_flow(flows.after, picture, before=flows.before)
    norms = {
        name: {
            when: [_finite(value) for value in own[name].relative]
            for when, own in (("before", flows.before), ("after", flows.after))
            if own
        }
        for name in flows.after
    }
    longest = next(iter(flows.after.values())).lags
    lags = [lag for lag in (1, 10, 30, 100, 300, 1000) if lag < len(longest)]
    table = _table("gradient norm, steps back", *map(str, lags), "1% reaches")
    for name in flows.after:
        for when, own in (("before training", flows.before), ("after", flows.after)):
            if own:
                norms_at = [f"{own[name].relative[lag]:.1e}" for lag in lags]
                table.add_row(f"{name}, {when}", *norms_at, f"{own[name].reach()} steps")
    shown: list[Table | str] = [table, flows.missing] if flows.missing else [table]
    return {"lags": longest.tolist(), "relative_norms": norms, "pictures": [str(picture)]}, shown


def _table(first: str, *numbers: str) -> "Table":
    """A table whose first column are names, and the others numbers."""
    from rich.table import Table

    table = Table(first, *numbers, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _steps(value: float | None) -> str:
    return "∞" if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
