"""Several trainings of one configuration, by folds of the data or by seeds."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfloop.language import Cell
from selfloop.tasks.loading import kind_of, load
from selfloop.tasks.predictor import TrainedModel
from selfloop.tasks.table import PARTS
from selfloop.training import Run


@dataclass(frozen=True, repr=False)
class Trials:
    """Several trainings of one configuration.

    Attributes:
        path: the folder that holds their runs.
        names: of the runs in it: ``fold-1``, or ``seed-1``.
        results: what results.json holds: of each figure of ``valid`` and ``test`` the ``mean``, the ``spread``, which
            is the standard deviation, and ``each``; and ``finished``.
    """

    path: Path
    names: tuple[str, ...]
    results: Mapping[str, object] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether all of them are."""
        return bool(self.results.get("finished"))

    @property
    def runs(self) -> tuple[Path, ...]:
        """The folders of the runs, as `selfloop.load` opens them."""
        return tuple(self.path / name for name in self.names)

    def models(self, *, cell: Cell | str | None = None, encoder: str | None = None) -> Iterator[TrainedModel]:
        """The models, one after the other, as `selfloop.load` opens them."""
        return (load(path, cell=cell, encoder=encoder) for path in self.runs)

    def __repr__(self) -> str:
        """The folder, and mean and spread of each figure."""
        figures, results = kind_of(Run(self.path)).figures, dict[str, Any](self.results)
        parts = (f"{PARTS[part]} {spread(figures, results[part])}" for part in PARTS if part in results)
        return f"<Trials {self.path}, {len(self.names)} runs: {'; '.join(parts) or 'not finished'}>"


def spread(figures: Mapping[str, str], found: Mapping[str, Mapping[str, float]]) -> str:
    """The mean and the spread of each figure, in one line.

    >>> spread({"accuracy": "accuracy {:.1%}"}, {"accuracy": {"mean": 0.8123, "spread": 0.01}})
    'accuracy 81.2% ± 1.0%'
    """

    def one(text: str, figure: Mapping[str, float]) -> str:
        return re.sub(r"{.*?}", lambda m: f"{m[0].format(figure['mean'])} ± {m[0].format(figure['spread'])}", text)

    return "   ".join(one(text, found[name]) for name, text in figures.items() if name in found)
