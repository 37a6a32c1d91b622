"""What can be chosen about a language model."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from selfloop.config import Section
from selfloop.options.sections import ColumnName, RecurrentOptions, Share, SourceOptions
from selfloop.options.training import UNKNOWN_EPOCH, TrainingOptions


class TextOptions(SourceOptions):
    """The text, and how it is cut into tokens."""

    FIXED: ClassVar[tuple[str, ...]] = ("tokenizer", "vocab_size", "window")

    source: str | None = None
    """A text file, a folder, a JSONL, CSV or Parquet file, or a data set on the Hugging Face hub. By default the
    language reference that ships with Python."""
    valid_fraction: float | None = Field(default=None, gt=0, lt=1)  # type: ignore[assignment]
    """The fraction of the source that is held out for validation, if no validation data are given. By default a tenth,
    and at most a million characters."""
    column: ColumnName | None = None
    """The column with the text. By default the one named text, or the only one that holds text."""
    streaming: bool = False
    """Read the source while training, and keep nothing of it on the disk: for corpora larger than the disk. It is text,
    JSON lines, Parquet or a data set on the hub, and the budget is of --steps or --minutes."""
    valid_examples: int = Field(default=1000, gt=0)
    """With --streaming, how many examples are held out for validation, the first ones, if no validation data are given
    and the source marks none."""
    tokenizer: Literal["char", "byte", "word", "bpe"] = "char"
    """What a token is: a character, a byte, a word, or a piece of a word (byte-pair encoding)."""
    vocab_size: int | None = Field(default=None, gt=1)
    """The largest number of different tokens. By default all, and 8,000 with byte-pair encoding."""
    window: int = Field(default=64, gt=0)
    """Steps of truncated back-propagation through time. The state is carried from one window to the next."""
    valid_tokens: int = Field(default=200_000, gt=0)
    """About how many tokens of the validation text a validation during training scores. The scoring at the end of the
    run scores all."""


class LanguageModelOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.LanguageModel`."""

    embedding_size: int = Field(default=64, gt=0)
    """Size of a token's embedding."""
    hidden_size: int = Field(default=512, gt=0)
    tied: bool = False
    """Tie the output layer to the embedding table."""
    embedding_dropout: Share = 0.0
    """Dropout of whole tokens from the input (Gal & Ghahramani 2016)."""
    input_dropout: Share = 0.1
    output_dropout: Share = 0.2
    variational: bool = False
    """Use one dropout mask for all steps of a window (Gal & Ghahramani 2016)."""
    weight_drop: Share = 0.0
    """The fraction of recurrent weights that is dropped in an update (Merity et al. 2018)."""


class ActivityLossOptions(Section):
    """What is made small, beside the surprise."""

    activity: float = Field(default=0.0, ge=0)
    """Penalty on the mean square of the last layer's outputs, after dropout (AR; Merity et al. 2017)."""
    slowness: float = Field(default=0.0, ge=0)
    """Penalty on the mean square of their change from step to step, before dropout (TAR; Merity et al. 2017)."""


class LanguageModelConfig(Section):
    """All that is chosen about a run of ``selfloop train lm``."""

    data: TextOptions = TextOptions()
    model: LanguageModelOptions = LanguageModelOptions()
    loss: ActivityLossOptions = ActivityLossOptions()
    training: TrainingOptions = TrainingOptions()

    @model_validator(mode="after")
    def _streams_have_no_length(self) -> "LanguageModelConfig":
        if self.data.streaming:
            if self.data.source is None:
                raise ValueError("--streaming reads a source; name one")
            if self.training.epochs is not None:
                raise ValueError(UNKNOWN_EPOCH)
            if self.data.valid_fraction is not None:
                raise ValueError(
                    "a stream has no known length, of which --valid-fraction could be a part; give --valid-examples"
                )
        return self
