"""What a run shows while it trains, and at its end. Progress goes to stderr, so that stdout holds results alone."""

import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from selfloop.data.batches import Report
from selfloop.data.examples import without_folder
from selfloop.errors import together
from selfloop.tasks.answer import Mistake
from selfloop.tasks.learner import Learner
from selfloop.tasks.predictor import Predictor
from selfloop.tasks.table import PARTS, TaskEntry
from selfloop.tasks.trials import spread
from selfloop.training import Listener, Run
from selfloop.training import Progress as Reached
from selfloop.training.schedule import Budget

SHOWN = 5
"""Files of a part that are named."""

MISTAKES = 5
"""Mistakes that are shown."""

LONG = 10.0
"""Seconds of scoring that are announced."""


class Screen:
    """Shows a run, in a terminal or a notebook; it is the training loop's listener.

    Args:
        task: its name.
        kind: what it is.
        quiet: show nothing.
        listener: is told too.
    """

    def __init__(self, task: str, kind: TaskEntry, quiet: bool = False, listener: Listener | None = None) -> None:
        self._task, self._kind, self._listener = task, kind, listener
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._progress: Progress | None = None
        self._bar: Any = None
        self.stopped_by = 0  # the number of the signal that asked for it
        self._valid = ""
        self._trial = ""  # which of several trainings this is, of which little is shown
        self._trials = 0
        self._introduced = False

    @contextmanager
    def status(self, what: str) -> Iterator[None]:
        """A spinner while something takes a moment, in a terminal."""
        with self.console.status(what + " …") if self.console.is_interactive else nullcontext():
            yield

    def introduce(self, task: Learner[Any, Any, Any], run: Run, budget: Budget, accelerator: Accelerator) -> None:
        """What is about to happen: the data, the model, the budget, the folder; of several trainings at the first."""
        if self._introduced:
            return
        self._introduced = True
        rnn: Any = task.model.rnn
        processes = f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
        precision = " in bfloat16" if accelerator.mixed_precision == "bf16" else ""
        length = f"{budget.minutes:g} minutes" if budget.minutes else f"{budget.steps:,} updates"
        if self._trial:
            each = f", about {self._trials * budget.minutes:g} in all" if budget.minutes else ""
            length = f"{self._trials} trainings of {length} each{each}"
        passes = "of unknown length" if task.steps_per_epoch is None else f"{task.steps_per_epoch:,} updates"
        parameters = sum(p.numel() for p in task.model.parameters())
        skipped = f"; {len(task.bad.found):,} left out, listed in skipped.jsonl" if task.bad.found else ""
        files: dict[tuple[str, ...], list[str]] = {}
        for part, names in task.origin.files.items():
            train = task.origin.files["train"]
            files.setdefault(train if {*names} <= {*train} else names, []).append(part)
        known = together(f"{count:,} {PARTS[part]}" for part, count in task.origin.repeated.items())
        ways = "2 × " if rnn.bidirectional else ""
        for name, text in (
            ("data", f"{task.name}: {task.summary()}{skipped}"),
            *(("", note) for note in task.bad.notes),
            *((parts[0], _some(names, parts[1:])) for names, parts in files.items()),
            *((("note", f"{known} inputs are in training, too, and their scores say less"),) if known else ()),
            ("model", f"{rnn.cell.name}, {rnn.num_layers} × {ways}{rnn.hidden_size} units, {parameters:,} parameters, "
                      f"by {rnn.runs_as} on {accelerator.device.type}{precision}{processes}"),
            ("budget", f"{length}, then the scoring; one pass through the data is {passes}"),
            ("run", self._whole(run)),
        ):  # fmt: skip
            self.console.print(Text.assemble((f"{name:>7}  ", "dim"), text))

    @contextmanager
    def training(self) -> Iterator[None]:
        """The live line; Ctrl-C and SIGTERM ask the loop to save and stop, a second Ctrl-C stops at once."""
        columns = (
            BarColumn(24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.description}", markup=False),
        )
        in_main = threading.current_thread() is threading.main_thread()  # where alone signals can be handled
        signals = (signal.SIGINT, signal.SIGTERM) if in_main else ()
        before = {number: signal.signal(number, self._interrupt) for number in signals}
        try:
            with Progress(*columns, **_live(self.console)) as self._progress:
                self._bar = self._progress.add_task("starting", total=1.0)
                yield
        finally:
            self._progress = None
            for number, handler in before.items():
                signal.signal(number, handler)

    def reported(self, report: Mapping[str, float]) -> None:
        """Move the live line."""
        if self._listener is not None:
            self._listener.reported(report)
        if self._progress is None:
            return
        spent, elapsed = report["spent"], report["elapsed"]
        left = elapsed * (1 - spent) / spent if spent else 0.0
        self._progress.update(
            self._bar,
            completed=spent,
            description=f"{self._trial}update {report['step']:,}  loss {report['loss']:.3f}{self._valid}  "
            f"{report['targets_per_second']:,.0f} {self._kind.unit}s/s  {_clock(left)} left",
            refresh=self.console.is_jupyter,
        )

    def validated(self, metrics: Mapping[str, float], best: bool) -> None:
        """A line for each validation, which stays."""
        if self._listener is not None:
            self._listener.validated(metrics, best)
        self._valid = f"  validation {metrics['loss']:.3f}"
        if self._trial:
            return
        self.console.print(
            f"update {int(metrics['step']):>8,}   valid {self._kind.show(metrics, most=3)}", style="" if best else "dim"
        )

    def stop(self) -> bool:
        """Whether the user has asked to stop."""
        return bool(self.stopped_by) or (self._listener is not None and self._listener.stop())

    def stopped(self, run: Run, progress: Reached) -> None:
        """The run was stopped before its budget was spent."""
        if self._trial:
            return
        self.console.print(f"Stopped and saved at update {progress.step:,}.")
        self._next([f"selfloop train {self._task} --resume {shlex.quote(str(run.path))}"])

    @contextmanager
    def scoring(self, run: Run) -> Iterator[Callable[[str, Any], Report]]:
        """A bar for each part that is scored: `scoring`."""
        try:
            with scoring(self.console, self._kind, "; Ctrl-C leaves it out") as report:
                yield report
        except KeyboardInterrupt:
            self.console.print("The scores are missing; the model is saved. To score it:")
            self._next([f"selfloop train {self._task} --resume {shlex.quote(self._whole(run))}"])
            raise

    def conclude(
        self,
        best: Predictor[Any, Any, Any, Any],
        result: Mapping[str, Any],
        mistakes: Sequence[Mistake],
        files: Sequence[str],
    ) -> None:
        """The scores, what the model makes, and the next commands."""
        if self.console.quiet:
            return
        units = f"{self._kind.unit}s"
        if self._trial:
            for name, title in PARTS.items():
                if name in result:
                    self.console.print(f"{self._trial}{title:>10}   {self._kind.show(result[name])}")
            return
        by = _words(result["best_by"])
        if result["stopped_early"]:
            self.console.print(
                f"Stopped early: no better {by} since update {result['best_step']:,}; --patience 0 trains on."
            )
        took = f", in {_clock(result['scoring_seconds'])}" if result["scoring_seconds"] >= 1 else ""
        self.console.print(
            f"\nTrained {result['steps']:,} updates in {_clock(result['seconds'])}, "
            f"{result[f'{units}_per_second']:,} {units}/s. "
            f"The best weights, by {by}, are of update {result['best_step']:,}. "
            f"Scored on every {self._kind.unit} once{took}:"
        )
        for name, title in PARTS.items():
            if name in result:
                self.console.print(f"[bold]{title:>10}   {self._kind.show(result[name])}")
        signatures = {
            text
            for name in ("valid", "test")
            for key, text in result.get(name, {}).items()
            if key.endswith("_signature")
        }
        for signature in sorted(signatures):
            self.console.print(f"{'':>10}   {signature}", style="dim")
        if mistakes:
            self.console.print()
            show_mistakes(self.console, mistakes, PARTS["test" if "test" in result else "valid"])
        for title, text in best.sample().items():
            self.console.print(f"\n{title}", style="dim")
            self.console.print(Text(text))
        run = result["run"]
        *first, last = ["the model", "metrics.jsonl", "results.json", "curves.png", *files]
        self.console.print(f"\n{run} holds {', '.join(first)} and {last}.")
        self._next([command.format(run=shlex.quote(run)) for command in self._kind.next])

    def begin_trial(self, name: str, count: int) -> None:
        """The next of several trainings."""
        self._trial, self._trials, self._valid = f"{name} of {count}  ", count, ""

    def stopped_trials(self, run: Run) -> None:
        """One of several trainings was stopped before its budget was spent."""
        self.console.print(f"Stopped and saved in {self._trial.strip()}.")
        self._next([f"selfloop train {self._task} --resume {shlex.quote(str(run.path))}"])

    def conclude_trials(self, result: Mapping[str, Any], files: Sequence[str]) -> None:
        """The mean of several trainings, and how far they differ."""
        self.console.print(f"\nThe mean of {self._trials}, ± their standard deviation:")
        for name, title in PARTS.items():
            if name in result:
                self.console.print(f"[bold]{title:>10}   {spread(self._kind.figures, result[name])}")
        runs = result["runs"]
        *first, last = [f"the runs {runs[0]} to {runs[-1]}", "results.json", *files]
        self.console.print(f"\n{result['run']} holds {', '.join(first)} and {last}.")
        if "folds" in result:
            self.console.print("A model of all examples is trained by the same command without --folds.")
            return
        best = result["best_run"]
        self.console.print(f"The best of them, by {_words(result['best_by'])} on the validation data, is {best}.")
        run = shlex.quote(f"{result['run']}/{best}")
        self._next([command.format(run=run) for command in self._kind.next])

    def _whole(self, run: Run) -> str:
        """The folder of a run, or of the several that it is one of."""
        return str(run.path.parent if self._trial else run.path)

    def _next(self, commands: list[str]) -> None:
        for number, command in enumerate(commands):
            self.console.print(Text.assemble(("next: " if number == 0 else "      ", "dim"), (command, "bold")))

    def _interrupt(self, number: int, _: object) -> None:
        if self.stopped_by and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stopped_by = self.stopped_by or number


