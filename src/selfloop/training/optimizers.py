"""The optimizers, each as torch has it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from selfloop.options.training import TrainingOptions

Groups = list[dict[str, Any]]
NEVER = 10**12  # ASGD averages after this many steps

_OPTIMIZERS: dict[str, Callable[[Groups, TrainingOptions], torch.optim.Optimizer]] = {
    "adamw": lambda groups, o: torch.optim.AdamW(groups, lr=o.learning_rate, betas=o.betas, fused=True),
    "sgd": lambda groups, o: torch.optim.SGD(groups, lr=o.learning_rate, momentum=o.momentum),
    "asgd": lambda groups, o: torch.optim.ASGD(groups, lr=o.learning_rate, lambd=0.0, t0=NEVER),
}


def make_optimizer(model: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """The optimizer that was chosen, with weight decay on matrices alone."""
    params = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in params if p.dim() >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0},
    ]
    return _OPTIMIZERS[options.optimizer]([g for g in groups if g["params"]], options)


def clip(parameters: Iterable[nn.Parameter], most: float) -> None:
    """Scale gradients down where their norm is above `most`, as `torch.nn.utils.clip_grad_norm_`.

    Gradients of a smaller norm are not multiplied by 1: of a labeller's embeddings that took as long as their norm.
    """
    params = [p for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
    if not float(norm) + 1e-6 <= most:  # torch divides by so much; NaN reaches all gradients
        nn.utils.clip_grads_with_norm_(params, most, norm)


def is_averaging(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the weights are being averaged."""
    return any(group.get("t0", NEVER) < NEVER for group in optimizer.param_groups)


def start_averaging(optimizer: torch.optim.Optimizer) -> None:
    """From the next step on, ASGD averages the weights."""
    for group in optimizer.param_groups:
        steps = [int(optimizer.state[p]["step"]) for p in group["params"] if p in optimizer.state]
        group["t0"] = max(steps, default=0) - 1  # torch weighs a step by the count of the one before


@contextmanager
def averaged(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Within it the model has the averaged weights, if there are any."""
    if not is_averaging(optimizer):
        yield
        return
    params = [p for group in optimizer.param_groups for p in group["params"] if p in optimizer.state]
    own = [p.detach().clone() for p in params]
    with torch.no_grad():
        for p in params:
            p.copy_(optimizer.state[p]["ax"])
    try:
        yield
    finally:
        with torch.no_grad():
            for p, value in zip(params, own, strict=True):
                p.copy_(value)
