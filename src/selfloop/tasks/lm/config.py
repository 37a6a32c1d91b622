"""What can be chosen about a language model."""

from typing import Literal

from pydantic import Field

from selfloop.config import Section
from selfloop.language import Cell
from selfloop.models import LanguageModel
from selfloop.tasks.options import RecurrentOptions, SourceOptions
from selfloop.training import TrainingOptions


class TextOptions(SourceOptions):
    """The text, and how it is cut into tokens; without a source, the language reference inside Python.

    Attributes:
        column: of JSONL, CSV or Parquet.
        tokenizer: characters, bytes, words or byte-pair encoding.
        vocab_size: the types at the most; None for all, or 8,000 with byte-pair encoding.
        window: the steps that back-propagation through time goes back; the state is carried further.
        valid_tokens: how many tokens a validation on the way scores at the most; the final one scores all.
    """

    column: str | None = None
    tokenizer: Literal["char", "byte", "word", "bpe"] = "char"
    vocab_size: int | None = Field(default=None, gt=1)
    window: int = Field(default=64, gt=0)
    valid_tokens: int = Field(default=200_000, gt=0)


class ModelOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.LanguageModel`."""

    embedding_size: int = Field(default=64, gt=0)
    hidden_size: int = Field(default=512, gt=0)
    tied: bool = False
    embedding_dropout: float = Field(default=0.0, ge=0, lt=1)
    input_dropout: float = Field(default=0.1, ge=0, lt=1)
    output_dropout: float = Field(default=0.2, ge=0, lt=1)
    variational: bool = False
    weight_drop: float = Field(default=0.0, ge=0, lt=1)

    def build(self, vocab_size: int, cell: Cell) -> LanguageModel:
        """The model, with fresh weights."""
        return LanguageModel(vocab_size, cell, **self.model_dump(exclude={"cell"}))


class LanguageModelConfig(Section):
    """All that is chosen about a run of ``selfloop train lm``."""

    data: TextOptions = TextOptions()
    model: ModelOptions = ModelOptions()
    training: TrainingOptions = TrainingOptions()
