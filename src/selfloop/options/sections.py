"""What can be chosen about any task's data, recurrence and loss."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from selfloop.cells import ZOO
from selfloop.config import Section

Pixels = Annotated[int, Field(gt=0, le=4096)]
"""The height or the width that images are brought to."""

Beam = Annotated[int, Field(gt=0, le=1000)]
"""Hypotheses that beam search keeps."""

ColumnName = Annotated[str, Field(coerce_numbers_to_str=True)]
"""A column of a table; of one without names its number, from 1."""

Share = Annotated[float, Field(ge=0, lt=1)]

ClassWeights = Literal["none", "sqrt", "balanced"]


class SourceOptions(Section):
    """Where the data are."""

    PATHS: ClassVar[tuple[str, ...]] = ("source", "valid", "test")

    source: str | None = None
    """A file, a folder, or a data set on the Hugging Face hub. By default, data that ship with the task."""
    valid: str | None = None
    """Validation data, by which the best weights are chosen. By default a part of the source is held out."""
    test: str | None = None
    """Test data, scored at the end."""
    encoding: str = "utf-8"
    """The encoding of text files."""
    header: bool | None = None
    """Whether line 1 of a CSV or TSV file names the columns. With --no-header they are called 1, 2, 3. By default line
    1 is taken as names, and refused if it looks like data."""
    quotes: bool | None = None
    """Whether cells of CSV and TSV may be in quotes. By default they may in CSV, and not in TSV."""
    valid_fraction: float = Field(default=0.1, gt=0, lt=1)
    """The fraction of the source that is held out for validation, if no validation data are given."""


class ExampleSourceOptions(SourceOptions):
    """Where examples are."""

    split_seed: int | None = Field(default=None, ge=0, lt=2**63)
    """The random seed that chooses which examples are held out. By default --seed."""
    folds: int | None = Field(default=None, ge=2, le=1000)
    """Cross-validation: divide training and validation examples into this many folds, and train once for each, with the
    whole budget, validating on it."""
    fold: int | None = Field(default=None, ge=1)
    """Train for this one of the --folds only, counted from 1, for example on one of several machines."""
    id: ColumnName | None = None
    """The column with the ids of the rows, which are kept with their predictions. By default one called id."""
    skip_bad: bool = False
    """Leave out examples that cannot be used, count them, and list them in the run's skipped.jsonl."""

    @model_validator(mode="after")
    def _columns_differ(self) -> "ExampleSourceOptions":
        for one, other in (("input", "label"), ("source_column", "target_column"), ("image", "caption")):
            column = getattr(self, one, None)
            if column is not None and column == getattr(self, other, None):
                flags = " and ".join(f"--{name.replace('_', '-')}" for name in (one, other))
                raise ValueError(f"{flags} name the same column, '{column}'; name two")
        return self

    @model_validator(mode="after")
    def _folds_agree(self) -> "ExampleSourceOptions":
        if self.folds is not None and self.valid is not None:
            raise ValueError(
                "--folds validates on each fold of the data in turn, and --valid names other data; keep one of them"
            )
        if self.fold is not None and self.fold > (self.folds or 0):
            raise ValueError(f"--fold must be one of the --folds, of which there are {self.folds or 'none'}")
        return self


class WordOptions(ExampleSourceOptions):
    """Where examples are that may be words."""

    PATHS: ClassVar[tuple[str, ...]] = (*SourceOptions.PATHS, "vectors")
    FIXED: ClassVar[tuple[str, ...]] = ("vectors",)

    vectors: str | None = None
    """A file of pretrained word vectors to begin with, in the text format of GloVe or fastText (.vec), plain or .gz."""


class SoundOptions(Section):
    """How sound is read."""

    FIXED: ClassVar[tuple[str, ...]] = ("rate", "mels", "stereo")

    rate: int = Field(default=16_000, ge=1_000, le=192_000)
    """The sampling rate that sound is resampled to, in samples per second."""
    mels: int = Field(default=40, gt=0, le=512)
    """Mel features per 10 ms of sound."""
    stereo: bool = False
    """Read two channels of sound. By default they are mixed into one."""


class RecurrentOptions(Section):
    """The recurrent stack; each field is an argument of `selfloop.Recurrent`."""

    cell: str = "lstm"
    """A built-in cell, or your own as FILE.py:NAME."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """The sizes that the cell names beyond its input and hidden size, as in --set model.sizes.p=128."""
    hidden_size: int = Field(default=128, gt=0)
    """Units per layer."""
    num_layers: int = Field(default=1, gt=0)
    """Number of stacked layers."""
    input_dropout: Share = 0.0
    """Dropout on the input of the first layer."""
    hidden_dropout: Share = 0.0
    """Dropout between layers."""
    output_dropout: Share = 0.0
    """Dropout on the output of the last layer."""
    backend: str = "auto"
    """What runs the recurrent layers: native (compiled kernels), torch (torch.nn's functions), interpret (torch
    operations, step by step), or auto, the fastest of them that can."""

    @property
    def is_own_cell(self) -> bool:
        """Whether the cell is the user's, and not of the zoo."""
        return self.cell not in ZOO

    @property
    def is_own_encoder(self) -> bool:
        """Whether there is an image encoder, and it is the user's: ``FILE.py:NAME``."""
        return False


class TokenLossOptions(Section):
    """What is made small."""

    label_smoothing: Share = 0.1
    """Label smoothing: this share of the target probability is spread over all tokens (Szegedy et al. 2016)."""


class ClassLossOptions(Section):
    """What is made small."""

    class_weights: ClassWeights = "none"
    """balanced weighs each class by the inverse of its frequency, sqrt by the square root of that."""
    label_smoothing: Share = 0.0
    """Label smoothing: this share of the target probability is spread over all classes (Szegedy et al. 2016)."""
