"""A task of a test's own: a series goes in, one number comes out, and the loss is a squared error."""

from estimate.estimator import Estimator
from estimate.options import EstimateConfig
from estimate.training import Estimation

LEARNER, PREDICTOR = Estimation, Estimator

__all__ = ["EstimateConfig", "Estimation", "Estimator"]
