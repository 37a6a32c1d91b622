"""What holds for every cell: a sequence is its steps, whatever the layout."""

import itertools

import pytest
import torch
from catalogue import CELLS, assert_close
from hypothesis import given
from hypothesis import strategies as st

import selfloop as sl
from selfloop.kernels import interpret
from selfloop.kernels.problem import Problem

each_cell = pytest.mark.parametrize("entry", CELLS, ids=str)
backends = pytest.mark.parametrize("backend", ["auto", "interpret"])


def one_step(graph, params, x, state):
    """One step on one example, node after node, written without the interpreter's loop."""
    values = []
    known = {graph.input: x, **dict(zip(graph.states, state, strict=True)), **params}
    for node in graph.nodes:
        if node.op == "const":
            values.append(torch.tensor(node.value, dtype=x.dtype))
        elif not node.args:
            values.append(known[node.value])
        elif node.op == "matmul":
            values.append(values[node.args[0]] @ values[node.args[1]])
        else:
            extra = () if node.value is None else (node.value,)
            values.append(interpret.VALUES[node.op](*(values[a] for a in node.args), *extra))
    return [values[k] for k in graph.outputs]


@each_cell
def test_a_batch_is_each_example_step_by_step(entry):
    rnn = entry.layer()
    x = torch.randn(5, 3, 3, dtype=torch.float64)
    y, final = rnn(x)
    params = {name: getattr(rnn, f"{name}_l0").detach() for name in entry.cell.graph.params}
    for row in range(3):
        state = [s[0, row] for s in rnn.zero_state(1).select(torch.zeros(3, dtype=torch.long))]
        for t in range(5):
            state = one_step(entry.cell.graph, params, x[t, row], state)
            assert_close(y[t, row], state[0])
        for s, expected in zip(final, state, strict=True):
            assert_close(s[0, row], expected)


@each_cell
@backends
def test_a_sequence_is_its_steps(entry, backend):
    rnn = entry.layer(num_layers=2 if entry.cell.name != "leaky" else 1, backend=backend)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    y, final = rnn(x)
    state = None
    for t in range(6):
        step, state = rnn.step(x[t], state)
        assert_close(step, y[t])
    for got, expected in zip(state, final, strict=True):
        assert_close(got, expected)


def everything(rnn, run):
    """Outputs, final states and the gradient of every parameter, of a function of random weights."""
    rnn.zero_grad()
    outputs = run()
    generator = torch.Generator().manual_seed(1)
    sum((o * torch.randn(o.shape, generator=generator, dtype=o.dtype)).sum() for o in outputs).backward()
    return [o.detach() for o in outputs] + [
        torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in rnn.parameters()
    ]


@each_cell
@backends
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lengths_are_each_sequence_by_itself(entry, backend, bidirectional):
    rnn = entry.layer(bidirectional=bidirectional, backend=backend)
    lengths = [3, 0, 5, 1]
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    start = sl.State(**{n: 0.3 * torch.randn_like(s) for n, s in rnn.zero_state(4).tensors.items()})
    dirty = x.clone()
    for row, length in enumerate(lengths):
        dirty[length:, row] = torch.nan  # what lies beyond a sequence's end must not matter
    dirty.requires_grad_()
    clean = x.clone().requires_grad_()

    def together():
        y, final = rnn(dirty, start, lengths=torch.tensor(lengths))
        return [y, *final]

    def alone():
        rows, finals = [], []
        for row, length in enumerate(lengths):
            y, final = rnn(clean[:length, row : row + 1], start.select(torch.tensor([row])))
            rows.append(torch.nn.functional.pad(y, (0, 0, 0, 0, 0, 5 - length)))
            finals.append(final)
        return [torch.cat(rows, 1), *(torch.cat([f.tensors[n] for f in finals], 1) for n in start.tensors)]

    for got, expected in zip(everything(rnn, together), everything(rnn, alone), strict=True):
        assert_close(got, expected)
    assert_close(dirty.grad, clean.grad)


@each_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_resets_are_segments_by_themselves(entry, bidirectional):
    rnn = entry.layer(bidirectional=bidirectional)
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    resets = torch.zeros(7, 2, dtype=torch.bool)
    resets[[2, 5], 0] = True
    resets[[0, 3], 1] = True
    lengths = [7, 6]
    y, final = rnn(x, resets=resets, lengths=lengths)
    for row, edges in enumerate(([0, 2, 5, 7], [0, 3, 6])):
        parts = [rnn(x[a:b, row : row + 1]) for a, b in itertools.pairwise(edges)]
        whole = torch.cat([part for part, _ in parts])
        assert_close(y[: lengths[row], row], whole[:, 0])
        assert not y[lengths[row] :, row].any()
        for name, s in final.tensors.items():
            assert_close(s[0, row], parts[-1][1].tensors[name][0, 0])
            if bidirectional:
                assert_close(s[1, row], parts[0][1].tensors[name][1, 0])


