"""Captioning, one to many: an image goes in, a sentence about it comes out."""

from selfloop.tasks.caption.captioner import Captioner
from selfloop.tasks.caption.score import Prediction, Score
from selfloop.tasks.caption.task import Captioning

__all__ = ["Captioner", "Captioning", "Prediction", "Score"]

LEARNER, PREDICTOR = Captioning, Captioner
