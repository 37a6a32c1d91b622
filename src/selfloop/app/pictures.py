"""The pictures of scores and of predictions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from selfloop.errors import ArgumentError
from selfloop.inspect import draw_attention, draw_confusion, draw_contact_sheet, draw_timeline
from selfloop.metrics import Confusion
from selfloop.tasks.score import Alignment, ContactSheet, Drawing, Score, Timeline
from selfloop.training import Run


def draw_score(run: Run, score: Score) -> list[str]:
    """Draw what a score has to show, in the run's folder; the names of the files that were made."""
    made = []
    for drawing in score.drawings():
        name, draw = _DRAWN[type(drawing)]
        draw(drawing, run.path / name)
        made.append(name)
    return made


def draw_predictions(drawing: Drawing | None, path: str) -> None:
    """Draw what was predicted.

    Raises:
        ArgumentError: there is no picture of such predictions, or it cannot be written.
    """
    if drawing is None:
        raise ArgumentError(
            "A --picture is made of labels along a sequence, or of captions. These predictions have none: leave it out."
        )
    _DRAWN[type(drawing)][1](drawing, Path(path))


def _attention(alignment: Alignment, path: Path) -> None:
    draw_attention(*alignment, path)


def _timeline(shown: Timeline, path: Path) -> None:
    classes = sorted({name for labels in (*shown.true, *shown.predicted) for name in labels if name is not None})
    number: dict[str | None, int] = {None: -1, **{name: index for index, name in enumerate(classes)}}
    names = [Path(place.removesuffix(")").rpartition(" (")[2]).name for place in shown.places]
    draw_timeline(
        names,
        [[number[name] for name in labels] for labels in shown.true],
        [[number[name] for name in labels] for labels in shown.predicted],
        classes,
        path,
    )


def _sheet(shown: ContactSheet, path: Path) -> None:
    draw_contact_sheet([picture.pixels() for picture in shown.pictures], shown.captions, path, shown.references)


_DRAWN: dict[type, tuple[str, Callable[[Any, Path], object]]] = {
    Confusion: ("confusion.png", draw_confusion),
    Timeline: ("timeline.png", _timeline),
    ContactSheet: ("captions.png", _sheet),
    Alignment: ("attention.png", _attention),
}
"""What can be drawn: the name of its picture, and what draws it."""
