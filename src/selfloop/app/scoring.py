"""What is kept and shown of a run at its end: scores, predictions and pictures."""

import json
import time
from collections.abc import Mapping
from typing import Any

from selfloop.app.pictures import draw_score
from selfloop.app.predictions import save_table
from selfloop.app.screen import Screen
from selfloop.tasks.learner import Learner
from selfloop.tasks.results import read_results
from selfloop.tasks.table import TaskEntry
from selfloop.training import Progress, Run
from selfloop.training.checkpoint import write_bytes, writing
from selfloop.training.curves import draw_curves
from selfloop.world import ALONE, World


def conclude(
    entry: TaskEntry, learner: Learner[Any, Any, Any], run: Run, progress: Progress, screen: Screen
) -> dict[str, Any]:
    """Score with the best weights, keep what was predicted, draw the pictures, and say what comes next.

    All processes score; the first one reads the weights, and writes.
    """
    world = World.here()
    result: dict[str, Any] = {
        "run": str(run.path),
        "finished": progress.finished,
        "steps": progress.step,
        "seconds": round(progress.elapsed, 1),
        f"{entry.unit}s_per_second": round(progress.targets / progress.elapsed) if progress.elapsed else 0,
        "best_step": progress.best_step,
        "best_by": learner.best_by,
        "stopped_early": progress.finished and progress.validations < learner.config.training.validations,
        "parameters": sum(p.numel() for p in learner.model.parameters()),
        **({"notes": learner.bad.notes} if learner.bad.notes else {}),
    }
    result |= {name: dict(value) for name, value in vars(learner.origin).items() if value}
    if world.is_first:
        draw_curves(run, f"{entry.loss} per {entry.unit}", progress.best_step)
    if not progress.finished:
        screen.stopped(run, progress)
        return result
    if world.is_first:
        run.load_model(learner.model)
    world.copy_from_first([*learner.model.parameters(), *learner.model.buffers()])
    best, began = learner.opened(), time.perf_counter()
    with screen.scoring(run) as scoring:
        scores = best.scores(learner.parts(), report=scoring)
    if not world.is_first:
        return result
    best.world = ALONE  # the others have done their part
    result["scoring_seconds"] = round(time.perf_counter() - began, 1)
    result |= {name: {**score.metrics(), **score.signatures} for name, score in scores.items()}
    tables = []
    for name, score in scores.items():
        if score.predictions:
            tables.append(f"{name}_predictions.csv")
            with writing(run.path / tables[-1]):
                save_table(run.path / tables[-1], score.judged_rows())
    last = [*scores.values()][-1]
    pictures = draw_score(run, last, entry.unit)
    save_results(run, {**result, "data": dict(learner.facts())})
    screen.conclude(best, result, last.mistakes(), [*tables, *pictures])
    return result


def save_results(run: Run, facts: Mapping[str, Any]) -> None:
    """Keep the scores of a run."""
    write_bytes(run.results, (json.dumps(facts, indent=2) + "\n").encode())


def is_scored(run: Run, progress: Progress) -> bool:
    """Whether the scores of a finished run are there, and of where it is now."""
    return read_results(run).get("steps") == progress.step
