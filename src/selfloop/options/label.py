"""What can be chosen about a labeller."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from selfloop.config import Section
from selfloop.options.sections import (
    ClassLossOptions,
    ClassWeights,
    ColumnName,
    Pixels,
    RecurrentOptions,
    Share,
    SoundOptions,
    WordOptions,
)
from selfloop.options.training import ExampleTraining

FramePixels = Annotated[Pixels, Field(ge=8)]


class SequenceOptions(WordOptions, SoundOptions):
    """The sequences and the labels of their steps."""

    FIXED: ClassVar[tuple[str, ...]] = (*WordOptions.FIXED, *SoundOptions.FIXED, "size", "grey")

    source: str | None = None
    """A JSONL file, with a video, a sound, an array, a series or words per line and a label per step; a file with a
    word and its label per line (TSV, CoNLL); or a folder of such files. By default digits that move over a dark
    field."""
    input: ColumnName | None = None
    """The column with the sequence. By default it is recognised by its name."""
    label: ColumnName | None = None
    """The column with the labels; in a file of words and labels its number, from 1. By default it is recognised by its
    name."""
    series: ColumnName | None = None
    """In a table with a row per step, the column that says which series a row belongs to."""
    time: ColumnName | None = None
    """In a table with a row per step, the column that orders the rows of a series: numbers or dates."""
    ignore: ColumnName | None = None
    """The label of steps that are neither trained on nor scored."""
    fps: float | None = Field(default=None, gt=0)
    """Frames per second to read from a video. By default all."""
    crop: tuple[NonNegativeInt, NonNegativeInt, PositiveInt, PositiveInt] | None = None
    """The part of a frame to read: top, left, height and width in pixels, as [80,60,48,80]. By default all of it."""
    size: tuple[FramePixels, FramePixels] | None = None
    """Height and width that frames are resized to, as [48,64]. By default arrays keep their size, and the longer side
    of a video becomes 64 pixels."""
    grey: bool = True
    """Read frames without colour."""


class LabellerOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.ManyToMany`."""

    embedding_size: int = Field(default=128, gt=0)
    """Size of the embedding of a word or a frame. With pretrained vectors it is theirs."""
    bidirectional: bool = True
    """Read each sequence in both directions. A model that labels a stream cannot."""
    input_dropout: Share = 0.3
    output_dropout: Share = 0.3


class LabelLoss(ClassLossOptions):
    """What is made small."""

    class_weights: ClassWeights | None = None  # type: ignore[assignment]
    """balanced weighs each label by the inverse of its frequency, sqrt by the square root of that. By default sqrt
    where labels mark spans (B-city, I-city, O), which are few among many O, else none."""


class LabelTraining(ExampleTraining):
    """How a labeller is trained."""

    average: bool = True
    best: Literal["loss", "accuracy", "macro_f1", "edit", "f1_at_50", "span_f1"] | None = None
    """The figure of the validation data that chooses the best weights; without it span_f1 where labels mark spans
    (B-city, I-city, O), else accuracy. Of equal ones, the lower loss is better."""


class LabelConfig(Section):
    """All that is chosen about a run of ``selfloop train label``."""

    data: SequenceOptions = SequenceOptions()
    model: LabellerOptions = LabellerOptions()
    loss: LabelLoss = LabelLoss()
    training: LabelTraining = LabelTraining()
