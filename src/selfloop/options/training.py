"""What can be chosen about training."""

from typing import Literal

from pydantic import Field, model_validator

from selfloop.config import Section
from selfloop.options.sections import Share

DEFAULT_MINUTES = 1.5
"""The budget where none is given."""


class TrainingOptions(Section):
    """How a model is trained. One budget at the most; the learning-rate schedule follows it."""

    minutes: float | None = Field(default=None, gt=0)
    """Train for so many minutes, validation on the way included; 1.5 if no budget is given."""
    epochs: float | None = Field(default=None, gt=0)
    """Train for so many passes through the data."""
    steps: int | None = Field(default=None, gt=0)
    """Train for so many updates."""
    batch_size: int = Field(default=32, gt=0)
    """Sequences, or streams of text, in an update, over all processes together."""
    optimizer: Literal["adamw", "sgd", "asgd"] = "adamw"
    """adamw (Loshchilov & Hutter 2019), sgd, or asgd: SGD that averages the weights from when validation has stopped
    improving, as NT-ASGD (Merity et al. 2018)."""
    learning_rate: float = Field(default=5e-3, gt=0)
    """The learning rate at its highest."""
    betas: tuple[Share, Share] = (0.9, 0.99)
    """AdamW's."""
    weight_decay: float = Field(default=0.1, ge=0)
    """On matrices and tables; vectors are left alone."""
    momentum: Share = 0.0
    """SGD's."""
    clip: float = Field(default=1.0, ge=0)
    """The largest norm of the gradient; 0 for no clipping."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """cosine falls from the learning rate to 0; plateau quarters it when validation stops improving; constant."""
    warmup: float = Field(default=0.05, ge=0, le=1)
    """The share of the budget in which the learning rate grows from a tenth to the whole."""
    validations: int = Field(default=10, ge=1)
    """How many times to validate on the way, evenly over the budget."""
    patience: int = Field(default=0, ge=0)
    """Stop after this many validations without improvement; 0 never stops early."""
    save_every: float = Field(default=30.0, gt=0)
    """Seconds between checkpoints; there is one at each validation and at the end besides."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes products in bfloat16 and keeps weights in float32."""
    seed: int = Field(default=1, ge=0, lt=2**63)
    """Of everything random."""

    @model_validator(mode="after")
    def _one_budget(self) -> "TrainingOptions":
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"a run has one budget, but it gives {' and '.join(given)}; keep one of them")
        return self


BUDGETS = ("minutes", "epochs", "steps")
"""The fields that are budgets, of which one can be given."""
