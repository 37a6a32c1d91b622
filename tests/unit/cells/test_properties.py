"""What is known of the cells: where one is another, what a gate cannot see, what no number can break."""

import pytest
import torch
from catalogue import ZOO, assert_close, everything

import selfloop as sl
from selfloop import cells

ENTRIES = {entry.cell.name: entry for entry in ZOO}
X = torch.randn(6, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def layer(name, **weights):
    """A layer with random weights, but for those that are given."""
    rnn = ENTRIES[name].layer().requires_grad_(False)
    with torch.no_grad():
        for weight, value in weights.items():
            getattr(rnn, f"{weight}_l0").copy_(torch.as_tensor(value))
    return rnn


def parts(rnn, name, n):
    return getattr(rnn, f"{name}_l0").detach().chunk(n)


def given_state(rnn):
    return sl.State(**{name: torch.rand_like(s) for name, s in rnn.zero_state(2).tensors.items()})


def assert_same(one, other, x=X):
    """Outputs and states are the same numbers, from a given state."""
    start = given_state(one)
    for got, expected in zip(everything_out(one, x, start), everything_out(other, x, start), strict=True):
        assert_close(got, expected, rtol=1e-12, atol=1e-12)


def everything_out(rnn, x, start):
    y, final = rnn(x, start)
    return [y, *final]


def test_cifg_is_an_lstm_that_forgets_what_it_takes_in():
    """1 - σ(v) is σ(-v)."""
    cifg = layer("cifg_lstm")
    stacked = {}
    for name in ("W_xh", "W_hh", "b"):
        i, g, o = parts(cifg, name, 3)
        stacked[name] = torch.cat([i, -i, g, o])
    assert_same(cifg, layer("lstm", **stacked))


def test_an_lstm_with_closed_peepholes_is_an_lstm():
    peephole = layer("peephole_lstm", w_ch=torch.zeros(12))
    same = {name: getattr(peephole, f"{name}_l0") for name in ("W_xh", "W_hh", "b")}
    assert_same(peephole, layer("lstm", **same))


def test_the_output_gate_peeps_at_the_new_cell():
    """Only o has a peephole, and it is wide open: the gate is the sign of the new cell."""
    peephole = layer("peephole_lstm", w_ch=[0.0] * 8 + [1e9] * 4)
    y, state = peephole(X[:1])
    assert_close(y[0], torch.relu(torch.tanh(state.c[0])))


def test_a_multiplicative_lstm_whose_input_is_always_one_is_an_lstm():
    multiplicative = ENTRIES["multiplicative_lstm"].layer(input_size=1).requires_grad_(False)
    lstm = ENTRIES["lstm"].layer(input_size=1).requires_grad_(False)
    with torch.no_grad():
        multiplicative.W_xm_l0.fill_(1)
        lstm.W_xh_l0.copy_(multiplicative.W_xh_l0)
        lstm.W_hh_l0.copy_(multiplicative.W_mh_l0 @ multiplicative.W_hm_l0)
        lstm.b_l0.copy_(multiplicative.b_l0)
    assert_same(multiplicative, lstm, torch.ones(6, 2, 1, dtype=torch.float64))


def test_a_normalised_lstm_does_not_see_how_large_its_matrices_are():
    rnn = layer("layer_norm_lstm")
    with torch.no_grad():
        for weight in (rnn.W_xh_l0, rnn.W_hh_l0):
            weight.mul_(1e4)  # so that the 1e-5 beside the variance does not show
    larger = layer("layer_norm_lstm", **{n.removesuffix("_l0"): w for n, w in rnn.named_parameters()})
    with torch.no_grad():
        larger.W_xh_l0.mul_(3)
        larger.W_hh_l0.mul_(7)
    start = given_state(rnn)
    for got, expected in zip(everything_out(rnn, X, start), everything_out(larger, X, start), strict=True):
        assert_close(got, expected)


def test_resetting_before_and_after_are_one_where_nothing_is_reset():
    before = layer("gru_reset_before")
    with torch.no_grad():
        before.b_l0[:4] = 1e4
    stacked = torch.cat([before.W_hg_l0, before.W_hn_l0])
    after = layer("gru", W_xh=before.W_xh_l0, W_hh=stacked, b_xh=before.b_l0, b_hh=torch.zeros(12))
    assert_same(before, after)


def test_a_minimal_gated_unit_is_a_gru_with_one_gate():
    mgu = layer("mgu")
    (x_f, x_n), (b_f, b_n) = parts(mgu, "W_xh", 2), parts(mgu, "b", 2)
    gru = layer(
        "gru_reset_before",
        W_xh=torch.cat([x_f, -x_f, x_n]),
        W_hg=torch.cat([mgu.W_hf_l0, -mgu.W_hf_l0]),
        W_hn=mgu.W_hn_l0,
        b=torch.cat([b_f, -b_f, b_n]),
    )
    assert_same(mgu, gru)


def test_fastgrnn_with_full_scales_is_a_ugrnn_with_shared_matrices():
    fast = layer("fastgrnn", zeta=1e4, nu=-1e4)
    twice = {name: torch.cat([getattr(fast, f"{name}_l0")] * 2) for name in ("W_xh", "W_hh")}
    assert_same(fast, layer("ugrnn", b=fast.b_l0, **twice))


def test_janet_keeps_what_its_gate_holds():
    janet = layer("janet", b=[1e4] * 4 + [0.0] * 4)
    start = given_state(janet)
    assert_close(janet(X, start)[1].h, start.h, rtol=0, atol=0)


def test_indrnn_is_a_rectified_network_with_a_diagonal_matrix():
    independent = layer("indrnn")
    diagonal = torch.diag(independent.w_hh_l0)
    assert_same(independent, layer("vanilla_relu", W_xh=independent.W_xh_l0, W_hh=diagonal, b=independent.b_l0))


@pytest.mark.parametrize("name", ["min_gru", "min_lstm"])
def test_gates_of_minimal_cells_do_not_see_the_state(name):
    """So the state at the end is an affine function of the state at the start."""
    rnn = layer(name)
    h = torch.randn(1, 2, 4, dtype=torch.float64)
    none, once, twice = (rnn(X, sl.State(h=k * h))[1].h for k in (0, 1, 2))
    assert_close(twice - once, once - none)
    assert not rnn.cell.graph.recurrent_params


@pytest.mark.parametrize(("name", "blocks"), [("min_gru", 2), ("min_lstm", 3)])
def test_gates_of_minimal_cells_add_up_to_one(name, blocks):
    """A state that equals a constant candidate stays."""
    rnn = layer(name)
    with torch.no_grad():
        rnn.W_xh_l0.chunk(blocks)[-1].zero_()
        rnn.b_l0.chunk(blocks)[-1].fill_(3)
    y, _ = rnn(X, sl.State(h=torch.full((1, 2, 4), 3.0, dtype=torch.float64)))
    assert_close(y, torch.full_like(y, 3))


def closed_highway(*layers):
    rnn = layer("recurrent_highway")
    with torch.no_grad():
        for k in layers:
            getattr(rnn, f"b_{k}_l0")[4:] = -1e4
    return rnn


def test_a_highway_has_three_layers_one_after_another():
    graph, depth = cells.recurrent_highway.graph, []
    for k, node in enumerate(graph.nodes):
        is_product = node.op == "matmul" and graph.stepwise[k]
        depth.append(max((depth[a] for a in node.args), default=0) + is_product)
    assert depth[graph.outputs[0]] == 3


def test_a_closed_highway_carries_the_state():
    rnn = closed_highway(1, 2, 3)
    start = given_state(rnn)
    assert_close(rnn(X, start)[1].h, start.h, rtol=0, atol=0)


def test_the_input_enters_the_first_layer_of_a_highway_alone():
    y, _ = closed_highway(1)(X)
    assert_close(y[:, 0], y[:, 1])
    y, _ = closed_highway(2, 3)(X)
    assert not torch.isclose(y[:, 0], y[:, 1]).any()


def test_slstm_is_the_mean_of_what_it_saw_weighted_by_its_gates():
    """The definition without recurrence: each candidate counts as its input gate times the forget gates since."""
    rnn = layer("slstm", W_hh=torch.zeros(16, 4))
    y, _ = rnn(X)
    i, f, z, o = (X @ rnn.W_xh_l0.T + rnn.b_l0).detach().chunk(4, dim=-1)
    for t in range(len(X)):
        weights = [i[s].exp() * torch.sigmoid(f[s + 1 : t + 1]).prod(dim=0) for s in range(t + 1)]
        mean = sum(w * torch.tanh(z[s]) for s, w in enumerate(weights)) / sum(weights)
        assert_close(y[t], torch.sigmoid(o[t]) * mean, rtol=1e-12, atol=1e-12)


def test_slstm_does_not_see_how_large_all_its_input_gates_are():
    """e^1000 is no number in float64; the normaliser divides it out."""
    rnn = layer("slstm")
    larger = layer("slstm", **{n.removesuffix("_l0"): w for n, w in rnn.named_parameters()})
    with torch.no_grad():
        larger.b_l0[:4] += 1000
    assert_close(larger(X)[0], rnn(X)[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("resets", [False, True])
def test_slstm_is_finite_whatever_its_gates_are(dtype, resets):
    """All gates at ±10,000, in any combination and order."""
    rnn = ENTRIES["slstm"].layer(input_size=16, dtype=dtype)
    with torch.no_grad():
        rnn.W_xh_l0.copy_(1e4 * torch.eye(16))
    x = torch.randint(0, 2, (40, 8, 16)).to(dtype) * 2 - 1
    marks = torch.rand(40, 8) < 0.2 if resets else None
    y, *rest = everything(rnn, x, rnn.zero_state(8), lambda x, start: rnn(x, start, resets=marks))
    assert y.abs().max() <= 1
    assert all(v.isfinite().all() for v in (y, *rest))


@pytest.mark.parametrize("entry", ZOO, ids=str)
def test_a_fresh_cell_neither_dies_nor_explodes(entry):
    """After 300 steps of noise the output is of the size of the input, and feels the last steps of it."""
    rnn = sl.Recurrent(entry.cell, 16, 32, backend="interpret", **dict.fromkeys(entry.sizes, 16))
    x = torch.randn(300, 4, 16, requires_grad=True)
    y, _ = rnn(x)
    assert 0.01 < y.detach()[-1].std() < 3
    (gradient,) = torch.autograd.grad(y[-1].sum(), x)
    assert gradient.isfinite().all()
    assert gradient[-5:].abs().amax(dim=(1, 2)).min() > 1e-6
