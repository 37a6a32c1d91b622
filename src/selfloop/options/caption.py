"""What can be chosen about captions."""

from typing import ClassVar, Literal

from pydantic import Field

from selfloop.config import Section
from selfloop.options.sections import (
    Beam,
    ColumnName,
    ExampleSourceOptions,
    Pixels,
    RecurrentOptions,
    Share,
    TokenLossOptions,
)
from selfloop.options.training import TrainingOptions


class ImageOptions(ExampleSourceOptions):
    """The images and their captions."""

    PATHS: ClassVar[tuple[str, ...]] = ("source", "valid", "test", "images")

    source: str | None = None
    """A folder of images with metadata.jsonl, with a table (CSV, TSV, Parquet) of images and captions, or with a list
    as Flickr8k's; such a file itself; a name on the Hugging Face hub; without it, drawn scenes."""
    images: str | None = None
    """The folder or .zip of the images; without it, they are where their list is."""
    image: ColumnName | None = None
    """The column of a table with the image's name; without it, it is found by its name."""
    caption: ColumnName | None = None
    """The column with a caption, or a list of them; without it, it is found by its name, also caption_0, caption_1."""
    size: tuple[Pixels, Pixels] | None = None
    """Height and width that images are brought to, as [224,224]; without it, what suits the encoder."""
    tokenizer: Literal["word", "bpe"] = "word"
    """Words in lower case without punctuation, or byte-pair encoding of them."""
    min_count: int | None = Field(default=None, gt=0)
    """How often a word must be said to be known; without it 5 of 10,000 training captions or more, else 1."""
    vocab_size: int | None = Field(default=None, gt=1)
    """The types of tokens at the most; without it all known words, or 8,000 of byte-pair encoding."""
    mirror: bool = False
    """Mirror training images at random: for photographs, whose captions seldom tell left from right."""


class CaptionerOptions(RecurrentOptions):
    """The model; most fields are arguments of `selfloop.OneToMany`."""

    encoder: str = "small"
    """Of images: small, which is trained; efficientnet-lite0 or timm:NAME, which know photographs already; or your own:
    FILE.py:NAME."""
    condition: Literal["state", "input", "attend"] = "attend"
    """How the image is told: it makes the decoder's first state or its first input, or is attended to at every step."""
    attention: Literal["dot", "general", "additive"] = "additive"
    """How a query is compared with the places of an image. Of Flickr8k additive learns faster in its first 400 updates,
    and over 49 places takes twice the time of general and learns no more by an update."""
    input_feeding: bool = False
    """What was attended to is part of the next step's input; training then goes step by step."""
    tied: bool = False
    """The readout uses the table of the tokens' vectors."""
    feature_size: int = Field(default=512, gt=0)
    """Features of a place, as the decoder sees it."""
    embedding_size: int = Field(default=256, gt=0)
    """Features of a token's vector."""
    hidden_size: int = Field(default=512, gt=0)
    image_dropout: Share = 0.3
    """Dropout on what the encoder sees."""
    output_dropout: Share = 0.5
    scheduled_sampling: float = Field(default=0.0, ge=0, le=1)
    """The share of words that are the model's own in training, at its end; it grows evenly from 0 (Bengio et al. 2015).
    It costs a second pass."""

    @property
    def is_own_encoder(self) -> bool:
        """Whether the encoder is the user's: ``FILE.py:NAME``."""
        return is_own_encoder(self.encoder)


def is_own_encoder(name: str) -> bool:
    """Whether an encoder is the user's: ``FILE.py:NAME``."""
    return ":" in name and not name.startswith("timm:")


class CaptionTraining(TrainingOptions):
    """How a captioner is trained."""

    batch_size: int = Field(default=64, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)


class CaptionDecoding(Section):
    """How captions are written."""

    beam: Beam = 5
    """The hypotheses that are kept at each step; 1 takes the most probable token."""
    length_penalty: float = Field(default=0.7, ge=0)
    """0 ranks by probability, more favours longer captions."""
    max_tokens: int = Field(default=40, gt=0, le=10_000)
    """Of a caption."""


class CaptionConfig(Section):
    """All that is chosen about a run of ``selfloop train caption``."""

    data: ImageOptions = ImageOptions()
    model: CaptionerOptions = CaptionerOptions()
    loss: TokenLossOptions = TokenLossOptions()
    training: CaptionTraining = CaptionTraining()
    decoding: CaptionDecoding = CaptionDecoding()