@contextmanager
def scoring(console: Console, kind: TaskEntry, advice: str = "") -> Iterator[Callable[[str, Any], Report]]:
    """A bar for each part that is scored, by its name and its data; how long it takes is said where it takes long, with
    advice.
    """
    columns = (BarColumn(24), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}", markup=False),
               TimeRemainingColumn(compact=True))  # fmt: skip
    with Progress(*columns, **_live(console)) as progress:

        def report_of(name: str, part: Any) -> Report:
            count = f"{len(part):,} " if isinstance(part, Sized) else ""
            what = f"coring {count}{PARTS.get(name, name)} {'examples' if count else f'{kind.unit}s'}"
            bar, began, announced = progress.add_task(f"s{what}", total=1.0), time.perf_counter(), False

            def report(share: float) -> None:
                nonlocal announced
                progress.update(bar, completed=share, refresh=console.is_jupyter)
                elapsed = time.perf_counter() - began
                if not announced and elapsed > LONG / 5:
                    announced = True
                    if elapsed / share > LONG:
                        console.print(f"S{what} takes about {_clock(elapsed / share)}{advice}.", style="dim")

            return report

        yield report_of


def _words(figure: str) -> str:
    """The name of a figure in a sentence."""
    return figure.replace("_", " ")


def _moves(console: Console) -> bool:
    """Whether a line can change after it is written: in a terminal, and in notebooks that have widgets."""
    widgets = console.is_jupyter and find_spec("ipywidgets") is not None
    return (console.is_interactive or widgets) and not console.quiet


