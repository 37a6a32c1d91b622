"""What trains."""

import torch
from torch.nn import functional as F

from estimate.estimator import Estimator
from selfloop.tasks.examples_learner import ExamplesLearner
from selfloop.tasks.inputs import Inputs


class Estimation(ExamplesLearner):
    UNITS = "series"
    OPENED = Estimator

    def learn_inputs(self):
        return Inputs("series", (1,), ())

    def summary(self):
        return f"{len(self.dataset.train)} series to train on"

    def loss(self, model, step, share, carry):
        rows, batch, lengths = self._batch(step, share, next(model.parameters()).device)
        truth = torch.from_numpy(self._train[1][rows])
        return F.mse_loss(model(batch, lengths)[:, 0], truth.to(batch.device)), len(rows), None