@each_cell
@backends
@pytest.mark.parametrize("ragged", [False, True])
def test_gradients_are_those_of_finite_differences(entry, backend, ragged):
    rnn = entry.layer(hidden_size=2, input_size=2, backend=backend)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    first = [torch.randn_like(s).requires_grad_() for s in rnn.zero_state(2)]
    lengths = torch.tensor([3, 1]) if ragged else None
    names = list(rnn.zero_state(2).tensors)

    def run(x, *rest):
        states, weights = rest[: len(names)], rest[len(names) :]
        parameters = {name: w for (name, _), w in zip(rnn.named_parameters(), weights, strict=True)}
        start = sl.State(**dict(zip(names, states, strict=True)))
        y, final = torch.func.functional_call(rnn, parameters, (x, start), {"lengths": lengths})
        return y, *final

    assert torch.autograd.gradcheck(run, (x, *first, *rnn.parameters()))


@each_cell
@pytest.mark.parametrize(("T", "B"), [(0, 2), (3, 0), (0, 0)])
def test_nothing_in_nothing_out(entry, T, B):
    rnn = entry.layer()
    start = rnn.zero_state(B)
    y, final = rnn(torch.zeros(T, B, 3, dtype=torch.float64), start)
    assert y.shape == (T, B, rnn.output_size)
    assert all(s.shape == before.shape for s, before in zip(final, start, strict=True))


@each_cell
def test_layouts_are_one_layout(entry):
    rnn, first = entry.layer(), entry.layer(batch_first=True)
    first.load_state_dict(rnn.state_dict())
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    y, final = rnn(x, lengths=[5, 2])
    swapped, same = first(x.transpose(0, 1), lengths=[5, 2])
    assert_close(swapped.transpose(0, 1), y)
    single, alone = rnn(x[:, 0])
    assert_close(single, y[:, 0])
    for a, b, c in zip(final, same, alone, strict=True):
        assert_close(a, b)
        assert_close(a[:, :1], c)


@given(
    T=st.integers(1, 6),
    B=st.integers(1, 4),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    entry=st.sampled_from([e for e in CELLS if e.cell.name != "leaky"]),
    data=st.data(),
)
def test_fused_and_interpreted_agree_on_any_shape(T, B, layers, bidirectional, entry, data):
    rnn = entry.layer(data.draw(st.integers(1, 5)), 3, num_layers=layers, bidirectional=bidirectional)
    x = torch.randn(T, B, rnn.input_size, dtype=torch.float64)
    lengths = data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B))
    y, final = rnn(x, lengths=lengths)
    rnn.backend = "interpret"
    expected, state = rnn(x, lengths=lengths)
    assert y.shape == (T, B, rnn.output_size)
    assert_close(y, expected)
    for a, b in zip(final, state, strict=True):
        assert_close(a, b)


@each_cell
def test_the_form_of_a_graph_does_not_know_names(entry):
    graph = entry.cell.graph
    assert graph.form == graph.form
    others = [other.cell.graph.form for other in CELLS if other is not entry]
    assert graph.form not in others


def test_hoisting_leaves_only_what_depends_on_the_state():
    graph = sl.cells.lstm.graph
    inside = {graph.nodes[k].op for k in range(len(graph.nodes)) if graph.stepwise[k]}
    products = [k for k, n in enumerate(graph.nodes) if n.op == "matmul"]
    assert [graph.stepwise[k] for k in products] == [False, True]
    assert {"sigmoid", "tanh", "state"} <= inside
    assert "input" not in inside


def test_a_backend_that_cannot_says_why():
    rnn = sl.Recurrent(sl.cells.lstm, 2, 2, backend="torch")
    with pytest.raises(sl.SelfloopError, match="cannot reset the state inside a sequence"):
        rnn(torch.zeros(2, 1, 2), resets=torch.zeros(2, 1, dtype=torch.bool))


def test_the_interpreter_runs_a_problem_by_itself():
    problem = Problem(sl.cells.vanilla.graph, {}, torch.zeros(0, 1, 2), (torch.ones(1, 3),))
    assert interpret.refusal(problem) is None