def _live(console: Console) -> dict[str, Any]:
    """How a bar is shown: only where it can move, and gone at its end.

    In a notebook it moves with the reports: a thread that moved it would swallow what is printed meanwhile.
    """
    return {
        "console": console, "transient": True, "disable": not _moves(console), "auto_refresh": not console.is_jupyter,
    }  # fmt: skip


def show_mistakes(console: Console, mistakes: Sequence[Mistake], part: str) -> None:
    """The most confident of the mistakes, a line each."""
    first = ", the most confident first" if len(mistakes) > 1 else ""
    console.print(f"{len(mistakes):,} mistake{'s' * bool(first)} on the {part} data{first}:", style="dim")
    for one in mistakes[:MISTAKES]:
        line = Text.assemble(
            f"{one.probability:>6.1%}  ",
            (one.predicted, "bold"),
            f", truly {one.true}",
            (f"  {without_folder(one.place)}", "dim"),
            f"  {' '.join(one.shown.split())}",
        )
        line.truncate(console.width, overflow="ellipsis")
        console.print(line)


def _some(names: Sequence[str], parts: Sequence[str]) -> str:
    """A few files, how many there are, and the parts that are of them too."""
    more = f", … ({len(names):,} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more + (f" (also {together(parts)})" if parts else "")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
