"""What can be chosen about a labeller."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from selfloop.config import Section
from selfloop.language import Cell
from selfloop.models import ManyToMany
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.options import LossOptions, Pixels, RecurrentOptions, SourceOptions
from selfloop.training import TrainingOptions


class SequenceOptions(SourceOptions):
    """The sequences; without a source, digits that move over a dark field.

    Attributes:
        input: the column of a table that holds the sequence; None finds it.
        label: the column that holds the labels; of words in columns its number, from 1; None finds it.
        fps: frames a second that are read of a video; None reads every one.
        crop: of a frame: top, left, height and width in pixels; None for all of it.
        size: height and width that frames are brought to; None leaves arrays, and brings the longer side of a video
            to 64 pixels.
        grey: whether frames are read without colour.
        ignore: the label of steps that are neither learnt nor judged.
        skip_bad: whether what cannot be used is left out.
    """

    input: str | None = None
    label: str | None = None
    fps: float | None = Field(default=None, gt=0)
    crop: tuple[NonNegativeInt, NonNegativeInt, PositiveInt, PositiveInt] | None = None
    size: tuple[Annotated[Pixels, Field(ge=8)], Annotated[Pixels, Field(ge=8)]] | None = None
    grey: bool = True
    ignore: str | None = None
    skip_bad: bool = False


class ModelOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.ManyToMany`.

    Attributes:
        embedding_size: features of a word's or a frame's vector.
    """

    embedding_size: int = Field(default=128, gt=0)
    bidirectional: bool = True
    input_dropout: float = Field(default=0.3, ge=0, lt=1)
    output_dropout: float = Field(default=0.3, ge=0, lt=1)

    def build(self, inputs: Inputs, cell: Cell) -> ManyToMany:
        """The model, with fresh weights."""
        options = self.model_dump(exclude={"cell", "embedding_size"})
        return ManyToMany(inputs.encoder(self.embedding_size), cell, len(inputs.classes), **options)


class LabelConfig(Section):
    """All that is chosen about a run of ``selfloop train label``."""

    data: SequenceOptions = SequenceOptions()
    model: ModelOptions = ModelOptions()
    loss: LossOptions = LossOptions()
    training: TrainingOptions = TrainingOptions()
