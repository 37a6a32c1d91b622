"""What a model says of one example, as JSON, as rows of a table, and beside what is true."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Mistake(NamedTuple):
    """A class that was predicted and is wrong.

    Attributes:
        probability: of what was predicted, from 0 to 1.
        predicted, true: the classes.
        place: where the example stands.
        shown: the example, or the words around the step; empty where it is no text.
    """

    probability: float
    predicted: str
    true: str
    place: str
    shown: str


@dataclass(frozen=True)
class Answer(ABC):
    """What a model says of one example.

    Attributes:
        place: where the example stands; a `selfloop.data.examples.Place` knows its row's id.
    """

    place: str

    @abstractmethod
    def facts(self) -> dict[str, object]:
        """All of it, for JSON."""

    def rows(self) -> list[dict[str, object]]:
        """The rows of a table; most have one."""
        return [self.facts()]

    @abstractmethod
    def line(self) -> str:
        """The answer alone."""

    def judged_rows(self) -> list[dict[str, object]]:
        """The rows of a table, with what is true, where that is known."""
        return self.rows()

    def mistakes(self) -> Iterable[Mistake]:
        """What is wrong of it, where there are classes."""
        return []

    def example(self) -> dict[str, object]:
        """Which example it is of: its place, and the id of its row, where that has one."""
        row_id = getattr(self.place, "id", None)
        return {"input": str(self.place), **({} if row_id is None else {"id": row_id})}
