"""What `train`, `load` and `resume` return, by the name of the task, for type checkers: a line a task in each table."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec, Protocol, cast, overload

if TYPE_CHECKING:
    from selfloop.tasks.caption import Captioner
    from selfloop.tasks.classify import Classifier
    from selfloop.tasks.label import Labeller
    from selfloop.tasks.lm import TextModel
    from selfloop.tasks.predictor import TrainedModel
    from selfloop.tasks.translate import Translator
    from selfloop.tasks.trials import Trials

P = ParamSpec("P")


class ByTask(Protocol[P]):
    """Takes the name of a task first."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # folds and seeds are options that change what is returned
        self, task: str, *sources: str | Path, folds: int, **options: object
    ) -> "Trials": ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, task: str, *sources: str | Path, seeds: int, **options: object
    ) -> "Trials": ...
    @overload
    def __call__(self, task: Literal["lm"], *args: P.args, **kwargs: P.kwargs) -> "TextModel": ...
    @overload
    def __call__(self, task: Literal["classify"], *args: P.args, **kwargs: P.kwargs) -> "Classifier": ...
    @overload
    def __call__(self, task: Literal["label"], *args: P.args, **kwargs: P.kwargs) -> "Labeller": ...
    @overload
    def __call__(self, task: Literal["translate"], *args: P.args, **kwargs: P.kwargs) -> "Translator": ...
    @overload
    def __call__(self, task: Literal["caption"], *args: P.args, **kwargs: P.kwargs) -> "Captioner": ...
    @overload
    def __call__(self, task: str, *args: P.args, **kwargs: P.kwargs) -> "TrainedModel": ...


class ByRun(Protocol[P]):
    """Takes a run first, and the name of its task, which may be left out."""

    @overload
    def __call__(self, run: str | Path, /, task: Literal["lm"], *args: P.args, **kwargs: P.kwargs) -> "TextModel": ...
    @overload
    def __call__(
        self, run: str | Path, /, task: Literal["classify"], *args: P.args, **kwargs: P.kwargs
    ) -> "Classifier": ...
    @overload
    def __call__(self, run: str | Path, /, task: Literal["label"], *args: P.args, **kwargs: P.kwargs) -> "Labeller": ...
    @overload
    def __call__(
        self, run: str | Path, /, task: Literal["translate"], *args: P.args, **kwargs: P.kwargs
    ) -> "Translator": ...
    @overload
    def __call__(
        self, run: str | Path, /, task: Literal["caption"], *args: P.args, **kwargs: P.kwargs
    ) -> "Captioner": ...
    @overload
    def __call__(
        self, run: str | Path, /, task: str | None = None, *args: P.args, **kwargs: P.kwargs
    ) -> "TrainedModel": ...


def by_task(function: "Callable[Concatenate[str, P], TrainedModel | Trials]") -> ByTask[P]:
    """The function, whose return type follows from the task."""
    return cast(ByTask[P], function)


def by_run(function: "Callable[Concatenate[str | Path, str | None, P], TrainedModel | Trials]") -> ByRun[P]:
    """The function, whose return type follows from the task that is asked for."""
    return cast(ByRun[P], function)
