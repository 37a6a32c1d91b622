"""What can be chosen about training."""

import math
from typing import Literal

from pydantic import Field, model_validator

from selfloop.config import Section
from selfloop.errors import together
from selfloop.options.sections import Share

DEFAULT_MINUTES = 1.5
"""The budget where none is given."""


class TrainingOptions(Section):
    """How a model is trained. One budget at the most; the learning-rate schedule follows it."""

    minutes: float | None = Field(default=None, gt=0)
    """Train for this many minutes, validation included; 1.5 if no budget is given."""
    epochs: float | None = Field(default=None, gt=0)
    """Train for this many passes through the training data."""
    steps: int | None = Field(default=None, gt=0)
    """Train for this many updates."""
    batch_size: int = Field(default=32, gt=0)
    """Sequences, or streams of text, per update, in all processes together."""
    optimizer: Literal["adamw", "sgd", "asgd"] = "adamw"
    """adamw (Loshchilov & Hutter 2019), sgd, or asgd: SGD that averages the weights once validation stops improving
    (NT-ASGD, Merity et al. 2018)."""
    average: bool = False
    """Validate and keep the average of the weights over about the last tenth of the updates so far, and not the weights
    of the last update (polynomial-decay averaging, Shamir & Zhang 2013). asgd averages in its own way instead."""
    learning_rate: float = Field(default=5e-3, gt=0)
    """The peak learning rate."""
    betas: tuple[Share, Share] = (0.9, 0.99)
    """AdamW's decay rates of its two moments. Tables of half a million numbers or more that are only looked up have the
    second alone."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Weight decay of matrices and embeddings. Vectors have none. Of large tables, a row decays when it moves, for all
    updates since it moved last."""
    momentum: Share = 0.0
    """Momentum of SGD."""
    clip: float = Field(default=1.0, ge=0)
    """Clip the norm of the gradient to this value; 0 for no clipping."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """cosine: the learning rate falls to 0. plateau: it is divided by 4 when validation stops improving. constant: it
    stays."""
    warmup: float = Field(default=0.05, ge=0, le=1)
    """The fraction of the budget in which the learning rate rises from a tenth of its peak to the peak."""
    validations: int = Field(default=10, ge=1)
    """Number of validations during training, evenly spaced over the budget. With a budget of minutes there are fewer
    where they would take more than a fifth of it."""
    patience: int | None = Field(default=None, ge=0)
    """Stop after this many validations without improvement; 0 never stops early. By default a third of them, at least
    3; asgd begins to average instead."""
    save_every: float = Field(default=30.0, gt=0)
    """Seconds between checkpoints. Each validation and the end of training save one too."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 rounds the factors of matrix products to bfloat16; sums and weights stay in float32. auto is bf16 for models
    of 256 units or more on a processor that multiplies bfloat16, and fp32 elsewhere."""
    seed: int = Field(default=1, ge=0, lt=2**63)
    """The random seed of the weights, the order of the examples, dropout, and which examples are held out."""
    seeds: int | None = Field(default=None, ge=2, le=1000)
    """Train this many times on the same data, with --seed and the seeds after it, each with the whole budget."""

    @property
    def stops_after(self) -> float:
        """The validations without improvement after which to stop; infinite where it never stops early.

        >>> TrainingOptions().stops_after, TrainingOptions(patience=0).stops_after
        (4, inf)
        """
        if self.patience is None and self.optimizer != "asgd":
            return max(3, math.ceil(self.validations / 3))
        return self.patience or math.inf

    @model_validator(mode="after")
    def _one_budget(self) -> "TrainingOptions":
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"a run has one budget, but it gives {together(given)}; keep one of them")
        return self


class ExampleTraining(TrainingOptions):
    """How a model of labelled examples is trained."""

    batch_size: int | None = Field(default=None, gt=0)  # type: ignore[assignment]
    """Examples in an update, over all processes together; without it 32, and of fewer than 128 examples about a
    quarter."""


UNKNOWN_EPOCH = "a stream has no known length, so its budget must be of --steps or --minutes"

BUDGETS = ("minutes", "epochs", "steps")
"""The fields that are budgets, of which one can be given."""
