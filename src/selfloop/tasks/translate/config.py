"""What can be chosen about a translator."""

from typing import ClassVar, Literal

from pydantic import Field

from selfloop.config import Section
from selfloop.language import Cell
from selfloop.models import EncoderDecoder
from selfloop.tasks.options import Beam, RecurrentOptions, SourceOptions
from selfloop.tasks.translate.languages import Languages
from selfloop.training import TrainingOptions


class PairOptions(SourceOptions):
    """The pairs of texts; without a source, dates from English to Hungarian.

    Attributes:
        target: the file of translations, line by line; None where the source is a table.
        valid_target: those of `valid`.
        test_target: those of `test`.
        source_column: the column of a table that holds the source; None finds it by its name.
        target_column: the column that holds the target; None finds it by its name.
        lowercase: whether upper and lower case are one, in the vocabulary and in BLEU.
        tokenizer: byte-pair encoding, words, characters or bytes.
        vocab_size: the types of a vocabulary at the most; None for 8,000 of BPE, and all others.
        shared_vocabulary: both languages are of one vocabulary (Sennrich et al. 2016, section 3.2), or each of its own.
        max_length: the tokens of a side at the most: longer pairs are left out of training, and counted; no translation
            becomes longer.
    """

    PATHS: ClassVar[tuple[str, ...]] = ("source", "target", "valid", "valid_target", "test", "test_target")

    target: str | None = None
    valid_target: str | None = None
    test_target: str | None = None
    source_column: str | None = None
    target_column: str | None = None
    valid_fraction: float = Field(default=0.05, gt=0, lt=1)
    lowercase: bool = False
    tokenizer: Literal["bpe", "word", "char", "byte"] = "bpe"
    vocab_size: int | None = Field(default=None, gt=1)
    shared_vocabulary: bool = True
    max_length: int = Field(default=128, gt=1, le=100_000)
    skip_bad: bool = False


class ModelOptions(RecurrentOptions):
    """The model; each field is an argument of `selfloop.EncoderDecoder`.

    Attributes:
        hidden_size: the decoder's; each direction of the encoder has half of it.
        attention: how a query is compared with what was read.
        input_feeding: what was attended to is part of the next step's input; training then goes step by step.
        tied: the readout uses the target's table, and with a shared vocabulary the source does too.
    """

    embedding_size: int = Field(default=128, gt=0)
    hidden_size: int = Field(default=256, gt=0)
    attention: Literal["general", "dot", "additive", "none"] = "general"
    input_feeding: bool = False
    tied: bool = True
    input_dropout: float = Field(default=0.3, ge=0, lt=1)
    output_dropout: float = Field(default=0.3, ge=0, lt=1)

    def build(self, languages: Languages, cell: Cell) -> EncoderDecoder:
        """The model, with fresh weights."""
        options = self.model_dump(exclude={"cell", "attention"})
        return EncoderDecoder(
            languages.source.vocab_size,
            languages.target.vocab_size,
            cell,
            attention=None if self.attention == "none" else self.attention,
            shared_embedding=self.tied and languages.shared,
            **options,
        )


class LossOptions(Section):
    """What is made small.

    Attributes:
        label_smoothing: the share of the truth that is given to all tokens alike (Szegedy et al. 2016).
    """

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)


class DecodingOptions(Section):
    """How a translation is found, and what it is scored by.

    Attributes:
        beam: the hypotheses that are kept at each step; 1 takes the most probable token.
        length_penalty: as of `beam_search`: 0 ranks by probability, more favours longer translations.
        bleu_tokenizer: sacreBLEU's: ``13a`` for most languages, ``zh`` for Chinese, ``char`` where words have no spaces
            between, ``intl``, or ``none`` for text that is tokenised already.
    """

    beam: Beam = 5
    length_penalty: float = Field(default=1.0, ge=0)
    bleu_tokenizer: Literal["13a", "intl", "zh", "char", "none"] = "13a"


class TranslationTraining(TrainingOptions):
    """As of every task; `batch_size` is in pairs of average length: a batch has fewer long ones, or more short ones."""

    batch_size: int = Field(default=32, gt=0)
    learning_rate: float = Field(default=4e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)


class TranslateConfig(Section):
    """All that is chosen about a run of ``selfloop train translate``."""

    data: PairOptions = PairOptions()
    model: ModelOptions = ModelOptions()
    loss: LossOptions = LossOptions()
    decoding: DecodingOptions = DecodingOptions()
    training: TranslationTraining = TranslationTraining()
