"""The pictures of a score, in the run's folder."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selfloop.tasks.task import Score
    from selfloop.training import Run


def draw_score(run: "Run", score: "Score") -> list[str]:
    """Draw what a score has to show; the names of the files that were made."""
    confusion = getattr(score, "confusion", None)
    if confusion is None:
        return []
    from selfloop.inspect import draw_confusion

    draw_confusion(confusion, run.path / "confusion.png")
    return ["confusion.png"]
