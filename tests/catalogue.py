"""Every cell once: the zoo, and cells that use what the zoo does not. The contracts hold for each."""

import functools
from dataclasses import dataclass, field
from typing import Any

import torch

import selfloop as sl
from selfloop import cells, outer, param, state
from selfloop.language import Cell


@dataclass(frozen=True)
class Entry:
    """A cell, and the sizes it needs beside x and h."""

    cell: Cell
    sizes: dict[str, int] = field(default_factory=dict)

    def layer(self, input_size=3, hidden_size=4, dtype=torch.float64, **options) -> sl.Recurrent:
        rnn = sl.Recurrent(self.cell, input_size, hidden_size, dtype=dtype, **self.sizes, **options)
        with torch.no_grad():
            for weight in rnn.parameters():
                weight.normal_(std=0.5)  # vectors and scalars start at 0, where gradients can hide
        return rnn

    def further(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Further inputs beside x (T, B, 3): numbers from 0 to 1, a mask of zeros and ones."""
        sizes = {"": 1, "x": 3, **self.sizes}
        names = [*self.cell.inputs.items()][1:]
        drawn = {name: torch.rand(*x.shape[:2], size.value(sizes), dtype=x.dtype) for name, size in names}
        return {name: v.round() if name == "mask" else v for name, v in drawn.items()}

    @property
    def can_stack(self) -> bool:
        """Whether the cell takes an input of its output's size: not where a state has the input's size."""
        graph = self.cell.graph
        return not any("x" in size.names for name in graph.states for size in graph.shape(name))

    @property
    def has_other_gradient(self) -> bool:
        """Whether its gradient is meant to be another than that of its values."""
        return any(node.op in ("spike", "stop_gradient") for node in self.cell.graph.nodes)

    def __str__(self) -> str:
        return self.cell.name


@sl.cell
def layer_norm_lstm(x, h, c, *, W=param("4h x"), U=param("4h h"), gain=param("4h", init=1), b=param("4h")):
    i, f, g, o = sl.split(gain * sl.layer_norm(W @ x + U @ h) + b, 4)
    c = sl.sigmoid(f + 1) * c + sl.sigmoid(i) * sl.tanh(g)
    h = sl.sigmoid(o) * sl.tanh(sl.rms_norm(c))
    return h, c


@sl.cell
def reset_before(x, h, *, W=param("2h h+x"), V=param("h h+x")):
    """A GRU that resets before its product (Cho et al. 2014): the second product is a stage of its own."""
    r, z = sl.split(sl.sigmoid(W @ sl.concat(h, x)), 2)
    n = sl.tanh(V @ sl.concat(r * h, x))
    h = z * h + (1 - z) * n
    return h


@sl.cell
def deep_transition(x, h, *, W=param("h x"), U=param("h h"), V=param("h h"), R=param("h h")):
    h = sl.relu(W @ x + U @ h)
    for matrix in (V, R):
        h = sl.tanh(matrix @ h) + 0.5 * h
    return h


@sl.cell
def independent(x, h, *, W=param("h x"), u=param("h"), a=param("", init=0.5)):
    """An IndRNN with a learned leak: no matrix on the state, and a scalar parameter."""
    h = a * sl.softplus(W @ x + u * h) + (1 - a) * h
    return h


@sl.cell
def leaky(x, h=state("x")):
    """No parameter at all."""
    h = 0.9 * h + x / 10
    return h


@sl.cell
def clipped(x, h, m, *, W=param("h x"), U=param("h h"), key=param("h")):
    """Comparisons, reductions and clipping; one state is the softmax of the other."""
    s = W @ x + U @ h
    s = sl.where(s > 0.1, s, sl.minimum(0.3 * s, sl.abs(s)))
    s = sl.where(sl.sum(m * key) <= 0, s, sl.clip(s, -1, 1))
    h = sl.maximum(s, -2) - sl.mean(s) * sl.silu(m)
    m = sl.softmax(h)
    return h, m


@sl.cell
def waves(x, h, c=state("k"), *, W=param("h x"), U=param("k h"), V=param("h k")):
    """The other functions, and a state of another size."""
    v = sl.sin(W @ x) + sl.cos(h)
    c = sl.exp(-sl.gelu(U @ v)) / (1 + sl.sqrt(c * c + 1)) + sl.log(c * c + 2)
    h = V @ c
    return h, c


@sl.cell
def feedforward(x, h, *, W=param("h x")):
    """The new state does not depend on the old one."""
    h = sl.where(W @ x >= 0, W @ x, -1)
    h = sl.where(h < 0.5, h, 2 - h)
    return h


@sl.cell
def autonomous(x, h, *, U=param("h h"), b=param("h")):
    """The new state does not depend on the input."""
    h = sl.tanh(U @ h + b)
    return h


@sl.cell
def delayed(x, h, before, fixed, *, W=param("h x"), U=param("h h"), b=param("h")):
    """A state that hands on another, and one that sees neither input nor state."""
    new = sl.tanh(W @ x + U @ before * fixed)
    return new, h, b


@sl.cell
def ordered(x, h, c, *, W=param("2h h+x"), V=param("2h h+x"), U=param("h h+x")):
    """Gates that are cumulative sums of a softmax, as of ordered neurons (Shen et al. 2019), and sums over a joint."""
    both = sl.concat(h, x)
    forget, admit = sl.split(W @ both, 2)
    forget, admit = sl.cumsum(sl.softmax(forget)), 1 - sl.cumsum(sl.softmax(admit))
    f, o = sl.split(sl.sigmoid(V @ (sl.cumsum(both) / 4)), 2)
    overlap = forget * admit
    c = (f * overlap + (forget - overlap)) * c + admit * sl.tanh(U @ both)
    h = o * sl.erf(c)
    return h, c


@sl.cell
def powers(x, h, *, W=param("h x"), U=param("h h"), a=param("", init=0.5)):
    """Whole powers, and steps that have no derivative."""
    s = W @ x + U @ h
    h = sl.tanh(s**3 - s**2 + a**2 + (s**2 + 1) ** -2) + 0.1 * sl.floor(4 * s) ** 1 + s**0
    return h


@sl.cell
def spiking(x, v, s, n=sl.state("1"), *, W=param("h 2h+1"), U=param("h h"), A=param("2h x"), tau=param("", init=0.9)):
    """Leaky integrators that fire, vectors cut into unequal parts, scalars among vectors, and remainders."""
    current, trace = sl.split(sl.concat(A @ x, 0.5), ("h", "h+1"))
    v = tau * v * (1 - sl.stop_gradient(s)) + W @ sl.concat(current, trace) + U @ s
    s = sl.spike(v - 0.3, slope=2) * (1 + sl.sum(n) % 3 / 4)
    return v + sl.tanh(sl.sum(trace)), s, n + sl.concat(sl.mean(current)) + 1


@sl.cell
def headed(
    x, h, c=state("k"), *, W=param("2k x"), U=param("2k k", heads="heads"), D=param("k k", heads=3), R=param("h k")
):
    """Block-diagonal matrices: two of a size's number of heads, one above the other, and one of three."""
    a, g = sl.split(W @ x + U @ c, 2)
    c = sl.tanh(a + D @ (sl.sigmoid(g) * c))
    h = 0.5 * h + R @ c
    return h, c


@sl.cell
def associative(x, h, C=state("h k"), *, W=param("h x"), U=param("k h"), V=param("k x"), M=param("h k"), a=param("")):
    """A matrix that forgets by a matrix of weights, is cut in places, and is read from both sides."""
    key = sl.tanh(U @ h + V @ x)
    C = sl.clip(sl.sigmoid(M) * C + outer(W @ x, key), -2, 2)
    C = sl.where(C > 0, C, a * C) / sl.sum(key * key + 0.5)
    h = sl.tanh(C @ key + U.T @ (C.T @ h) + sl.stop_gradient(-C) @ sl.split(U @ h, ("k",))[0])
    return h, C


OWN = (
    Entry(layer_norm_lstm),
    Entry(reset_before),
    Entry(deep_transition),
    Entry(independent),
    Entry(leaky),
    Entry(clipped),
    Entry(waves, {"k": 5}),
    Entry(feedforward),
    Entry(autonomous),
    Entry(delayed),
    Entry(ordered),
    Entry(powers),
    Entry(spiking),
    Entry(headed, {"k": 6, "heads": 2}),
)
FUSED = (
    Entry(cells.gru),
    Entry(cells.lstm),
    Entry(cells.projected_lstm, {"p": 2}),
    Entry(cells.vanilla),
    Entry(cells.vanilla_relu),
)
"""Those that torch has a function for."""
ZOO = (
    *FUSED,
    Entry(cells.antisymmetric),
    Entry(cells.cifg_lstm),
    Entry(cells.cornn),
    Entry(cells.fastgrnn),
    Entry(cells.gru_reset_before),
    Entry(cells.indrnn),
    Entry(cells.janet),
    Entry(cells.layer_norm_lstm),
    Entry(cells.lem),
    Entry(cells.lif),
    Entry(cells.lmu, {"d": 5}),
    Entry(cells.mgu),
    Entry(cells.min_gru),
    Entry(cells.min_lstm),
    Entry(cells.mogrifier_lstm),
    Entry(cells.multiplicative_lstm),
    Entry(cells.on_lstm),
    Entry(cells.peephole_lstm),
    Entry(cells.recurrent_highway),
    Entry(cells.scrn, {"s": 2}),
    Entry(cells.slstm),
    Entry(cells.sru),
    Entry(cells.ugrnn),
)
CELLS = ZOO + OWN
WITH_FURTHER_INPUTS = (
    Entry(cells.cfc, {"k": 5}),
    Entry(cells.ea_lstm, {"s": 2}),
    Entry(cells.gru_d),
    Entry(cells.phased_lstm),
    Entry(cells.time_lstm),
)
"""Cells of the zoo that are not called with x alone."""

WITH_MATRIX_STATES = (
    Entry(cells.delta_net),
    Entry(cells.fast_weights),
    Entry(cells.mlstm),
)
"""Cells of the zoo that run by the interpreter alone, until they are exported."""
INTERPRETED = (*WITH_MATRIX_STATES, Entry(associative, {"k": 5}))
ANY = CELLS + INTERPRETED
"""All that are called with x alone."""
EVERY_CELL = ANY + WITH_FURTHER_INPUTS
"""All there are."""

STAGES = ("lstm", "gru", "reset_before", "clipped", "waves", "ordered", "slstm", "indrnn")
"""Cells that together use every kind of stage."""

TOLERANCE = {torch.float64: {"rtol": 1e-9, "atol": 1e-11}, torch.float32: {"rtol": 1e-4, "atol": 2e-6}}


def assert_close(got: torch.Tensor, expected: torch.Tensor, **tolerance: float) -> None:
    """Equal to within the tolerance of the dtype, or the one given."""
    torch.testing.assert_close(got, expected, **TOLERANCE[got.dtype] | tolerance)


def everything(rnn: sl.Recurrent, x: torch.Tensor, start: sl.State, run) -> list[torch.Tensor]:
    """Output, final states, and the gradients of input, initial state and parameters, of a weighing of them all."""
    x, *states = (v.detach().clone().requires_grad_() for v in (x, *start))
    y, final = run(x, sl.State(**dict(zip(start.tensors, states, strict=True))))
    outputs, generator = [y, *final], torch.Generator().manual_seed(1)
    weights = (torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in outputs)
    loss = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
    leaves = [x, *states, *rnn.parameters()]
    return outputs + list(torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True))


