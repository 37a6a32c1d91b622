"""The average of the weights over the updates, of which later ones weigh more: it generalises as if the learning rate
had been lowered at each moment.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from selfloop.kernels.torch_internals import lerp_each

ETA = 8
"""Update t counts (ETA + 1) / (t + ETA) in the average, so that this reaches back over about a tenth of the updates so
far (polynomial-decay averaging, Shamir & Zhang 2013)."""


def average_of(model: nn.Module) -> AveragedModel:
    """The average of a model's weights and buffers, which begins with the first `update_parameters`."""
    return AveragedModel(model, multi_avg_fn=_average, use_buffers=True)


@contextmanager
def with_average(model: nn.Module, average: AveragedModel | None) -> Iterator[None]:
    """Within it the model has the averaged weights, if there are any."""
    if average is None:
        yield
        return
    values, averages = _tensors(model), _tensors(average.module)
    own = [value.detach().clone() for value in values]
    _copy(averages, values)
    try:
        yield
    finally:
        _copy(own, values)


@torch.no_grad()
def _average(averages: Any, values: Any, count: Tensor | int) -> None:
    """Tensors of one dtype, in place: new ones for each update took as long as AdamW."""
    if values[0].is_floating_point():
        lerp_each(averages, values, (ETA + 1) / (int(count) + 1 + ETA))
    else:
        _copy(values, averages)


@torch.no_grad()
def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
