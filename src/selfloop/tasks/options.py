"""What can be chosen about any task's data, recurrence and loss."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from selfloop.cells import ZOO
from selfloop.config import Section

Pixels = Annotated[int, Field(gt=0, le=4096)]
"""The height or the width that images are brought to."""

Beam = Annotated[int, Field(gt=0, le=1000)]
"""Hypotheses that beam search keeps."""


class SourceOptions(Section):
    """Where the data are.

    Attributes:
        source: a file, a folder, or a name on the hub; None for the task's embedded default.
        valid: the validation data; None holds out some of the source.
        test: the test data.
        encoding: of the files.
        valid_fraction: the share of the source that is held out.
    """

    PATHS: ClassVar[tuple[str, ...]] = ("source", "valid", "test")

    source: str | None = None
    valid: str | None = None
    test: str | None = None
    encoding: str = "utf-8"
    valid_fraction: float = Field(default=0.1, gt=0, lt=1)


class RecurrentOptions(Section):
    """The recurrent stack; each field is an argument of `selfloop.Recurrent`.

    Attributes:
        cell: a name of the zoo, or ``FILE.py:NAME``.
        sizes: a number for each further size that the cell names, as ``model.sizes.p=128``.
    """

    cell: str = "lstm"
    sizes: dict[str, int] = Field(default_factory=dict)
    hidden_size: int = Field(default=128, gt=0)
    num_layers: int = Field(default=1, gt=0)
    input_dropout: float = Field(default=0.0, ge=0, lt=1)
    hidden_dropout: float = Field(default=0.0, ge=0, lt=1)
    output_dropout: float = Field(default=0.0, ge=0, lt=1)
    backend: str = "auto"

    @property
    def is_own_cell(self) -> bool:
        """Whether the cell is the user's, and not of the zoo."""
        return self.cell not in ZOO


class LossOptions(Section):
    """What is made small.

    Attributes:
        class_weights: ``balanced`` weighs each class by 1 / its share of the truth.
        label_smoothing: the share of the truth that is given to all classes alike (Szegedy et al. 2016).
    """

    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
