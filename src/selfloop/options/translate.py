"""What can be chosen about a translator."""

from typing import ClassVar, Literal

from pydantic import Field

from selfloop.config import Section
from selfloop.options.sections import Beam, ColumnName, ExampleSourceOptions, RecurrentOptions, Share, TokenLossOptions
from selfloop.options.training import TrainingOptions


class PairOptions(ExampleSourceOptions):
    """The pairs of texts."""

    PATHS: ClassVar[tuple[str, ...]] = ("source", "target", "valid", "valid_target", "test", "test_target")

    source: str | None = None
    """A text file, a sentence a line, plain or .gz; or a table (TSV, CSV, JSONL, Parquet) with a column a language; or
    a name on the Hugging Face hub; without it, dates from English to Hungarian."""
    target: str | None = None
    """The file of translations, line by line; a table has both."""
    valid_target: str | None = None
    """The translations of --valid."""
    test_target: str | None = None
    """The translations of --test."""
    source_column: ColumnName | None = None
    """The column of a table with the source; without it, it is found by its name."""
    target_column: ColumnName | None = None
    """The column with the target; without it, it is found by its name."""
    valid_fraction: float = Field(default=0.05, gt=0, lt=1)
    lowercase: bool = False
    """Upper and lower case are one, in the vocabulary and in BLEU."""
    tokenizer: Literal["bpe", "word", "char", "byte"] = "bpe"
    """Byte-pair encoding, words, characters or bytes."""
    vocab_size: int | None = Field(default=None, gt=1)
    """The types of a vocabulary at the most; without it 8,000 of byte-pair encoding, and all others."""
    shared_vocabulary: bool = True
    """Both languages are of one vocabulary (Sennrich et al. 2016, section 3.2), or each of its own."""
    max_length: int = Field(default=128, gt=1, le=100_000)
    """The tokens of a side at the most: longer pairs are left out of training, and counted; no translation becomes
    longer."""


class TranslatorOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.EncoderDecoder`."""

    embedding_size: int = Field(default=128, gt=0)
    """Features of a token's vector."""
    hidden_size: int = Field(default=256, gt=0)
    """Units of the decoder; each direction of the encoder has half of them."""
    attention: Literal["general", "dot", "additive", "none"] = "general"
    """How a query is compared with what was read."""
    input_feeding: bool = False
    """What was attended to is part of the next step's input; training then goes step by step."""
    tied: bool = True
    """The readout uses the target's table, and with a shared vocabulary the source does too."""
    input_dropout: Share = 0.3
    output_dropout: Share = 0.3


class TranslationDecoding(Section):
    """How a translation is found, and what it is scored by."""

    beam: Beam = 5
    """The hypotheses that are kept at each step; 1 takes the most probable token."""
    length_penalty: float = Field(default=1.0, ge=0)
    """0 ranks by probability, more favours longer translations."""
    bleu_tokenizer: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    """sacreBLEU's: 13a for most languages, zh for Chinese, char where words have no spaces between, intl, or none for
    text that is tokenised already."""


class TranslationTraining(TrainingOptions):
    """How a translator is trained."""

    batch_size: int = Field(default=32, gt=0)
    """Pairs of average length in an update: it has fewer long ones, or more short ones."""
    learning_rate: float = Field(default=4e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)


class TranslateConfig(Section):
    """All that is chosen about a run of ``selfloop train translate``."""

    data: PairOptions = PairOptions()
    model: TranslatorOptions = TranslatorOptions()
    loss: TokenLossOptions = TokenLossOptions()
    decoding: TranslationDecoding = TranslationDecoding()
    training: TranslationTraining = TranslationTraining()
