"""Translation, many to one to many: a text in one language goes in, it comes out in another."""

from selfloop.tasks.translate.score import Score
from selfloop.tasks.translate.task import Translation
from selfloop.tasks.translate.translator import Translated, Translator

__all__ = ["Score", "Translated", "Translation", "Translator"]

LEARNER, PREDICTOR = Translation, Translator
