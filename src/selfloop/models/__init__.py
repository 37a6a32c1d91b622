"""Models: a recurrent stack with what stands before and after it."""

from selfloop.models.encoder_decoder import EncoderDecoder
from selfloop.models.encoders import FrameEncoder, NumberEncoder, TokenEncoder, WordEncoder
from selfloop.models.language_model import LanguageModel
from selfloop.models.many_to_many import ManyToMany
from selfloop.models.many_to_one import ManyToOne
from selfloop.models.one_to_many import OneToMany

__all__ = [
    "EncoderDecoder",
    "FrameEncoder",
    "LanguageModel",
    "ManyToMany",
    "ManyToOne",
    "NumberEncoder",
    "OneToMany",
    "TokenEncoder",
    "WordEncoder",
]