def outputs_and_gradients(
    rnn: sl.Recurrent,
    backend: str,
    x: torch.Tensor,
    further: dict[str, torch.Tensor],
    *,
    materialize_grads: bool = False,
    **options: Any,
) -> list[torch.Tensor]:
    """Outputs, last states, what is recorded, and the gradients of all inputs and weights, by one backend."""
    rnn.backend = backend
    of = [x.clone().requires_grad_(), *(v.clone().requires_grad_() for v in further.values())]
    torch.manual_seed(3)
    y, final, *recorded = rnn(of[0], **dict(zip(further, of[1:], strict=True)), **options)
    values = [y, *final, *(v for seen in recorded for v in seen.values())]
    torch.manual_seed(2)
    total = sum((v * torch.randn_like(v)).sum() for v in values)
    return values + list(torch.autograd.grad(total, (*of, *rnn.parameters()), materialize_grads=materialize_grads))


def ragged(T: int, B: int) -> dict[str, Any]:
    """Lengths and resets: every length that is special, and resets at the first step, the last and two in a row."""
    lengths = [min(T, n) for n in (T, 1, 0, T, 2, T - 1, 3)][:B] + [T] * (B - 7)
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[0, 0] = resets[T - 1, 0] = True
    resets[1:3, min(3, B - 1)] = True
    return {"lengths": lengths, "resets": resets}


@functools.cache
def operations() -> set[str]:
    """Every operation that some cell here uses."""
    return {node.op for entry in CELLS for node in entry.cell.graph.nodes}
