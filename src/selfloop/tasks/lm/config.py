"""What can be chosen about a language model."""

from typing import Literal

from pydantic import Field

from selfloop.cells import ZOO
from selfloop.config import Section
from selfloop.language import Cell
from selfloop.models import LanguageModel
from selfloop.training import TrainingOptions


class TextOptions(Section):
    """The text, and how it is cut into tokens.

    Attributes:
        source: a file, a folder, or a name on the hub; None for the language reference inside Python.
        valid: the validation text; None holds out the end of the source.
        test: the test text.
        column: of JSONL, CSV or Parquet.
        encoding: of the files.
        valid_fraction: the share of the source, at its end, that is held out.
        tokenizer: characters, bytes, words or byte-pair encoding.
        vocab_size: the types at the most; None for all, or 8,000 with byte-pair encoding.
        window: the steps that back-propagation through time goes back; the state is carried further.
        valid_tokens: how many tokens a validation on the way scores at the most; the final one scores all.
    """

    source: str | None = None
    valid: str | None = None
    test: str | None = None
    column: str | None = None
    encoding: str = "utf-8"
    valid_fraction: float = Field(default=0.1, gt=0, lt=1)
    tokenizer: Literal["char", "byte", "word", "bpe"] = "char"
    vocab_size: int | None = Field(default=None, gt=1)
    window: int = Field(default=64, gt=0)
    valid_tokens: int = Field(default=200_000, gt=0)


class ModelOptions(Section):
    """The model; each field is an argument of `selfloop.LanguageModel`.

    Attributes:
        cell: a name of the zoo, or ``FILE.py:NAME``.
        sizes: a number for each further size that the cell names, as ``model.sizes.p=128``.
    """

    cell: str = "lstm"
    sizes: dict[str, int] = Field(default_factory=dict)
    embedding_size: int = Field(default=64, gt=0)
    hidden_size: int = Field(default=512, gt=0)
    num_layers: int = Field(default=1, gt=0)
    tied: bool = False
    embedding_dropout: float = Field(default=0.0, ge=0, lt=1)
    input_dropout: float = Field(default=0.1, ge=0, lt=1)
    hidden_dropout: float = Field(default=0.0, ge=0, lt=1)
    output_dropout: float = Field(default=0.2, ge=0, lt=1)
    variational: bool = False
    weight_drop: float = Field(default=0.0, ge=0, lt=1)
    backend: str = "auto"

    @property
    def is_own_cell(self) -> bool:
        """Whether the cell is the user's, and not of the zoo."""
        return self.cell not in ZOO

    def build(self, vocab_size: int, cell: Cell) -> LanguageModel:
        """The model, with fresh weights."""
        return LanguageModel(vocab_size, cell, **self.model_dump(exclude={"cell"}))


class LanguageModelConfig(Section):
    """All that is chosen about a run of ``selfloop train lm``."""

    data: TextOptions = TextOptions()
    model: ModelOptions = ModelOptions()
    training: TrainingOptions = TrainingOptions()
