"""What can be chosen about any task's data, recurrence and loss."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from selfloop.cells import ZOO
from selfloop.config import Section

Pixels = Annotated[int, Field(gt=0, le=4096)]
"""The height or the width that images are brought to."""

Beam = Annotated[int, Field(gt=0, le=1000)]
"""Hypotheses that beam search keeps."""

ColumnName = Annotated[str, Field(coerce_numbers_to_str=True)]
"""A column of a table; of one without names its number, from 1."""

Share = Annotated[float, Field(ge=0, lt=1)]


class SourceOptions(Section):
    """Where the data are."""

    PATHS: ClassVar[tuple[str, ...]] = ("source", "valid", "test")

    source: str | None = None
    """A file, a folder, or a name on the Hugging Face hub; without it, what the task brings with it."""
    valid: str | None = None
    """The validation data, to choose the best weights by; without it, some of the source is held out."""
    test: str | None = None
    """The test data, which are scored at the end."""
    encoding: str = "utf-8"
    """Of text files."""
    header: bool | None = None
    """Line 1 of CSV or TSV names the columns, or else they are called 1, 2, 3; without it, line 1 is taken as names,
    and refused where it looks like data."""
    quotes: bool | None = None
    """Cells of CSV or TSV may stand in quotes; without it, they may in CSV and not in TSV."""
    valid_fraction: float = Field(default=0.1, gt=0, lt=1)
    """The share of the source that is held out where no validation data are given."""


class ExampleSourceOptions(SourceOptions):
    """Where examples are."""

    split_seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Of which examples are held out; without it, that of everything random, --seed."""
    skip_bad: bool = False
    """Leave out what cannot be used, count it, and list it in the run."""


class SoundOptions(Section):
    """How sound is read."""

    rate: int = Field(default=16_000, ge=1_000, le=192_000)
    """Samples a second that sound is brought to."""
    mels: int = Field(default=40, gt=0, le=512)
    """Features of 10 ms of sound, on the mel scale."""
    stereo: bool = False
    """Keep two channels of sound apart."""


class RecurrentOptions(Section):
    """The recurrent stack; each field is an argument of `selfloop.Recurrent`."""

    cell: str = "lstm"
    """A cell of the zoo, or your own: FILE.py:NAME."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """A number for each further size that the cell names, as in --set model.sizes.p=128."""
    hidden_size: int = Field(default=128, gt=0)
    """Units of a layer."""
    num_layers: int = Field(default=1, gt=0)
    """Layers that stand on one another."""
    input_dropout: Share = 0.0
    """Dropout on what the first layer reads."""
    hidden_dropout: Share = 0.0
    """Dropout between layers."""
    output_dropout: Share = 0.0
    """Dropout on what the last layer says."""
    backend: str = "auto"
    """What runs the stack: auto, native, torch or interpret."""

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
    """The share of the truth that is given to all tokens alike (Szegedy et al. 2016)."""


class ClassLossOptions(Section):
    """What is made small."""

    class_weights: Literal["none", "balanced"] = "none"
    """balanced weighs each class by 1 / its share of the truth."""
    label_smoothing: Share = 0.0
    """The share of the truth that is given to all classes alike (Szegedy et al. 2016)."""
