"""What a trained stack does at every step: gates, states, and how much of each state goes straight on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfloop.inspect.probes import Followed, followed
from selfloop.language.graph import Graph
from selfloop.layers.straight_path import straight_path
from selfloop.tasks.watched import Watched

Values = NDArray[np.float32]

STEPS = 20_000
"""Steps of all sequences that are recorded at the most; of 512 units with five gates and states these are 200 MB."""

SHUT, OPEN = 0.1, 0.9
"""A gate is saturated below the one and above the other."""

LEAST = 1e-6
"""A share of a state that counts as nothing."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer in one direction, at every step of B sequences; NaN beyond their ends.

    Attributes:
        title: ``"layer 1"``, ``"layer 2, backwards"``.
        gates: the values of each, (T, B, n), from 0 to 1: the local variables of the cell's function that a sigmoid
            makes, or that it is taken of, as in ``sigmoid(o) * tanh(c)``.
        states: the new values of each, (T, B, n).
        kept: of each state what goes straight on, (T, B, n), as `straight_path` has it: of an LSTM's c the forget gate.
            States of which nothing does are left out.
    """

    title: str
    gates: Mapping[str, Values]
    states: Mapping[str, Values]
    kept: Mapping[str, Values]

    def time_constants(self, state: str) -> NDArray[np.float64]:
        r"""For how many steps each unit remembers, (n,): $-1 / \ln f$ of the geometric mean of what it keeps.

        It is infinite where a unit keeps all.
        """
        kept = np.abs(self.kept[state]).clip(LEAST, None)
        rate = -np.log(kept).reshape(-1, kept.shape[-1])
        mean = np.nanmean(rate, axis=0)
        with np.errstate(divide="ignore"):
            constants: NDArray[np.float64] = np.where(mean > 0, 1 / mean, np.inf)
        return constants

    def saturation(self, gate: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of each unit of a gate the share of the steps where it is shut, below 0.1, and open, above 0.9."""
        values = self.gates[gate].reshape(-1, self.gates[gate].shape[-1])
        values = values[np.isfinite(values[:, 0])]
        return (values < SHUT).mean(0), (values > OPEN).mean(0)

    @property
    def remembers(self) -> str | None:
        """The state that keeps the most of itself: an LSTM's c. None where none keeps anything."""
        means = {name: float(np.nanmean(np.abs(kept))) for name, kept in self.kept.items()}
        return max(means, key=lambda name: means[name], default=None)

    def order(self) -> NDArray[np.int64]:
        """The units of its first state, or of the one that remembers, those that remember the longest first."""
        state = self.remembers
        if state is None:
            first = next(iter(self.states.values()))
            spread = np.nanstd(first.reshape(-1, first.shape[-1]), axis=0)
            return np.argsort(-spread, kind="stable")
        return np.argsort(-self.time_constants(state), kind="stable")


@dataclass(frozen=True, eq=False)
class Gates:
    """What a stack does on the sequences that a task shows.

    Attributes:
        layers: by the suffix of their weights: ``"_l0"``, ``"_l0_reverse"``.
        followed: the units that follow something that is known of the steps, the most skilled first.
        facts: what is known of each step, (T, B), by name; NaN where it is not.
        steps: for each sequence the text of its steps; none where they are numbers.
        names: of the sequences.
        lengths: of the sequences, (B,).
        unit: what a step is, in the singular.
    """

    layers: Mapping[str, Layer]
    followed: list[Followed]
    facts: Mapping[str, NDArray[np.float64]]
    steps: list[list[str]]
    names: list[str]
    lengths: NDArray[np.int64]
    unit: str


@torch.no_grad()
def gates(watched: Watched, steps: int) -> Gates:
    """Record the gates and states of every layer, and find the units that follow something.

    Args:
        watched: what a task shows of its stack.
        steps: how many of each sequence, at the most.

    Example:
        >>> import selfloop as sl
        >>> x, lengths = torch.randn(20, 2, 3), torch.tensor([20, 12])
        >>> watched = Watched(sl.LSTM(3, 8), x, lengths, "step", ["one", "two"])  # or model.watched(20)
        >>> layer = gates(watched, 20).layers["_l0"]
        >>> sorted(layer.gates), layer.states["c"].shape, layer.time_constants("c").shape
        (['f', 'i', 'o'], (20, 2, 8), (8,))
    """
    rnn = watched.rnn
    T = min(steps, len(watched.x))
    rows = torch.arange(watched.x.shape[1])[: max(2, STEPS // T)]
    lengths = watched.lengths[rows].clamp(max=T)
    graph = rnn.cell.graph.per_step
    is_squashed = _gates(graph)
    vectors = [name for name in graph.states if name in graph.recordable]  # a matrix state is not recorded
    names = tuple(dict.fromkeys([*vectors, *is_squashed, *(n for n in graph.inputs if n in graph.recordable)]))
    start = None if watched.start is None else watched.start.select(rows)
    _, _, seen = rnn(watched.x[:T, rows.to(watched.x.device)], start, lengths=lengths, record=names)
    first = tuple(start or rnn.initial_state(len(rows)))
    there = (torch.arange(T)[:, None] < lengths)[..., None]

    def known(v: Tensor) -> Values:
        values: Values = v.float().cpu().where(there, torch.nan).numpy()
        return values

    layers: dict[str, Layer] = {}
    for place, (suffix, one) in enumerate(rnn._pass_of.items()):
        states = {name: seen[name + suffix] for name in vectors}
        starts = {name: first[k][row] for name, (k, row) in zip(graph.states, one.rows, strict=True)}
        before = _before(states, starts, one.reverse)
        x = seen.get(graph.inputs[0] + suffix)
        path = (
            {} if x is None or len(vectors) < len(graph.states) else straight_path(rnn, suffix, x.flatten(0, 1), before)
        )
        layers[suffix] = Layer(
            title=f"layer {1 + place // len(rnn._passes[0])}" + (", backwards" if one.reverse else ""),
            gates={
                name: known(seen[name + suffix] if done else seen[name + suffix].sigmoid())
                for name, done in is_squashed.items()
            },
            states={name: known(s) for name, s in states.items()},
            kept={name: known(p.view_as(states[name])) for name, p in path.items() if bool(p.any())},
        )
    found = {(suffix, name): s for suffix, layer in layers.items() for name, s in layer.states.items()}
    facts = {name: values[:T, : len(rows)] for name, values in watched.facts.items()}
    return Gates(
        layers=layers,
        followed=followed(found, facts),
        facts=facts,
        steps=[list(watched.steps[row][:T]) for row in rows.tolist()] if watched.steps else [],
        names=[watched.names[row] for row in rows.tolist()],
        lengths=lengths.numpy(),
        unit=watched.unit,
    )


def _gates(graph: Graph) -> dict[str, bool]:
    """The local variables that are gates: True where the sigmoid is in the variable, False where it is taken of it."""
    local = {k: name for name, k in graph.recordable.items() if name not in graph.states}
    sigmoids = {k: node.args[0] for k, node in enumerate(graph.nodes) if node.op == "sigmoid"}
    own = {local[k]: True for k in sigmoids if k in local}
    return own | {local[of]: False for k, of in sigmoids.items() if k not in local and of in local}


def _before(states: Mapping[str, Tensor], first: Mapping[str, Tensor], backwards: bool) -> dict[str, Tensor]:
    """The states before each step, (T · B, n)."""
    found = {}
    for name, s in states.items():
        start = first[name][None].to(s)
        shifted = torch.cat([s[1:], start]) if backwards else torch.cat([start, s[:-1]])
        found[name] = shifted.flatten(0, 1)
    return found
