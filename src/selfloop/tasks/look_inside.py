"""What a run's model reads, and how the model was before its training: for `selfloop.inspect`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from selfloop.data.batches import pad
from selfloop.data.examples import Examples
from selfloop.language import Cell
from selfloop.layers import Recurrent
from selfloop.models import ManyToMany, ManyToOne, NumberEncoder
from selfloop.tasks.inputs import Inputs

WATCHED = 16
"""Sequences, at the most, that are read side by side to look inside."""

Model = TypeVar("Model", bound=nn.Module)


def as_made(build: Callable[[], Model], seed: int) -> Model:
    """A model as it was before its training, in evaluation mode; what is random elsewhere is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


class OfExamples(Protocol):
    """A classifier or a labeller."""

    inputs: Inputs
    config: Any

    @property
    def model(self) -> ManyToOne | ManyToMany:
        """The network."""

    def build(self, options: Any, inputs: Inputs, cell: Cell) -> Any:
        """The network, with fresh weights."""

    def parts(self) -> Mapping[str, Examples]:
        """The run's own examples."""


@torch.no_grad()
def recurrent_inputs(opened: OfExamples, steps: int, fresh: bool) -> tuple[Recurrent, torch.Tensor]:
    """The recurrent stack, and what it reads of the run's longest validation examples.

    Args:
        opened: the run.
        steps: T at the most, at least 1; examples that are shorter give fewer.
        fresh: of the model as it was made, with the run's seed, before its training.

    Returns:
        The stack, and vectors (T, B, I) of up to 16 examples.

    Raises:
        DataError: the examples cannot be read.
    """
    model, config = opened.model, opened.config
    device = next(model.parameters()).device
    if fresh:
        build = partial(opened.build, config.model, opened.inputs, model.rnn.cell)
        made = as_made(build, config.training.seed).to(device)
        if isinstance(made.encoder, NumberEncoder):  # it knew the scale of the numbers from the beginning
            made.encoder.load_state_dict(model.encoder.state_dict())
        model = made
    longest = sorted(opened.inputs.arrays(opened.parts()["valid"]), key=len)[-WATCHED:]
    batch, _ = pad([array[: min(steps, len(longest[0]))] for array in longest])
    return model.rnn, model.encoder(batch.to(device))
