"""What its runs open as."""

import json
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from selfloop.data.examples import BadItems, Items, together
from selfloop.data.media.series import as_series
from selfloop.data.reader import Reader
from selfloop.models import ManyToOne
from selfloop.tasks.examples_predictor import ExamplesPredictor
from selfloop.tasks.given import Takes, as_examples, one_series
from selfloop.tasks.predictor import Answer
from selfloop.tasks.reading import reading
from selfloop.tasks.score import Score


@dataclass(frozen=True)
class Estimate(Answer):
    number: float

    def facts(self):
        return {**self.example(), "number": self.number}

    def line(self):
        return f"{self.number:.2f}"


@dataclass(frozen=True)
class SquaredError(Score):
    total: float
    examples: int

    @property
    def count(self):
        return self.examples

    def metrics(self):
        return {"loss": self.total / self.count, "deviation": (self.total / self.count) ** 0.5}


class SeriesReader(Reader):
    """Lines of JSON, each with a series and its number."""

    def embedded(self):
        return {"train": Items("series", [np.ones((2, 1), np.float32)], [2.0], ["two ones"])}

    def file(self, path):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        series = [np.array(row["series"], np.float32)[:, None] for row in rows]
        places = [f"{path}, line {number}" for number in range(1, 1 + len(rows))]
        return {"train": Items("series", series, [row.get("number") for row in rows], places)}

    def folder(self, folder):
        return {"train": together([self.file(path)["train"] for path in sorted(folder.iterdir())], str(folder))}

    def rows(self, table):
        raise NotImplementedError


class Estimator(ExamplesPredictor):
    NETWORK = ManyToOne
    BATCH = 64
    LOSS_UNIT = "squared error"

    @classmethod
    def num_outputs(cls, inputs):
        return 1

    @classmethod
    def truth(cls, inputs, labels):
        return np.array(labels, np.float32)

    @classmethod
    def reader(cls, config, bad, inputs=None, column=None):
        return SeriesReader(reading(config.data, bad, column))

    def predict(self, examples):
        takes = Takes("series (arrays (T, C), or paths)", as_series, one_series)
        examples = as_examples(examples, takes, partial(self.read, bad=BadItems()))
        return self.said(examples, self.answers(self.inputs.arrays(examples)))

    def said(self, examples, answers):
        return [Estimate(place, float(number)) for place, number in zip(examples.places, answers, strict=True)]

    def judge(self, answers, truth, examples):
        return SquaredError(float((torch.cat(answers) - torch.from_numpy(truth)).square().sum()), len(truth))

    def answer(self, batch, lengths):
        return self.model(batch, lengths).float().cpu().unbind()

    def targets(self, part, lengths):
        last = torch.stack([torch.arange(len(part)), lengths - 1], dim=1)
        return last, torch.from_numpy(self.truth(self.inputs, part.labels)), {}

    def read_out(self, model, y, lengths, at):
        return model.readout(model.pooling(y, lengths))[:, 0]

    def losses(self, logits, truth):
        return F.mse_loss(logits, truth, reduction="none")
