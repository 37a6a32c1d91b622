"""Models: a recurrent stack with what stands before and after it."""

from selfloop.models.encoders import FrameEncoder, NumberEncoder, TokenEncoder, WordEncoder
from selfloop.models.language_model import LanguageModel
from selfloop.models.many_to_many import ManyToMany
from selfloop.models.many_to_one import ManyToOne

__all__ = ["FrameEncoder", "LanguageModel", "ManyToMany", "ManyToOne", "NumberEncoder", "TokenEncoder", "WordEncoder"]
