"""``selfloop bench``: our kernels beside their peers, on this machine."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selfloop import processors
from selfloop.errors import ArgumentError, nearest

if TYPE_CHECKING:
    from selfloop.bench import Case, Row, StepCase, StepRow

ROUNDS, QUICK_ROUNDS = 11, 3

SUMMED = ("small", "single")
"""Groups of many cases, of which the worst and the mean are told."""


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="lstm, gru, rnn, ragged, projection, bfloat16, norms, ort, jax, stepper, zoo, small, single, step."
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="How often each is timed. [dim]\\[default: 11; with --quick 3][/]")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="How many threads both sides use. [dim]\\[default: as torch][/]")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A third of the steps, and fewer rounds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the ratios in this file (.png, .svg or .pdf).")] = None,
) -> None:
    """Time selfloop against other libraries, in turns, where their outputs and gradients agree.

    A ratio is the other's time divided by selfloop's: above 1 selfloop is faster. Without names everything is measured.

    small measures calls of few steps and few sequences, where the time in
    Python counts, and single training on one step; both end with the worst
    ratio and the geometric mean. step measures whole updates of the models of
    all tasks, and says where their time goes.

    [bold]Examples[/bold]

      selfloop bench lstm gru

      selfloop bench --quick --plot ratios.png
    """
    if threads is not None and threads > processors.count():
        raise ArgumentError(
            f"--threads must be at most {processors.count()}, the processors that this process may use. "
            f"Got {threads} instead."
        )
    import torch

    from selfloop.bench import draw, measure, measure_step, peak, summary
    from selfloop.inspect.canvas import check_picture

    if plot is not None:
        check_picture(plot)
    cases, steps, left_out = _choose(names or [], quick)
    if threads is not None:
        torch.set_num_threads(threads)
    machine = _machine(peak())
    say = _silent if as_json else typer.echo
    say(_headline(machine))
    for peer, modules in left_out.items():
        say(f"left out: the cases against {peer}; first pip install {' '.join(modules)}")
    rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    rows: list[Row] = []
    for case in cases:
        if not rows or rows[-1].case.title != case.title:
            say(f"\n{case.title}\n{_COLUMNS}")
        rows.append(measure(case, rounds))
        say(_line(rows[-1], machine["peak_gflops"]))
    for group in SUMMED:
        for line in summary([row for row in rows if row.case.group == group]):
            say(f"  {line}")
    whole: list[StepRow] = []
    if steps:
        say(f"\n{_STEP_TITLE}\n{_STEP_COLUMNS}")
    for step in steps:
        whole.append(measure_step(step, rounds))
        say(_step_line(whole[-1], machine["peak_gflops"]))
    if as_json:
        known = [facts(machine["peak_gflops"]) for facts in (*(r.facts for r in rows), *(r.facts for r in whole))]
        typer.echo(json.dumps({"machine": machine, "rounds": rounds, "left_out": left_out, "rows": known}))
    drawn = [row for row in rows if row.case.group not in SUMMED]  # too many
    if plot is not None and any(row.ratio for row in drawn):
        draw(drawn, plot, _headline(machine))
        say(f"\n{plot} shows the ratios.")
    if any(row.error for row in rows) or any(row.error for row in whole):
        raise typer.Exit(1)


def _choose(names: list[str], quick: bool) -> "tuple[list[Case], list[StepCase], dict[str, list[str]]]":
    """The cases of these groups, those of whole steps, and what is missing of the peers that others would need."""
    from dataclasses import replace

    from selfloop.bench import cases, steps
    from selfloop.bench.peers import PEERS

    groups = [*dict.fromkeys(case.group for case in cases.CASES), *["step"] * bool(steps.STEPS)]
    for name in names:
        if name not in groups:
            stop = nearest(name, groups) or "."
            raise ArgumentError(f"There is no benchmark '{name}'; there are {', '.join(groups)}{stop}")
    chosen = [case for case in cases.CASES if not names or case.group in names]
    left_out = {case.peer: missing for case in chosen if (missing := PEERS[case.peer].missing)}
    chosen = [case for case in chosen if case.peer not in left_out]
    whole = [*steps.STEPS] if not names or "step" in names else []
    if quick:
        chosen = [replace(case, T=max(1, case.T // 3)) for case in chosen]
        whole = [replace(case, T=max(1, case.T // 3)) for case in whole]
    return chosen, whole, left_out


def _machine(peak: float) -> dict[str, Any]:
    """What the numbers depend on."""
    import importlib.metadata
    import os
    from contextlib import suppress

    import torch

    from selfloop.compiler import host_target, processor_name
    from selfloop.version import __version__

    versions = {"selfloop": __version__}
    for package in ("torch", "onnxruntime", "jax"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "processor": processor_name(),
        "target": host_target().name,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "peak_gflops": peak,
        "versions": versions,
    }


def _headline(machine: dict[str, Any]) -> str:
    threads = machine["threads"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['target']}, {threads} thread{'s' * (threads > 1)}, "
        f"peak {machine['peak_gflops']:,.0f} GFLOP/s of float32; {versions}"
    )


_COLUMNS = f"  {'':19}{'T×B':>7}{'I→H':>9}{'ours':>10}{'peer':>10}   {'ratio (quartiles)':20}{'GFLOP/s':>8}{'peak':>6}"


def _line(row: "Row", peak: float) -> str:
    case = row.case
    begin = f"  {case.cell:19}{f'{case.T}×{case.B}':>7}{f'{case.I}→{case.H}':>9}"
    if row.ours is None or row.peer is None or row.ratio is None or row.gflops is None:
        return f"{begin}   {row.error}"
    ratio = f"{row.ratio.median:.2f} ({row.ratio.low:.2f} to {row.ratio.high:.2f})"
    other = "" if row.backend == "native" else f"  by {row.backend}"
    times = f"{_time(row.ours.median):>10}{_time(row.peer.median):>10}"
    return f"{begin}{times}   {ratio:20}{row.gflops:8.1f}{row.gflops / peak:6.0%}{other}"


_STEP_TITLE = "step: forward, loss, backward, clipping and AdamW, against the same model on torch.nn"
_STEP_COLUMNS = (
    f"  {'':24}{'T×B':>7}{'ours':>11}{'peer':>11}   {'ratio (quartiles)':20}{'tokens/s':>9}{'peak':>6}"
    "   where the time goes"
)


def _step_line(row: "StepRow", peak: float) -> str:
    case = row.case
    begin = f"  {case.name:24}{f'{case.T}×{case.B}':>7}"
    if row.ours is None or row.peer is None or row.ratio is None or row.gflops is None or row.parts is None:
        return f"{begin}   {row.error}"
    ratio = f"{row.ratio.median:.2f} ({row.ratio.low:.2f} to {row.ratio.high:.2f})"
    times = f"{_time(row.ours.median):>11}{_time(row.peer.median):>11}"
    parts = ", ".join(f"{name} {share:.0%}" for name, share in row.parts.items())
    speed = row.tokens / row.ours.median * 1e3
    return f"{begin}{times}   {ratio:20}{speed:9,.0f}{row.gflops / peak:6.0%}   {parts}"


def _time(ms: float) -> str:
    return f"{ms:.2f} ms" if ms >= 0.1 else f"{1e3 * ms:.2f} µs"


def _silent(_: str) -> None:
    pass
