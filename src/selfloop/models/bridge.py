"""From what was read or seen to the first state of a decoder."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from selfloop.layers import Recurrent, State


class Bridge(nn.Module):
    """A first state for each layer of a stack: tanh(W v + b) for each state of the cell (Bahdanau et al. 2015, A.2.2).

    Args:
        sizes: features of the vectors that each state of the cell is made from.
        rnn: the stack that starts from it, in one direction.

    >>> from selfloop import cells
    >>> bridge = Bridge({"h": 3, "c": 5}, Recurrent(cells.lstm, 4, 8))
    >>> bridge({"h": torch.zeros(1, 2, 3), "c": torch.zeros(1, 2, 5)})
    State(h=(1, 2, 8), c=(1, 2, 8))
    """

    def __init__(self, sizes: Mapping[str, int], rnn: Recurrent) -> None:
        super().__init__()
        first = rnn.zero_state(1).tensors
        self.shapes = {name: zeros.shape[2:] for name, zeros in first.items()}
        self.layers = nn.ModuleDict(
            {
                name: nn.ModuleList(nn.Linear(sizes[name], shape.numel()) for _ in range(rnn.num_layers))
                for name, shape in self.shapes.items()
            }
        )

    def forward(self, vectors: Mapping[str, Float[Tensor, "L B _"]]) -> State:
        """The state, from a vector for each state and layer."""
        return State(
            **{
                name: torch.stack([layer(v) for layer, v in zip(layers, vectors[name], strict=True)])  # type: ignore[call-overload]
                .tanh()
                .unflatten(-1, self.shapes[name])
                for name, layers in self.layers.items()
            }
        )
