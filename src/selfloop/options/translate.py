"""What can be chosen about a translator."""

from typing import ClassVar, Literal

from pydantic import Field

from selfloop.config import Section
from selfloop.options.sections import Beam, ColumnName, ExampleSourceOptions, RecurrentOptions, Share, TokenLossOptions
from selfloop.options.training import TrainingOptions


class PairOptions(ExampleSourceOptions):
    """The pairs of texts."""

    PATHS: ClassVar[tuple[str, ...]] = ("source", "target", "valid", "valid_target", "test", "test_target")
    FIXED: ClassVar[tuple[str, ...]] = ("lowercase", "tokenizer", "vocab_size", "shared_vocabulary")

    source: str | None = None
    """A text file with a sentence per line, plain or .gz; a table (TSV, CSV, JSONL, Parquet) with a column per
    language; or a data set on the Hugging Face hub. By default dates in words, from English to Hungarian."""
    target: str | None = None
    """The file of translations, line by line. A table has both."""
    valid_target: str | None = None
    """The translations of --valid."""
    test_target: str | None = None
    """The translations of --test."""
    source_column: ColumnName | None = None
    """The column with the source text. By default it is recognised by its name."""
    target_column: ColumnName | None = None
    """The column with the translation. By default it is recognised by its name."""
    valid_fraction: float = Field(default=0.05, gt=0, lt=1)
    lowercase: bool = False
    """Ignore case, in the vocabulary and in BLEU."""
    tokenizer: Literal["bpe", "word", "char", "byte"] = "bpe"
    """What a token is: a piece of a word (byte-pair encoding), a word, a character, or a byte."""
    vocab_size: int | None = Field(default=None, gt=1)
    """The largest number of different tokens. By default 8,000 with byte-pair encoding, and else all."""
    shared_vocabulary: bool = True
    """Use one vocabulary for both languages (Sennrich et al. 2016, section 3.2)."""
    max_length: int = Field(default=128, gt=1, le=100_000)
    """The most tokens of a text. Longer training pairs are left out and counted; no translation becomes longer."""


class TranslatorOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.EncoderDecoder`."""

    embedding_size: int = Field(default=128, gt=0)
    """Size of a token's embedding."""
    hidden_size: int = Field(default=256, gt=0)
    """Units of the decoder. Each direction of the encoder has half as many."""
    attention: Literal["general", "dot", "additive", "none"] = "general"
    """How the decoder's state is compared with the encoder's outputs (Luong et al. 2015; Bahdanau et al. 2015)."""
    input_feeding: bool = False
    """Feed the attention's output to the next step (Luong et al. 2015). Training then runs step by step."""
    tied: bool = True
    """Tie the output layer to the target's embedding table, and with a shared vocabulary to the source's too."""
    input_dropout: Share = 0.3
    output_dropout: Share = 0.3


class TranslationDecoding(Section):
    """How a translation is found, and what it is scored by."""

    beam: Beam = 5
    """Hypotheses that beam search keeps; 1 takes the most probable token at each step."""
    length_penalty: float = Field(default=1.0, ge=0)
    """0 ranks hypotheses by probability; a larger value favours longer translations."""
    bleu_tokenizer: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    """sacreBLEU's tokenizer: 13a for most languages, zh for Chinese, char for languages without spaces between words,
    intl, or none for text that is tokenised already."""


class TranslationTraining(TrainingOptions):
    """How a translator is trained."""

    batch_size: int = Field(default=32, gt=0)
    """Pairs of average length per update. A batch has fewer long ones, or more short ones."""
    learning_rate: float = Field(default=4e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)


class TranslateConfig(Section):
    """All that is chosen about a run of ``selfloop train translate``."""

    data: PairOptions = PairOptions()
    model: TranslatorOptions = TranslatorOptions()
    loss: TokenLossOptions = TokenLossOptions()
    decoding: TranslationDecoding = TranslationDecoding()
    training: TranslationTraining = TranslationTraining()
