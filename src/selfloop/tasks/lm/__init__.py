"""The language model: text in, text out; at every step the truth is the next token."""

from selfloop.tasks.lm.score import Score
from selfloop.tasks.lm.task import LanguageModelling
from selfloop.tasks.lm.text_model import TextModel

__all__ = ["LanguageModelling", "Score", "TextModel"]

LEARNER, PREDICTOR = LanguageModelling, TextModel
