"""What can be chosen about a classifier."""

from typing import ClassVar, Literal

from pydantic import Field

from selfloop.config import Section
from selfloop.options.sections import (
    ClassLossOptions,
    ColumnName,
    Pixels,
    RecurrentOptions,
    Share,
    SoundOptions,
    WordOptions,
)
from selfloop.options.training import ExampleTraining


class ExampleOptions(WordOptions, SoundOptions):
    """The examples and their classes."""

    FIXED: ClassVar[tuple[str, ...]] = (
        *WordOptions.FIXED, *SoundOptions.FIXED, "scan", "size", "tokenizer", "vocab_size",
    )  # fmt: skip

    source: str | None = None
    """A table (CSV, TSV, JSONL, Parquet) of texts or series with their classes; a folder with a sub-folder per class,
    or a text file per class; a .npz, .ts or idx file; or a data set on the Hugging Face hub. By default scikit-learn's
    digits, pixel by pixel."""
    input: ColumnName | None = None
    """The column with the text, the series or the path. By default it is recognised by its name."""
    label: ColumnName | None = None
    """The column with the class. By default it is recognised by its name."""
    series: ColumnName | None = None
    """In a table with a row per step, the column that says which series a row belongs to."""
    time: ColumnName | None = None
    """In a table with a row per step, the column that orders the rows of a series: numbers or dates."""
    scan: Literal["pixels", "rows", "samples"] = "pixels"
    """What one step reads. Of an image: a pixel, or a row of pixels. Of sound: 10 ms, or with samples a single
    sample."""
    size: tuple[Pixels, Pixels] | None = None
    """Height and width that images are resized to, as [28,28]. By default all must have one size."""
    tokenizer: Literal["char", "byte", "word", "bpe"] | None = None
    """Of text: characters, bytes, words with punctuation split off, or byte-pair encoding. By default words for
    sentences, and characters for names and other texts most of whose words occur once."""
    vocab_size: int | None = Field(default=None, gt=1)
    """The largest number of different tokens."""


class ClassifierOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.ManyToOne`."""

    embedding_size: int = Field(default=64, gt=0)
    """Size of a token's embedding. With pretrained vectors it is theirs."""
    bidirectional: bool = False
    """Read each sequence in both directions."""
    pooling: Literal["last", "mean", "max", "attention"] | None = None
    """What is classified: the last step, the mean or the largest of all steps, or what attention picks. By default the
    mean of words, and else the last step."""
    input_dropout: Share | None = None  # type: ignore[assignment]
    """Dropout on the input of the first layer. By default 0.5 of words, and else 0."""
    output_dropout: Share | None = None  # type: ignore[assignment]
    """Dropout on the output of the last layer. By default 0.5 of words, and else 0.1."""


class ClassifyTraining(ExampleTraining):
    """How a classifier is trained."""

    best: Literal["loss", "accuracy", "macro_f1"] = "accuracy"
    """The metric of the validation data that chooses the best weights. At equal scores, the lower loss is better."""


class ClassifyConfig(Section):
    """All that is chosen about a run of ``selfloop train classify``."""

    data: ExampleOptions = ExampleOptions()
    model: ClassifierOptions = ClassifierOptions()
    loss: ClassLossOptions = ClassLossOptions()
    training: ClassifyTraining = ClassifyTraining()
