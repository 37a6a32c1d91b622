"""Labelling, aligned many to many: a sequence goes in, a label comes out at each of its steps."""

from selfloop.tasks.label.labeller import Labeller, Prediction
from selfloop.tasks.label.score import Score
from selfloop.tasks.label.task import Labelling

__all__ = ["Labeller", "Labelling", "Prediction", "Score"]

LEARNER, PREDICTOR = Labelling, Labeller
