"""Run a Graph with torch, one step at a time, on any device and dtype: the truth that kernels are compared with.

What does not depend on the state is made for all steps before the loop.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from selfloop.kernels.problem import Output, Problem
from selfloop.kernels.random import bernoulli
from selfloop.language.graph import LEAVES, Graph, Node, ancestors


def _part(v: Tensor, start: int, end: int) -> Tensor:
    return v[..., start:end]


def _concat(*vectors: Tensor) -> Tensor:
    vectors = tuple(v if v.dim() else v[None] for v in vectors)  # a number
    batch = max((v.shape[:-1] for v in vectors), key=len)  # a parameter has none
    return torch.cat([v.expand(*batch, v.shape[-1]) for v in vectors], dim=-1)


def _matmul(matrix: Tensor, v: Tensor) -> Tensor:
    return F.linear(v, matrix) if matrix.dim() == 2 else (matrix @ v.unsqueeze(-1)).squeeze(-1)  # the same for all rows


def _spike(v: Tensor, slope: float) -> Tensor:
    """A step, whose gradient is that of another function: one whose value is always zero."""
    step = torch.where(v.isnan(), v, (v > 0).to(v.dtype)).detach()
    bounded = v.minimum(v.new_tensor(1e15)).maximum(v.new_tensor(-1e15))  # beyond, the gradient is as good as zero
    return step + (bounded - bounded.detach()) / (1 + slope * v.detach().abs()) ** 2


def _block_diagonal(weight: Tensor, stacked: int, heads: int) -> Tensor:
    """Matrices one below the other, each with its blocks on its diagonal."""
    if heads == 1:
        return weight
    return torch.cat([torch.block_diag(*blocks) for blocks in weight.unflatten(0, (stacked, heads, -1))])


VALUES: dict[str, Callable[..., Tensor]] = {
    "neg": operator.neg,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "matmul": _matmul,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "exp": torch.exp,
    "log": torch.log,
    "softplus": lambda v: torch.logaddexp(v, torch.zeros_like(v)),
    "gelu": F.gelu,
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "floor": torch.floor,
    "stop_gradient": torch.Tensor.detach,
    "spike": _spike,
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "where": torch.where,
    "sum": lambda v: v.sum(-1, keepdim=True),
    "mean": lambda v: v.mean(-1, keepdim=True),
    "amax": lambda v: v.amax(-1, keepdim=True),
    "cumsum": lambda v: v.cumsum(-1),
    "concat": _concat,
    "part": _part,
    "block_diagonal": _block_diagonal,
    "outer": lambda a, b: a.unsqueeze(-1) * b.unsqueeze(-2),
    "transpose": lambda matrix: matrix.mT,
}
"""The value of each operation of the language, on tensors whose last dimension is the vector, or last two a matrix."""


def refusal(problem: Problem) -> str | None:
    """The interpreter refuses nothing."""
    return None


def run(problem: Problem) -> Output:
    """The outputs and the final state."""
    graph, x, state = problem.graph, problem.x, problem.state
    steps, batch = x.shape[:2]
    sizes = problem.sizes
    values: list[Tensor | None] = [None] * len(graph.nodes)
    values[graph.leaves[graph.input]] = x
    for name, weight in problem.params.items():
        values[graph.leaves[name]] = weight
    if graph.is_random:
        assert problem.seed is not None
        for k, node in enumerate(graph.nodes):
            if node.op == "bernoulli":
                size = node.shape[0].value(sizes)
                drawn = bernoulli(problem.seed, *node.drawn, steps, batch, size)
                values[k] = drawn.to(x)
    inside = in_loop(graph)
    hoisted = sorted({*range(len(graph.nodes))} - {*inside})
    _evaluate(graph.nodes, sizes, hoisted, values, x)
    varies = [k for k in hoisted if not graph.constant[k]]
    active, zeroed = problem.active, _zeroed(problem)
    outputs: list[Tensor] = []
    for t in reversed(range(steps)) if problem.reverse else range(steps):
        now = list(values)
        for k in varies:
            now[k] = _known(values[k])[t]
        if zeroed is not None:
            state = tuple(s.masked_fill(_rows(zeroed[t], s), 0) for s in state)
        for name, s in zip(graph.states, state, strict=True):
            now[graph.leaves[name]] = s
        _evaluate(graph.nodes, sizes, inside, now, x)
        new = tuple(_known(now[k]).to(old.dtype).expand_as(old) for k, old in zip(graph.outputs, state, strict=True))
        if active is not None:
            outputs.append(torch.where(active[t, :, None], new[0], 0))
            state = tuple(torch.where(_rows(active[t], n), n, old) for n, old in zip(new, state, strict=True))
        else:
            outputs.append(new[0])
            state = new
    if problem.reverse:
        outputs.reverse()
    return torch.stack(outputs) if outputs else state[0].new_zeros(0, *state[0].shape), state


def in_loop(graph: Graph) -> list[int]:
    """The nodes that each step makes: what depends on a state, and matrices, which for all steps would take memory."""
    found: set[int] = set()
    for k, node in enumerate(graph.nodes):
        is_own = graph.stepwise[k] or (len(node.shape) == 2 and not graph.constant[k])
        if is_own or any(a in found for a in node.args):
            found.add(k)
    return sorted(found)


def _rows(mask: Tensor, state: Tensor) -> Tensor:
    """A mark for each row, beside the elements of a state's rows."""
    return mask.view(-1, *[1] * (state.dim() - 1))


def made_once(graph: Graph, params: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """The parameters of `graph.per_step`: those of a cell, and the matrices that they make.

    Args:
        graph: the cell.
        params: its parameters.
        sizes: the numbers of its named sizes, those of heads at least.
    """
    if graph.per_step is graph:
        return dict(params)
    values: list[Tensor | None] = [None] * len(graph.nodes)
    for name, weight in params.items():
        values[graph.leaves[name]] = weight
    like = next(iter(params.values()))
    _evaluate(graph.nodes, sizes, ancestors(graph.nodes, graph.matrices.values()), values, like)
    made = {name: _known(values[k]) for name, k in graph.matrices.items()}
    return {name: params[name] if name in params else made[name] for name in graph.per_step.params}


def _evaluate(
    nodes: Sequence[Node],
    sizes: Mapping[str, int],
    which: Iterable[int],
    values: list[Tensor | None],
    like: Tensor,
) -> None:
    """Fill in the values of these nodes, in order; the leaves are there already, but for constants."""
    for k in which:
        node = nodes[k]
        if node.op == "const":
            values[k] = torch.tensor(node.value, dtype=like.dtype, device=like.device)
        elif node.op not in LEAVES:
            args = [_beside(values[a], nodes[a], node) for a in node.args]
            values[k] = VALUES[node.op](*args, *node.options(sizes))


def _beside(value: Tensor | None, node: Node, user: Node) -> Tensor | None:
    """An argument; a scalar, which has a last dimension of one, gets another beside a matrix."""
    if len(user.shape) != 2 or len(node.shape) != 0 or value is None or value.dim() == 0:
        return value
    return value[..., None]


def _zeroed(problem: Problem) -> Tensor | None:
    """Before which steps, in the order in which they are walked, the state is zeroed."""
    if problem.resets is None or not problem.reverse:
        return problem.resets
    return torch.cat([problem.resets[1:], torch.zeros_like(problem.resets[:1])])


def _known(value: Tensor | None) -> Tensor:
    assert value is not None
    return value
