"""What of a state a step hands straight on to itself: the path that gates open and close."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from selfloop.kernels import interpret
from selfloop.kernels.problem import Problem
from selfloop.language.graph import Graph, Node
from selfloop.layers.recurrent import Recurrent

MIXES = frozenset({"matmul", "sum", "mean", "amax", "cumsum"})
"""The operations through which one unit reaches others."""


def straight_path(
    rnn: Recurrent, suffix: str, x: Float[Tensor, "N I"], before: Mapping[str, Float[Tensor, "N _"]]
) -> dict[str, Float[Tensor, "N _"]]:
    r"""How much of each unit's state goes straight on: its derivative by the unit's own state before the step.

    What passes through a product, a sum or a mean is held fixed, since it reaches other units, too. Of an LSTM
    this is the forget gate: $\partial c_t / \partial c_{t-1} = f_t$ (Hochreiter & Schmidhuber 1997; Gers et al. 2000);
    of a GRU it is z; of a vanilla RNN nothing. With a path of f at every step, a unit remembers for about
    $-1 / \ln f$ steps.

    Args:
        rnn: the stack.
        suffix: which layer and direction, as in the names of its weights: ``"_l0"``, ``"_l1_reverse"``.
        x: what the layer reads at N steps.
        before: its states before these steps.

    Returns:
        For each state the derivatives.

    >>> from selfloop import cells
    >>> rnn = Recurrent(cells.lstm, 3, 5)
    >>> y, _, seen = rnn(torch.randn(7, 1, 3), record=("x", "f", "h", "c"))
    >>> x, f, h, c = (v[:, 0].detach() for v in seen.values())
    >>> path = straight_path(rnn, "_l0", x[1:], {"h": h[:-1], "c": c[:-1]})
    >>> torch.testing.assert_close(path["c"], f[1:])
    >>> bool(path["h"].any())
    False
    """
    graph = _without_mixing(rnn._graph(training=False, names=()))
    with torch.enable_grad():
        old = tuple(before[name].detach().requires_grad_() for name in graph.states)
        weights = {name: w.detach() for name, w in rnn._weights(suffix).items()}
        _, new = interpret.run(Problem(graph, weights, x.detach()[None], old))
        paths = [
            torch.autograd.grad(s.sum(), own, allow_unused=True, materialize_grads=True, retain_graph=True)[0]
            if s.requires_grad
            else torch.zeros_like(own)
            for s, own in zip(new, old, strict=True)
        ]
    return dict(zip(graph.states, paths, strict=True))


@lru_cache(maxsize=32)
def _without_mixing(graph: Graph) -> Graph:
    """The same step, with no gradient through what mixes units."""
    nodes: list[Node] = []
    place: list[int] = []
    for node in graph.nodes:
        nodes.append(replace(node, args=tuple(place[a] for a in node.args)))
        if node.op in MIXES:
            nodes.append(Node("stop_gradient", (len(nodes) - 1,), node.shape))
        place.append(len(nodes) - 1)
    return replace(graph, nodes=tuple(nodes), outputs=tuple(place[k] for k in graph.outputs), names={})
