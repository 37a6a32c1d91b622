"""What can be chosen about captions."""

from typing import ClassVar, Literal

from pydantic import Field

from selfloop.config import Section
from selfloop.data.captioned import Wanted
from selfloop.data.examples import BadItems
from selfloop.language import Cell
from selfloop.models.image_writer import ImageWriter
from selfloop.models.vision import Vision
from selfloop.tasks.caption.choose_vision import is_own
from selfloop.tasks.options import Beam, Pixels, RecurrentOptions, SourceOptions
from selfloop.training import TrainingOptions


class ImageOptions(SourceOptions):
    """The images and their captions; without a source, drawn scenes.

    Attributes:
        images: the folder or .zip that the images are in; None for where their list is.
        image: the column of a table that names the image; None finds it.
        caption: the column that holds a caption, or a list of them; None finds it, or all of caption_0, caption_1, …
        size: height and width that images are brought to; None for what suits the encoder.
        tokenizer: words in lower case without punctuation, or byte-pair encoding of them.
        min_count: how often a word must be said to be known; None for 5 of 10,000 training captions or more, else 1.
        vocab_size: the types of tokens at the most; None for all known words, or 8,000 of byte-pair encoding.
        mirror: whether training images are mirrored at random: for photographs, whose captions seldom tell left from
            right.
        skip_bad: whether what cannot be used is left out.
    """

    PATHS: ClassVar[tuple[str, ...]] = ("source", "valid", "test", "images")

    images: str | None = None
    image: str | None = None
    caption: str | None = None
    size: tuple[Pixels, Pixels] | None = None
    tokenizer: Literal["word", "bpe"] = "word"
    min_count: int | None = Field(default=None, gt=0)
    vocab_size: int | None = Field(default=None, gt=1)
    mirror: bool = False
    skip_bad: bool = False

    def wanted(self, bad: BadItems) -> Wanted:
        """How sources are read."""
        return Wanted(self.image, self.caption, self.images, self.encoding, bad)


class ModelOptions(RecurrentOptions):
    """The model; most fields are arguments of `selfloop.OneToMany`.

    Attributes:
        encoder: of images: ``small``, which is trained from scratch; a pretrained one, ``efficientnet-lite0`` or
            ``timm:NAME``; or one's own, ``FILE.py:NAME``.
        condition: the decoder's first state is made from the image, its first input is, or it attends to the image's
            places at every step.
        attention: as of `selfloop.Attention`; of Flickr8k ``additive`` learns faster in its first 400 updates, and over
            49 places takes twice the time of ``general`` and learns no more by an update.
        feature_size: features of a place, as the decoder sees it.
        image_dropout: dropout on what the encoder sees.
        scheduled_sampling: the share of words that are the model's own in training, at its end; it grows evenly from 0
            (Bengio et al. 2015). It costs a second pass.
    """

    encoder: str = "small"
    condition: Literal["state", "input", "attend"] = "attend"
    attention: Literal["dot", "general", "additive"] = "additive"
    input_feeding: bool = False
    tied: bool = False
    feature_size: int = Field(default=512, gt=0)
    embedding_size: int = Field(default=256, gt=0)
    hidden_size: int = Field(default=512, gt=0)
    image_dropout: float = Field(default=0.3, ge=0, lt=1)
    output_dropout: float = Field(default=0.5, ge=0, lt=1)
    scheduled_sampling: float = Field(default=0.0, ge=0, le=1)

    @property
    def is_own_encoder(self) -> bool:
        """Whether the encoder is the user's."""
        return is_own(self.encoder)

    def build(self, vision: Vision, vocab_size: int, cell: Cell) -> ImageWriter:
        """The model, with fresh weights but for the encoder's."""
        options = self.model_dump(exclude={"cell", "encoder", "scheduled_sampling"})
        return ImageWriter(vision, vocab_size, cell, **options)


class LossOptions(Section):
    """What is made small.

    Attributes:
        label_smoothing: the share of the truth that is given to all tokens alike (Szegedy et al. 2016).
    """

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)


class CaptionTraining(TrainingOptions):
    """How a captioner is trained; `selfloop.training.TrainingOptions`, with steps that suit it."""

    batch_size: int = Field(default=64, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)


class DecodingOptions(Section):
    """How captions are written.

    Attributes:
        beam: hypotheses that beam search keeps; 1 is greedy.
        length_penalty: as in `selfloop.decoding.beam_search`; more favours longer captions.
        max_tokens: of a caption.
    """

    beam: Beam = 5
    length_penalty: float = Field(default=0.7, ge=0)
    max_tokens: int = Field(default=40, gt=0, le=10_000)


class CaptionConfig(Section):
    """All that is chosen about a run of ``selfloop train caption``."""

    data: ImageOptions = ImageOptions()
    model: ModelOptions = ModelOptions()
    loss: LossOptions = LossOptions()
    training: CaptionTraining = CaptionTraining()
    decoding: DecodingOptions = DecodingOptions()
