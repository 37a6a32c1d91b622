"""The average of the weights over the updates, of which later ones weigh more: it generalises as if the learning rate
had been lowered at each moment.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from selfloop.kernels.table_rows import average_rows
from selfloop.kernels.torch_internals import lerp_each
from selfloop.training.sparse_gradients import sparse_parameters

ETA = 8
"""Update t counts (ETA + 1) / (t + ETA) in the average, so that this reaches back over about a tenth of the updates so
far (polynomial-decay averaging, Shamir & Zhang 2013)."""


class Average:
    """The average of a model's weights and buffers, which begins with the first `update`.

    Of a table with a sparse gradient, a row is averaged when it is about to change, for all updates since.
    Update t keeps (t − 1) / (t + ETA) of an average, so updates s + 1 to t keep `_volume(s)` / `_volume(t)` of it.

    Args:
        model: it; which of its tables have sparse gradients is asked here.

    Attributes:
        module: a copy of the model with the averages; those of a table's rows are of different updates.
        count: how many updates are averaged.
        volumes: by the name of a table, `_volume` of the update up to which each row is averaged.
    """

    def __init__(self, model: nn.Module) -> None:
        self.module, self.count = copy.deepcopy(model).requires_grad_(False), 0
        self.volumes: dict[str, Tensor] = {}
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []
        self._floating: tuple[list[Tensor], list[Tensor]] = [], []
        self._others: tuple[list[Tensor], list[Tensor]] = [], []
        by_rows = {id(parameter) for parameter in sparse_parameters(model)}
        names = [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]
        for name, value, average in zip(names, _tensors(model), _tensors(self.module), strict=True):
            if id(value) in by_rows:
                self.volumes[name] = torch.zeros(len(value), dtype=torch.float64, device=value.device)
                self._rows.append((value, average, self.volumes[name]))
            else:
                values, averages = self._floating if value.is_floating_point() else self._others
                values.append(value)
                averages.append(average)

    def go_to(self, count: int, volumes: Mapping[str, Tensor]) -> None:
        """Go on after update `count`, with the `volumes` there were."""
        self.count = count
        for name, own in self.volumes.items():
            own.copy_(volumes[name])

    @torch.no_grad()
    def before_step(self) -> None:
        """Average the rows that have a gradient, with the values that the optimizer's next step changes."""
        for value, average, volumes in self._rows:
            if value.grad is not None and self.count:
                rows = value.grad.indices()[0]
                average_rows(average, value, rows, self._weights(volumes.index_select(0, rows), value.dtype))
                volumes.index_fill_(0, rows, _volume(self.count))

    @torch.no_grad()
    def update(self) -> None:
        """Average the weights and buffers as an update has left them."""
        self.count += 1
        values, averages = self._floating
        lerp_each(averages, values, (ETA + 1) / (self.count + ETA))
        _copy(*self._others)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Give the model itself the averages."""
        for value, average, volumes in self._rows:
            value.copy_(average.lerp(value, self._weights(volumes, value.dtype)[:, None]))
        for values, averages in (self._floating, self._others):
            _copy(averages, values)

    def _weights(self, volumes: Tensor, dtype: torch.dtype) -> Tensor:
        """What rows' present values weigh in their averages, which are of updates with these volumes."""
        return (1 - volumes / max(_volume(self.count), 1.0)).to(dtype)


@contextmanager
def with_average(model: nn.Module, average: Average | None) -> Iterator[None]:
    """Within it the model has the averaged weights, if there are any."""
    if average is None:
        yield
        return
    own = [value.detach().clone() for value in _tensors(model)]
    average.copy_to_model()
    try:
        yield
    finally:
        _copy(own, _tensors(model))


def _volume(update: int) -> float:
    """The product t (t + 1) … (t + ETA) of update t."""
    return float(math.prod(range(update, update + ETA + 1)))


@torch.no_grad()
def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
