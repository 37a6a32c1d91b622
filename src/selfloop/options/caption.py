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
    FIXED: ClassVar[tuple[str, ...]] = ("size", "tokenizer", "min_count", "vocab_size", "mirror")

    source: str | None = None
    """A folder of images with metadata.jsonl, a table (CSV, TSV, Parquet) of images and captions, or a list as of
    Flickr8k; such a file itself; or a data set on the Hugging Face hub. By default drawn scenes."""
    images: str | None = None
    """The folder or .zip with the images. By default they are where their list is."""
    image: ColumnName | None = None
    """The column with the image's file name. By default it is recognised by its name."""
    caption: ColumnName | None = None
    """The column with a caption or a list of captions. By default it is recognised by its name, also caption_0,
    caption_1."""
    size: tuple[Pixels, Pixels] | None = None
    """Height and width that images are resized to, as [224,224]. By default those of the encoder."""
    tokenizer: Literal["word", "bpe"] = "word"
    """What a token is: a word in lower case, without punctuation, or a piece of one (byte-pair encoding)."""
    min_count: int | None = Field(default=None, gt=0)
    """How often a word must occur to be in the vocabulary. By default 5 times in 10,000 training captions or more, else
    once."""
    vocab_size: int | None = Field(default=None, gt=1)
    """The largest number of different tokens. By default all words, and 8,000 with byte-pair encoding."""
    mirror: bool = False
    """Mirror training images at random. For photographs, whose captions seldom tell left from right."""


class CaptionerOptions(RecurrentOptions):
    """The model; most fields are arguments of `selfloop.OneToMany`."""

    encoder: str = "small"
    """The image encoder: small, which is trained; efficientnet-lite0, efficientnet-lite2 or timm:NAME, which are
    pretrained on photographs; or your own as FILE.py:NAME."""
    condition: Literal["state", "input", "attend"] = "attend"
    """How the decoder sees the image: as its first state, as its first input, or by attention at every step."""
    attention: Literal["dot", "general", "additive"] = "additive"
    """How the decoder's state is compared with the places of the image. On Flickr8k additive learns faster in the first
    400 updates; over 49 places it takes twice the time of general, and learns no more per update."""
    input_feeding: bool = False
    """Feed the attention's output to the next step (Luong et al. 2015). Training then runs step by step."""
    tied: bool = False
    """Tie the output layer to the embedding table."""
    feature_size: int = Field(default=512, gt=0)
    """Size of the vector of each place of the image, as the decoder sees it."""
    embedding_size: int = Field(default=256, gt=0)
    """Size of a token's embedding."""
    hidden_size: int = Field(default=512, gt=0)
    image_dropout: Share = 0.3
    """Dropout on the encoder's output."""
    place_dropout: Share = 0.0
    """The share of the image's places that are hidden from the decoder in training, others of each image at each update
    (PatchDropout, Liu et al. 2023). For photographs; what is said of a drawing may be at one place alone."""
    output_dropout: Share = 0.5
    scheduled_sampling: float = Field(default=0.0, ge=0, le=1)
    """Scheduled sampling: the share of the decoder's inputs that are its own words at the end of training; it grows
    evenly from 0 (Bengio et al. 2015). It costs a second pass."""

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
    """Hypotheses that beam search keeps; 1 takes the most probable token at each step."""
    length_penalty: float = Field(default=0.7, ge=0)
    """0 ranks hypotheses by probability; a larger value favours longer captions."""
    max_tokens: int = Field(default=40, gt=0, le=10_000)
    """The most tokens of a caption."""


class CaptionConfig(Section):
    """All that is chosen about a run of ``selfloop train caption``."""

    data: ImageOptions = ImageOptions()
    model: CaptionerOptions = CaptionerOptions()
    loss: TokenLossOptions = TokenLossOptions()
    training: CaptionTraining = CaptionTraining()
    decoding: CaptionDecoding = CaptionDecoding()
