"""Classification, many to one: a text, a series or an image goes in, one of several classes comes out."""

from selfloop.tasks.classify.classifier import Classifier, Prediction
from selfloop.tasks.classify.task import Classification
from selfloop.tasks.score import ClassScore as Score

__all__ = ["Classification", "Classifier", "Prediction", "Score"]

LEARNER, PREDICTOR = Classification, Classifier
