"""The pictures of scores and of predictions."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from selfloop.data.examples import without_folder
from selfloop.inspect import draw_attentions, draw_confusion, draw_contact_sheet, draw_timeline
from selfloop.metrics import Confusion
from selfloop.tasks.score import Attention, ContactSheet, Drawing, Score, Timeline
from selfloop.training import Run

WORDS = 80
"""Words of a text that a timeline shows."""


def draw_score(run: Run, score: Score, unit: str) -> list[str]:
    """Draw what a score has to show, in the run's folder; the names of the files that were made.

    Args:
        run: whose.
        score: what is drawn.
        unit: what it counts: ``step``.
    """
    made = []
    for drawing in score.drawings():
        name, draw = _DRAWN[type(drawing)]
        draw(drawing, run.path / name, unit)
        made.append(name)
    return made


def draw_predictions(drawing: Drawing, path: str) -> None:
    """Draw what was predicted.

    Raises:
        ArgumentError: the picture cannot be written.
    """
    _DRAWN[type(drawing)][1](drawing, Path(path), "prediction")


def _confusion(confusion: Confusion, path: Path, unit: str) -> None:
    draw_confusion(confusion, path, unit=unit)


def _attention(shown: Attention, path: Path, unit: str) -> None:
    draw_attentions(shown.alignments, path)


def _timeline(shown: Timeline, path: Path, unit: str) -> None:
    names, true, predicted, words = _names(shown.places), shown.true, shown.predicted, shown.words
    if words:  # a long text would make a picture that no screen can show
        names = [n if len(w) <= WORDS else f"{n}, first {WORDS} words" for n, w in zip(names, words, strict=True)]
        true, predicted = [row[:WORDS] for row in true], [row[:WORDS] for row in predicted]
        words = [row[:WORDS] for row in words]
    count = Counter(name for labels in (*true, *predicted) for name in labels if name is not None)
    classes = sorted(count, key=lambda name: (-count[name], name))  # the most frequent have the plainest colours
    number: dict[str | None, int] = {None: -1, **{name: index for index, name in enumerate(classes)}}
    draw_timeline(
        names,
        [[number[name] for name in labels] for labels in true],
        [[number[name] for name in labels] for labels in predicted],
        classes,
        path,
        words=words or None,
    )


def _names(places: Sequence[str]) -> list[str]:
    """Where sequences stand, without what they have in common: ``line 17``, ``walk.mp4``, ``series '2012/01/09'``."""
    inner = [place.removesuffix(")").rpartition(" (")[2] for place in places]
    names = [name if name.startswith("series '") else without_folder(name) for name in inner]
    files = {name.rpartition(", ")[0] for name in names}
    return [name.rpartition(", ")[2] for name in names] if len(files) == 1 else names


def _sheet(shown: ContactSheet, path: Path, unit: str) -> None:
    draw_contact_sheet([picture.pixels() for picture in shown.pictures], shown.captions, path, shown.references)


_DRAWN: dict[type, tuple[str, Callable[[Any, Path, str], None]]] = {
    Confusion: ("confusion.png", _confusion),
    Timeline: ("timeline.png", _timeline),
    ContactSheet: ("captions.png", _sheet),
    Attention: ("attention.png", _attention),
}
"""What can be drawn: the name of its picture, and what draws it."""
