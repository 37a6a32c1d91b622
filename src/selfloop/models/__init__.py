"""Models: a recurrent stack with what stands before and after it."""

from selfloop.models.language_model import LanguageModel

__all__ = ["LanguageModel"]
