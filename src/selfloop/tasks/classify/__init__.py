"""Classification, many to one: a text, a series or an image goes in, one of several classes comes out."""

from selfloop.tasks.classify.classifier import Classifier, Prediction
from selfloop.tasks.classify.score import Score
from selfloop.tasks.classify.task import Classification

__all__ = ["Classification", "Classifier", "Prediction", "Score"]
