"""A batch of sequences is each example, step by step, by a loop that hoists nothing and knows no batch."""

import pytest
import torch
from catalogue import ANY, Entry, assert_close
from hypothesis import given
from hypothesis import strategies as st

import selfloop as sl
from selfloop import param
from selfloop.kernels import interpret


def one_step(graph, params, x, state):
    """One step on one example, node after node."""
    values = []
    names = graph.input, *graph.states, *params
    sizes = graph.solve({n: tuple(v.shape) for n, v in zip(names, (x, *state, *params.values()), strict=True)})
    known = {graph.input: x, **dict(zip(graph.states, state, strict=True)), **params}
    for node in graph.nodes:
        if node.op == "const":
            values.append(torch.tensor(node.value, dtype=x.dtype))
        elif not node.args:
            values.append(known[node.value])
        elif node.op == "matmul":
            values.append(values[node.args[0]] @ values[node.args[1]])
        else:
            values.append(interpret.VALUES[node.op](*(values[a] for a in node.args), *node.options(sizes)))
    return [values[k] for k in graph.outputs]


def assert_a_batch_is_each_example(entry):
    rnn = entry.layer().requires_grad_(False)
    x = torch.randn(4, 3, 3, dtype=torch.float64)
    y, final = rnn(x)
    params = {name: getattr(rnn, f"{name}_l0").detach() for name in entry.cell.graph.params}
    for row in range(3):
        state = [s[0, 0] for s in rnn.zero_state(1)]
        for t in range(4):
            state = one_step(entry.cell.graph, params, x[t, row], state)
            assert_close(y[t, row], state[0])
        for s, expected in zip(final, state, strict=True):
            assert_close(s[0, row], expected)


@pytest.mark.parametrize("entry", ANY, ids=str)
def test_a_batch_is_each_example_step_by_step(entry):
    assert_a_batch_is_each_example(entry)


PHRASES = {
    "negate": lambda v, w, b, U: -v,
    "add": lambda v, w, b, U: v + w,
    "subtract": lambda v, w, b, U: 1 - v,
    "multiply": lambda v, w, b, U: sl.tanh(v) * w,
    "divide": lambda v, w, b, U: v / (1 + sl.abs(w)),
    "sigmoid": lambda v, w, b, U: sl.sigmoid(v),
    "larger": lambda v, w, b, U: sl.maximum(v, w),
    "choose": lambda v, w, b, U: sl.where(v < w, w, 0.3 * v),
    "mean": lambda v, w, b, U: sl.mean(v + b),
    "softmax": lambda v, w, b, U: sl.softmax(v + b),
    "join and part": lambda v, w, b, U: sl.split(sl.concat(v + b, w + b), 2)[1],
    "product": lambda v, w, b, U: U @ sl.tanh(v + b),
}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(PHRASES)), st.integers(0, 12), st.integers(0, 12)), max_size=8),
)
def test_any_equations_run_over_a_batch_as_on_one_example(program):
    @sl.cell
    def anything(x, h, m, *, W=param("h x"), U=param("h h"), b=param("h"), a=param("")):
        # values of every kind: that vary with time, with the state, with neither; vectors and scalars
        values = [b, a, W @ x, h, m, sl.mean(x)]
        for phrase, first, second in program:
            v, w = values[-1 - first % len(values)], values[-1 - second % len(values)]
            values.append(PHRASES[phrase](v, w, b, U))
        last = values[-1]
        return sl.tanh(last + U @ h + a * (W @ x)), sl.tanh(last + b)

    assert str(anything).startswith("anything: x[t], h[t-1], m[t-1] -> h[t], m[t]\n")
    assert_a_batch_is_each_example(Entry(anything))
