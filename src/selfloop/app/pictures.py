"""The pictures of scores and of predictions."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from selfloop.errors import ArgumentError
from selfloop.inspect import draw_attention, draw_confusion, draw_contact_sheet, draw_timeline
from selfloop.tasks.task import Score
from selfloop.training import Run

SHOWN = 6
"""Sequences of a picture that shows them one below the other."""


def draw_score(run: Run, score: Score) -> list[str]:
    """Draw what a score has to show, in the run's folder; the names of the files that were made."""
    made = []
    for name, needs, draw in _OF_SCORES:
        if getattr(score, needs, None) is not None:
            draw(score, run.path / name)
            made.append(name)
    return made


def draw_predictions(found: Sequence[Any], path: str) -> None:
    """Draw what was predicted.

    Raises:
        ArgumentError: there is no picture of such predictions, or it cannot be written.
    """
    for needs, draw in _OF_PREDICTIONS:
        if found and hasattr(found[0], needs):
            draw(found, Path(path))
            return
    raise ArgumentError(
        "A --picture is made of labels along a sequence, or of captions. These predictions have none: leave it out."
    )


def _confusion(score: Any, path: Path) -> None:
    draw_confusion(score.confusion, path)


def _attention(score: Any, path: Path) -> None:
    weights, source_tokens, target_tokens = score.alignment
    draw_attention(weights, source_tokens, target_tokens, path)


def _timeline_of_score(score: Any, path: Path) -> None:
    _timeline(path, score.places[:SHOWN], score.true[:SHOWN], score.predicted[:SHOWN])


def _timeline_of_predictions(found: Sequence[Any], path: Path) -> None:
    found = found[: 2 * SHOWN]
    truth = [one.truth or [None] * len(one.labels) for one in found]
    _timeline(path, [one.place for one in found], truth, [one.labels for one in found])


def _timeline(
    path: Path, places: Sequence[str], true: Sequence[Sequence[str | None]], predicted: Sequence[Sequence[str]]
) -> None:
    classes = sorted({name for labels in (*true, *predicted) for name in labels if name is not None})
    number: dict[str | None, int] = {None: -1, **{name: index for index, name in enumerate(classes)}}
    names = [Path(place.removesuffix(")").rpartition(" (")[2]).name for place in places]
    draw_timeline(
        names,
        [[number[name] for name in labels] for labels in true],
        [[number[name] for name in labels] for labels in predicted],
        classes,
        path,
    )


def _sheet_of_score(score: Any, path: Path) -> None:
    count = len(score.shown)
    _sheet(path, score.shown, score.predicted[:count], score.references[:count])


def _sheet_of_predictions(found: Sequence[Any], path: Path) -> None:
    found = found[: 5 * SHOWN]
    _sheet(path, [one.picture for one in found], [one.caption for one in found], None)


def _sheet(path: Path, pictures: Sequence[Any], captions: Sequence[str], references: Any) -> None:
    draw_contact_sheet([picture.pixels() for picture in pictures], captions, path, references)


_OF_SCORES: tuple[tuple[str, str, Callable[[Any, Path], None]], ...] = (
    ("confusion.png", "confusion", _confusion),
    ("timeline.png", "true", _timeline_of_score),
    ("captions.png", "shown", _sheet_of_score),
    ("attention.png", "alignment", _attention),
)
"""A picture's name, the attribute of a score that it shows, and what draws it."""

_OF_PREDICTIONS: tuple[tuple[str, Callable[[Sequence[Any], Path], None]], ...] = (
    ("labels", _timeline_of_predictions),
    ("picture", _sheet_of_predictions),
)
"""The attribute of a prediction that a picture shows, and what draws it."""
