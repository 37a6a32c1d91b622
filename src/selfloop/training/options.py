"""What can be chosen about training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from selfloop.config import Section

Share = Annotated[float, Field(ge=0, lt=1)]


class TrainingOptions(Section):
    """How a model is trained. One budget at the most; the learning-rate schedule follows it.

    Attributes:
        minutes: train for this long, validation on the way included.
        epochs: train for this many passes through the data.
        steps: train for this many updates.
        batch_size: sequences, or streams of text, in an update, over all processes together.
        optimizer: ``adamw`` (Loshchilov & Hutter 2019); ``sgd``; ``asgd``, which is SGD that averages the weights from
            when validation has stopped improving, as NT-ASGD (Merity et al. 2018).
        learning_rate: at its highest.
        betas: AdamW's.
        weight_decay: on matrices and tables; vectors are left alone.
        momentum: SGD's.
        clip: the largest norm of the gradient; 0 for no clipping.
        schedule: ``cosine`` from learning_rate to 0; ``plateau`` quarters it when validation stops improving;
            ``constant``.
        warmup: the share of the budget in which the learning rate grows from 0.
        validations: how many times to validate on the way, evenly over the budget.
        patience: stop after this many validations without improvement; 0 never stops early.
        save_every: seconds between checkpoints; there is one at each validation and at the end besides.
        precision: ``bf16`` computes products in bfloat16 and keeps weights in float32.
        seed: of everything random.
    """

    minutes: float | None = Field(default=None, gt=0)
    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    batch_size: int = Field(default=32, gt=0)
    optimizer: Literal["adamw", "sgd", "asgd"] = "adamw"
    learning_rate: float = Field(default=5e-3, gt=0)
    betas: tuple[Share, Share] = (0.9, 0.99)
    weight_decay: float = Field(default=0.1, ge=0)
    momentum: Share = 0.0
    clip: float = Field(default=1.0, ge=0)
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    warmup: float = Field(default=0.05, ge=0, le=1)
    validations: int = Field(default=10, ge=1)
    patience: int = Field(default=0, ge=0)
    save_every: float = Field(default=30.0, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = Field(default=1, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _one_budget(self) -> "TrainingOptions":
        given = [name for name in ("minutes", "epochs", "steps") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"a run has one budget, but it gives {' and '.join(given)}; keep one of them")
        return self
