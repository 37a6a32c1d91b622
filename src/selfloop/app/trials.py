"""Several trainings of one configuration: by folds of the data, or by seeds."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from selfloop.app import training
from selfloop.app.predictions import read_table, save_table
from selfloop.app.scoring import is_scored, save_results
from selfloop.app.screen import Screen
from selfloop.errors import ConfigError, RunError
from selfloop.language import Cell
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.loading import kind_of, open_run_of
from selfloop.tasks.results import figures_of, read_results
from selfloop.tasks.run_config import read_config
from selfloop.tasks.table import PARTS
from selfloop.tasks.trials import Trials
from selfloop.training import Run, read_progress
from selfloop.training.checkpoint import writing
from selfloop.training.loop import rank
from selfloop.untrusted import exists

Variants = Mapping[str, Any]
"""The configurations of several trainings, by the names of their folders."""


def variants(chosen: Any) -> Variants:
    """The trainings that a configuration asks for; none where it asks for one.

    Raises:
        ConfigError: it asks for folds and for seeds.
    """
    data, options = chosen.data, chosen.training
    folds = getattr(data, "folds", None) if getattr(data, "fold", None) is None else None
    if folds and options.seeds:
        raise ConfigError("A run is trained by --folds or by --seeds: give one of them.")
    if folds:
        return {
            f"fold-{number}": chosen.model_copy(update={"data": data.model_copy(update={"fold": number})})
            for number in range(1, folds + 1)
        }
    same_split = {"split_seed": options.seed} if getattr(data, "split_seed", 0) is None else {}
    return {
        f"seed-{seed}": chosen.model_copy(
            update={
                "data": data.model_copy(update=same_split),
                "training": options.model_copy(update={"seed": seed, "seeds": None}),
            }
        )
        for seed in range(options.seed, options.seed + (options.seeds or 0))
    }


def begin(
    task: str, chosen: Any, path: Path | None, screen: Screen, *, cell: Cell | None = None, device: str | None = None
) -> Trials:
    """Train all that a configuration asks for, in runs within one folder."""
    return _train(task, chosen, path, None, screen, cell, device)


def begin_or_go_on(
    task: str, chosen: Any, path: Path, screen: Screen, *, cell: Cell | None = None, device: str | None = None
) -> Trials:
    """Go on with the trainings of a folder, where there are any; those that are finished are left as they are.

    Raises:
        RunError: the folder holds another run, or one with other settings or data.
    """
    if not exists(path):
        return begin(task, chosen, path, screen, cell=cell, device=device)
    run = open_run_of(task, path)
    training.check_same(run, chosen, read_config(run, kind_of(run).config))
    own, encoder = training.own_code(chosen, cell)
    results = read_results(run)
    if not results.get("finished"):
        return go_on(run, screen, {}, cell=own, encoder=encoder, device=device, given=chosen)
    wanted = variants(chosen)
    first = next((one for name in wanted if (one := Run(run.path / name)).has_checkpoint), None)
    if first is not None:
        training.go_on(first, screen, {}, cell=own, encoder=encoder, device=device, given=wanted[first.path.name])
    return Trials(run.path, tuple(wanted), results)


def go_on(
    run: Run,
    screen: Screen,
    more: Mapping[str, float],
    *,
    cell: Cell | str | None = None,
    encoder: str | None = None,
    device: str | None = None,
    given: Any = None,
) -> Trials:
    """Go on with several trainings: with the one that was stopped, and then with those that were not begun.

    With `given`, the configuration of a command that would begin them, their data are where that says.

    Raises:
        RunError: all are finished, or they are to be trained longer; or their data have changed.
    """
    chosen: Any = read_config(run, kind_of(run).config)
    names = [*variants(chosen)]
    if more:
        raise RunError(
            f"{run.path} holds {len(names)} trainings: train one of them longer, such as {run.path / names[0]}."
        )
    if read_results(run).get("finished"):
        raise RunError(f"{run.path} is finished: all its {len(names)} trainings are. Start a new run.")
    chosen = training.with_own_code(run, chosen if given is None else given, cell, encoder)
    with run.locked():
        own = choose_cell(cell) if isinstance(cell, str) else cell
        return _train(str(run.config()["task"]), chosen, run.path, run, screen, own, device, encoder)


def _train(
    task: str,
    chosen: Any,
    path: Path | None,
    parent: Run | None,
    screen: Screen,
    cell: Cell | None,
    device: str | None,
    encoder: str | None = None,
) -> Trials:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "--folds and --seeds train one after the other in one process. Got several: leave torchrun out, or train a "
            "fold in each, with --fold."
        )
    wanted, results, checked = variants(chosen), list[dict[str, Any]](), False
    with ExitStack() as locks:

        def place(name: str, data: str) -> Path:
            """Where a run goes; the folder that holds them is made when the first data are read."""
            nonlocal parent
            if parent is None:
                parent = Run.create(path or training.free_path(data), task, chosen.model_dump(exclude_unset=True))
                locks.enter_context(parent.locked())
            return parent.path / name

        for name, own in wanted.items():
            screen.begin_trial(name, len(wanted))
            begun = None if parent is None else _begun(parent.path / name, task)
            if begun is None:
                where = partial(place, name)
                outcome = training.begin(task, own, None, screen, cell=cell, device=device, place=where)
            elif not begun.has_checkpoint or (checked and is_scored(begun, read_progress(begun))):
                outcome = training.Outcome(begun, read_results(begun), finished=True)
            else:  # the first one also where it is finished, since the others must be of the same data
                outcome = training.go_on(begun, screen, {}, cell=cell, encoder=encoder, device=device, given=own)
                checked = True
            assert outcome.result is not None
            results.append(outcome.result)
            if not outcome.finished:
                break
        assert parent is not None
        return _conclude(parent, [*wanted], results, screen)


def _begun(path: Path, task: str) -> Run | None:
    """A run to go on with, or that is finished; of one that was stopped before its first checkpoint nothing is left.

    Raises:
        RunError: there is something else.
    """
    if not exists(path):
        return None
    run = Run(path)
    if run.has_checkpoint or exists(run.results):
        return Run.open(path)
    if not run.can_begin(task):
        raise RunError(f"{path} has no checkpoint, and is not overwritten. Move it away, or restore its folder resume.")
    shutil.rmtree(path)
    return None


def _conclude(parent: Run, names: Sequence[str], results: Sequence[Mapping[str, Any]], screen: Screen) -> Trials:
    """The mean and the spread, where all are finished."""
    finished = len(results) == len(names) and all(result["finished"] for result in results)
    facts: dict[str, Any] = {"run": str(parent.path), "finished": finished, "runs": [*names[: len(results)]]}
    by_folds = names[0].startswith("fold")
    facts["folds" if by_folds else "seeds"] = len(names)
    if not finished:
        screen.stopped_trials(parent)
        return Trials(parent.path, tuple(facts["runs"]), facts)
    facts["seconds"] = round(sum(result["seconds"] for result in results), 1)
    facts |= {part: found for part in PARTS if (found := _spread([figures_of(result, part) for result in results]))}
    facts["best_by"] = results[0]["best_by"]
    if not by_folds:  # which are scored on different data
        ranks = {
            n: rank(figures_of(result, "valid"), facts["best_by"]) for n, result in zip(names, results, strict=True)
        }
        facts["best_run"] = max(ranks, key=ranks.__getitem__)
    tables = _pool(parent, names) if by_folds else []
    save_results(parent, facts)
    screen.conclude_trials(facts, tables)
    return Trials(parent.path, tuple(names), facts)


def _spread(scores: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """The mean and the standard deviation of each figure that all have.

    >>> _spread([{"loss": 1.0, "accuracy": 0.5}, {"loss": 3.0, "accuracy": 0.5}])["loss"]
    {'mean': 2.0, 'spread': 1.4142135623730951, 'each': [1.0, 3.0]}
    """
    found = {}
    for name in scores[0]:
        each = [score[name] for score in scores if name in score]
        if len(each) == len(scores):
            found[name] = {"mean": fmean(each), "spread": stdev(each), "each": each}
    return found


def _pool(parent: Run, names: Sequence[str]) -> list[str]:
    """One table of what each fold's model said of the examples that it was not trained on, where there are such."""
    tables = [parent.path / fold / "valid_predictions.csv" for fold in names]
    if not all(map(exists, tables)):
        return []
    path = parent.path / tables[0].name
    with writing(path):
        save_table(path, ({"fold": n, **row} for n, table in enumerate(tables, 1) for row in read_table(table)))
    return [path.name]
