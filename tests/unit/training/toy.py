"""A task whose model, gradients and validations are known beforehand."""

from collections.abc import Sequence

import torch
from torch import nn

from selfloop.layers import State


class Straight(nn.Module):
    """A matrix and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.full((2, 3), 0.5))
        self.vector = nn.Parameter(torch.full((3,), 0.25))

    def forward(self, x):
        return x @ self.matrix + self.vector


class Toy:
    """A task that says what it was asked.

    Args:
        gradient: of every parameter at every step; None for noise, a draw of torch's.
        valid: the loss of each validation.
        scores: the accuracy of each validation; with these, they choose the best weights.
    """

    def __init__(
        self,
        gradient: float | None = 0.1,
        valid: Sequence[float] = (),
        steps_per_epoch: int = 10,
        text: str = "a",
        scores: Sequence[float] = (),
    ) -> None:
        self.scores, self.best_by = scores, "accuracy" if scores else "loss"
        self.model = Straight()
        self.gradient, self.valid, self.steps_per_epoch, self.text = gradient, list(valid), steps_per_epoch, text
        self.at_validation: list[dict[str, torch.Tensor]] = []
        self.at_step: list[dict[str, torch.Tensor]] = []
        self.carries: list[float] = []

    def loss(self, model, step, share, carry):
        self.at_step.append(weights(self.model))
        drawn = torch.rand(()) if self.gradient is None else torch.tensor(self.gradient)
        state = State(h=torch.full((1, 4, 2), float(step))) if carry is None else carry
        self.carries.append(state.h[0, 0, 0].item())
        loss = drawn * sum(p.sum() for p in model.parameters())
        return loss, 8, State(h=state.h + drawn.detach())

    def validate(self, model):
        self.at_validation.append(weights(self.model))
        loss = self.valid[len(self.at_validation) - 1] if self.valid else 1 / len(self.at_validation)
        scores = {"accuracy": self.scores[len(self.at_validation) - 1]} if self.scores else {}
        return {"loss": loss, "perplexity": loss, **scores}

    def position(self):
        return {}

    def go_to(self, position):
        raise AssertionError("a toy has no position")

    def facts(self):
        return {"text": self.text}


class Watcher:
    """A listener that stops the run at a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.asked = stop_at, 0
        self.validations = []

    def reported(self, report):
        pass

    def validated(self, metrics, best):
        self.validations.append((metrics, best))

    def stop(self):
        self.asked += 1
        return self.asked == self.stop_at


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}
