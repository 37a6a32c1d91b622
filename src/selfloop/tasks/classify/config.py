"""What can be chosen about a classifier."""

from typing import Literal

from pydantic import Field

from selfloop.config import Section
from selfloop.language import Cell
from selfloop.models import ManyToOne
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.options import LossOptions, Pixels, RecurrentOptions, SourceOptions
from selfloop.training import TrainingOptions


class ExampleOptions(SourceOptions):
    """The examples; without a source, scikit-learn's digits, pixel by pixel.

    Attributes:
        input: the column of a table that holds the text, the series or a path; None finds it.
        label: the column that holds the class; None finds it.
        scan: how an image becomes a sequence: a pixel a step, or a row of pixels a step.
        size: height and width that images are brought to; None for images that are all alike.
        tokenizer: of text: characters, bytes, words or byte-pair encoding.
        vocab_size: the types of tokens at the most.
        skip_bad: whether what cannot be used is left out.
    """

    input: str | None = None
    label: str | None = None
    scan: Literal["pixels", "rows"] = "pixels"
    size: tuple[Pixels, Pixels] | None = None
    tokenizer: Literal["char", "byte", "word", "bpe"] = "char"
    vocab_size: int | None = Field(default=None, gt=1)
    skip_bad: bool = False


class ModelOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.ManyToOne`.

    Attributes:
        embedding_size: features of a token's vector.
    """

    embedding_size: int = Field(default=64, gt=0)
    bidirectional: bool = False
    pooling: Literal["last", "mean", "max", "attention"] = "last"
    output_dropout: float = Field(default=0.1, ge=0, lt=1)

    def build(self, inputs: Inputs, cell: Cell) -> ManyToOne:
        """The model, with fresh weights."""
        options = self.model_dump(exclude={"cell", "embedding_size"})
        return ManyToOne(inputs.encoder(self.embedding_size), cell, len(inputs.classes), **options)


class ClassifyConfig(Section):
    """All that is chosen about a run of ``selfloop train classify``."""

    data: ExampleOptions = ExampleOptions()
    model: ModelOptions = ModelOptions()
    loss: LossOptions = LossOptions()
    training: TrainingOptions = TrainingOptions()
