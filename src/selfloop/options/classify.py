"""What can be chosen about a classifier."""

from typing import Literal

from pydantic import Field

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


class ExampleOptions(ExampleSourceOptions, SoundOptions):
    """The examples and their classes."""

    source: str | None = None
    """A table (CSV, TSV, JSONL, Parquet) of texts or series with their class; a folder with a sub-folder a class, or a
    text file a class; .npz, .ts or idx files; or a name on the Hugging Face hub; without it, scikit-learn's digits,
    pixel by pixel."""
    input: ColumnName | None = None
    """The column of a table with the text, the series or a path; without it, it is found by its name."""
    label: ColumnName | None = None
    """The column with the class; without it, it is found by its name."""
    series: ColumnName | None = None
    """Of a table with a row a step, the column that tells which series a row belongs to."""
    time: ColumnName | None = None
    """Of a table with a row a step, the column that orders the rows of a series: numbers or dates."""
    scan: Literal["pixels", "rows", "samples"] = "pixels"
    """What a step is: of an image a pixel, or a row of pixels; of sound 10 ms of it, or with samples one sample."""
    size: tuple[Pixels, Pixels] | None = None
    """Height and width that images are brought to, as [28,28]; without it, they must be alike."""
    tokenizer: Literal["char", "byte", "word", "bpe"] = "char"
    """Of text: characters, bytes, words or byte-pair encoding."""
    vocab_size: int | None = Field(default=None, gt=1)
    """The types of tokens at the most."""


class ClassifierOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.ManyToOne`."""

    embedding_size: int = Field(default=64, gt=0)
    """Features of a token's vector."""
    bidirectional: bool = False
    """Read from both ends."""
    pooling: Literal["last", "mean", "max", "attention"] = "last"
    """What is classified: the last step, the mean or the largest of all steps, or what attention picks."""
    output_dropout: Share = 0.1


class ClassifyConfig(Section):
    """All that is chosen about a run of ``selfloop train classify``."""

    data: ExampleOptions = ExampleOptions()
    model: ClassifierOptions = ClassifierOptions()
    loss: ClassLossOptions = ClassLossOptions()
    training: TrainingOptions = TrainingOptions()
