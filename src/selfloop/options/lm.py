"""What can be chosen about a language model."""

from typing import Literal

from pydantic import Field

from selfloop.config import Section
from selfloop.options.sections import ColumnName, RecurrentOptions, Share, SourceOptions
from selfloop.options.training import TrainingOptions


class TextOptions(SourceOptions):
    """The text, and how it is cut into tokens."""

    source: str | None = None
    """A text file, a folder, a JSONL, CSV or Parquet file, or a name on the Hugging Face hub; without it, the language
    reference that ships inside Python."""
    column: ColumnName | None = None
    """The column with the text, in JSONL, CSV or Parquet; without it, the one called text, or the only one of text."""
    tokenizer: Literal["char", "byte", "word", "bpe"] = "char"
    """Characters, bytes, words or byte-pair encoding."""
    vocab_size: int | None = Field(default=None, gt=1)
    """The types of tokens at the most; without it all, or 8,000 with byte-pair encoding."""
    window: int = Field(default=64, gt=0)
    """The steps that back-propagation through time goes back; the state is carried further."""
    valid_tokens: int = Field(default=200_000, gt=0)
    """How many tokens a validation on the way scores at the most; the final one scores all."""


class LanguageModelOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.LanguageModel`."""

    embedding_size: int = Field(default=64, gt=0)
    """Features of a token's vector."""
    hidden_size: int = Field(default=512, gt=0)
    tied: bool = False
    """The readout uses the table of the tokens' vectors."""
    embedding_dropout: Share = 0.0
    """Dropout of whole words (Gal & Ghahramani 2016)."""
    input_dropout: Share = 0.1
    output_dropout: Share = 0.2
    variational: bool = False
    """Dropout with one mask for all steps of a window (Gal & Ghahramani 2016)."""
    weight_drop: Share = 0.0
    """The share of the recurrent weights that is off in an update (Merity et al. 2018)."""


class LanguageModelConfig(Section):
    """All that is chosen about a run of ``selfloop train lm``."""

    data: TextOptions = TextOptions()
    model: LanguageModelOptions = LanguageModelOptions()
    training: TrainingOptions = TrainingOptions()
