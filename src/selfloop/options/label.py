"""What can be chosen about a labeller."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from selfloop.config import Section
from selfloop.options.sections import (
    ClassLossOptions,
    ColumnName,
    ExampleSourceOptions,
    Pixels,
    RecurrentOptions,
    Share,
    SoundOptions,
)
from selfloop.options.training import TrainingOptions

FramePixels = Annotated[Pixels, Field(ge=8)]


class SequenceOptions(ExampleSourceOptions, SoundOptions):
    """The sequences and the labels of their steps."""

    source: str | None = None
    """JSONL with a video, a sound, an array, a series or words a line and a label a step; two columns of words and
    labels (TSV, CoNLL); or a folder of such files; without it, digits that move over a dark field."""
    input: ColumnName | None = None
    """The column of a table with the sequence; without it, it is found by its name."""
    label: ColumnName | None = None
    """The column with the labels; of words in columns its number, from 1; without it, it is found by its name."""
    series: ColumnName | None = None
    """Of a table with a row a step, the column that tells which series a row belongs to."""
    time: ColumnName | None = None
    """Of a table with a row a step, the column that orders the rows of a series: numbers or dates."""
    ignore: ColumnName | None = None
    """The label of steps that are neither learnt nor judged."""
    fps: float | None = Field(default=None, gt=0)
    """Frames a second that are read of a video; without it, every one."""
    crop: tuple[NonNegativeInt, NonNegativeInt, PositiveInt, PositiveInt] | None = None
    """Of a frame: top, left, height and width in pixels, as [80,60,48,80]; without it, all of it."""
    size: tuple[FramePixels, FramePixels] | None = None
    """Height and width that frames are brought to, as [48,64]; without it, arrays are left as they are, and the longer
    side of a video becomes 64 pixels."""
    grey: bool = True
    """Read frames without colour."""


class LabellerOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.ManyToMany`."""

    embedding_size: int = Field(default=128, gt=0)
    """Features of a word's or a frame's vector."""
    bidirectional: bool = True
    """Read from both ends; a model that is to stream cannot."""
    input_dropout: Share = 0.3
    output_dropout: Share = 0.3


class LabelConfig(Section):
    """All that is chosen about a run of ``selfloop train label``."""

    data: SequenceOptions = SequenceOptions()
    model: LabellerOptions = LabellerOptions()
    loss: ClassLossOptions = ClassLossOptions()
    training: TrainingOptions = TrainingOptions()
