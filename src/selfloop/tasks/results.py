"""The scores that a run has kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from selfloop.errors import RunError
from selfloop.training import Run
from selfloop.untrusted import parse_json, read_text

LARGEST = 64 << 20
"""Bytes of results.json, which names all files of the data."""

SHOWN = 8
"""Classes that are named."""


def read_results(run: Run) -> dict[str, Any]:
    """What results.json holds: nothing where the run is not finished, is of an older version, or the file is damaged,
    since no more depends on it than what is shown.
    """
    try:
        found = parse_json(read_text(run.results, LARGEST))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def figures_of(results: Mapping[str, Any], part: str) -> dict[str, float]:
    """The figures of a part, by name."""
    found = results.get(part)
    return {k: v for k, v in found.items() if isinstance(v, int | float)} if isinstance(found, dict) else {}


def check_one(run: Run) -> None:
    """Raises a RunError where a folder holds several trainings, each in a folder of its own."""
    if holds_several(run):
        runs = sorted(path.parent for path in run.path.glob("*/config.json"))
        such = f", such as {runs[0]}" if runs else ""
        raise RunError(f"{run.path} holds several trainings, and no model of its own: give one of them{such}.")


def holds_several(run: Run) -> bool:
    """Whether a run was asked for folds or for seeds."""
    config = run.config()
    data, training = (section if isinstance(section, dict) else {} for section in map(config.get, ("data", "training")))
    return bool((data.get("folds") and not data.get("fold")) or training.get("seeds"))


def some(names: Sequence[str], what: str) -> str:
    """How many there are, and the first of them.

    >>> some(("a", "b"), "classes")
    '2 classes (a, b)'
    """
    more = ", …" if len(names) > SHOWN else ""
    return f"{len(names):,} {what} ({', '.join(names[:SHOWN])}{more})"
