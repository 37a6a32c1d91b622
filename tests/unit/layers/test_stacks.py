"""Sizes a layer, residuals, norms between layers and learnt states: each is layers written out by hand."""

import copy
import io
import pickle

import pytest
import torch
from catalogue import assert_close
from torch import nn

import selfloop as sl
from selfloop import cells
from selfloop.errors import ArgumentError

T, B, FEATURES = 6, 3, 4
LENGTHS = [6, 2, 4]


@sl.cell
def gap(x, h, m=sl.state("2h"), dt=sl.given("1"), *, W=sl.param("h x"), U=sl.param("h h"), V=sl.param("2h h")):
    """A cell of two states and a further input."""
    h = sl.tanh(W @ x + U @ h) * (1 + sl.mean(dt))
    return h, 0.5 * m + V @ h


STACKS = {
    "sizes": {"hidden_size": [5, 3, 4]},
    "residual": {"hidden_size": 5, "num_layers": 3, "residual": True},
    "norm": {"hidden_size": 5, "num_layers": 3, "layer_norm": True},
    "learnt": {"hidden_size": 5, "num_layers": 2, "learn_state": True},
    "all": {"hidden_size": 5, "num_layers": 3, "residual": True, "layer_norm": True, "learn_state": True},
    "sizes with norms and learnt states": {"hidden_size": [5, 3], "layer_norm": True, "learn_state": True},
}
stacks = pytest.mark.parametrize("options", STACKS.values(), ids=STACKS)
ways = pytest.mark.parametrize("bidirectional", [False, True], ids=["forwards", "both ways"])


def stack(options, cell=cells.lstm, **others):
    """A stack with weights, norms and learnt states that are all drawn."""
    torch.manual_seed(1)
    rnn = sl.Recurrent(cell, FEATURES, dtype=torch.float64, **options, **others)
    for parameter in rnn.parameters():
        nn.init.normal_(parameter, std=0.5)
    return rnn


def by_hand(rnn, x, state=None, given=None, **sequences):
    """The same by a Recurrent of one layer and direction each, with its output and each tensor of its state."""
    y, last = x, {}
    ways = ("", "_reverse")[: 1 + rnn.bidirectional]
    for layer in range(rnn.num_layers):
        outputs = []
        for way in ways:
            one = sl.Recurrent(rnn.cell, y.shape[-1], rnn.hidden_sizes[layer], dtype=x.dtype, backend="interpret")
            one.load_state_dict({f"{n}_l0": getattr(rnn, f"{n}_l{layer}{way}") for n in rnn.cell.graph.params})
            weights = {f"{n}_l0": getattr(rnn, f"{n}_l{layer}{way}") for n in rnn.cell.graph.params}
            names = rnn.cell.graph.states
            first = None
            if state is not None:
                first = sl.State(**{n: row_of(state, rnn, n, layer, way)[None] for n in names})
            elif rnn.learn_state:
                learnt = {n: getattr(rnn, f"{n}_l{layer}{way}") for n in names}
                first = sl.State(**{n: v.expand(1, x.shape[1], -1) for n, v in learnt.items()})
            turned = way == "_reverse"
            lengths = sequences.get("lengths") or [len(x)] * x.shape[1]
            read = reverse(y, lengths) if turned else y
            out, final = torch.func.functional_call(one, weights, (read, first), {**(given or {}), "lengths": lengths})
            outputs.append(reverse(out, lengths) if turned else out)
            last.update({(n, layer, way): s[0] for n, s in final.tensors.items()})
        below, y = y, torch.cat(outputs, -1)
        if rnn.residual and layer:
            y = y + below
        if rnn.layer_norm and layer < rnn.num_layers - 1:
            norm = getattr(rnn, f"norm_l{layer}")
            y = nn.functional.layer_norm(y, y.shape[-1:], norm.weight, norm.bias)
            y = y * mask(lengths, len(x))
    return y, last


def row_of(state, rnn, name, layer, way):
    if name in state.tensors:
        return state.tensors[name][layer * (1 + rnn.bidirectional) + (way != "")]
    return state.tensors[f"{name}_l{layer}"][int(way != "")]


def mask(lengths, steps):
    return (torch.arange(steps)[:, None] < torch.tensor(lengths))[..., None]


def reverse(x, lengths):
    """Each sequence turned within its own length."""
    return torch.stack([torch.cat([v[:n].flip(0), v[n:]]) for v, n in zip(x.unbind(1), lengths, strict=True)], 1)


@stacks
@ways
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["even", "ragged"])
def test_a_stack_is_its_layers_written_out(options, bidirectional, lengths):
    rnn = stack(options, bidirectional=bidirectional)
    x = torch.randn(T, B, FEATURES, dtype=torch.float64, requires_grad=True)
    y, state = rnn(x, lengths=lengths)
    expected, last = by_hand(rnn, x, lengths=lengths)
    if lengths is not None:
        assert not y[~mask(lengths, T).expand_as(y)].any()
        expected = expected * mask(lengths, T)
    assert_close(y, expected)
    for (name, layer, way), wanted in last.items():
        assert_close(row_of(state, rnn, name, layer, way), wanted)
    weights = [x, *rnn.parameters()]
    got, wanted = (
        torch.autograd.grad(v.square().sum(), weights, materialize_grads=True, allow_unused=True) for v in (y, expected)
    )
    for mine, theirs in zip(got, wanted, strict=True):
        assert_close(mine, theirs)


@stacks
@ways
def test_a_state_goes_on_where_it_was(options, bidirectional):
    rnn = stack(options, bidirectional=bidirectional).requires_grad_(False)
    x = torch.randn(T, B, FEATURES, dtype=torch.float64)
    first = rnn(x)[1]
    y, state = rnn(x, first)
    expected, last = by_hand(rnn, x, first)
    assert_close(y, expected)
    for (name, layer, way), wanted in last.items():
        assert_close(row_of(state, rnn, name, layer, way), wanted)
    assert [tuple(s.shape) for s in state] == [tuple(s.shape) for s in rnn.zero_state(B)]


@stacks
@pytest.mark.parametrize("cell", [cells.lstm, cells.peephole_lstm], ids=lambda cell: cell.name)
def test_steps_and_steppers_are_the_sequence(options, cell):
    rnn = stack(options, cell).requires_grad_(False)
    x = torch.randn(T, B, FEATURES, dtype=torch.float64)
    expected, last = rnn(x)
    stepper, state = sl.Stepper(rnn, B), None
    for t in range(T):
        y, state = rnn.step(x[t], state)
        assert_close(y, expected[t])
        assert_close(stepper(x[t]), expected[t])
    for after in (state, stepper.state, pickle.loads(pickle.dumps(stepper)).state):
        assert list(after.tensors) == list(last.tensors)
        for s, wanted in zip(after, last, strict=True):
            assert_close(s, wanted)
    assert "runs as" in stepper.explain()


@stacks
@ways
def test_further_inputs_reach_every_layer(options, bidirectional):
    options = {**options, "hidden_size": options["hidden_size"]}
    rnn = stack(options, gap, bidirectional=bidirectional).requires_grad_(False)
    x, dt = torch.randn(T, B, FEATURES, dtype=torch.float64), torch.rand(T, B, 1, dtype=torch.float64)
    y, _ = rnn(x, dt=dt)
    turned = {"": dt, "_reverse": dt.flip(0)}
    if bidirectional:
        return  # by hand the further input would have to be turned as well; compiled and interpreted must agree
    assert_close(y, by_hand(rnn, x, given={"dt": turned[""]})[0])
    state = None
    for t in range(T):
        out, state = rnn.step(x[t], state, dt=dt[t])
        assert_close(out, y[t])


@stacks
def test_layouts_are_one_stack(options):
    rnn = stack(options).requires_grad_(False)
    x = torch.randn(T, B, FEATURES, dtype=torch.float64)
    y, state = rnn(x, lengths=LENGTHS)
    first = stack(options, batch_first=True).requires_grad_(False)
    assert_close(first(x.transpose(0, 1), lengths=LENGTHS)[0], y.transpose(0, 1))
    packed = nn.utils.rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    out, after = rnn(packed)
    assert_close(nn.utils.rnn.pad_packed_sequence(out)[0], y)
    for s, wanted in zip(after, state, strict=True):
        assert_close(s, wanted)
    assert_close(rnn(x[:, 0])[0], rnn(x)[0][:, 0])


@stacks
def test_resets_cut_a_row_into_sequences(options):
    rnn = stack(options).requires_grad_(False)
    x, resets = torch.randn(T, B, FEATURES, dtype=torch.float64), torch.zeros(T, B, dtype=torch.bool)
    resets[4] = True
    if rnn.learn_state:
        with pytest.raises(
            ArgumentError, match=r"The 'resets' of Recurrent zero the state .* this one has learnt where"
        ):
            rnn(x, resets=resets)
    else:
        assert_close(rnn(x, resets=resets)[0], torch.cat([rnn(x[:4])[0], rnn(x[4:])[0]]))


@stacks
def test_a_stack_is_saved_and_copied(options, tmp_path):
    rnn = stack(options)
    x = torch.randn(T, B, FEATURES, dtype=torch.float64)
    y, state = rnn(x)
    other = sl.Recurrent(cells.lstm, FEATURES, dtype=torch.float64, **options)
    other.load_state_dict(rnn.state_dict())
    file = io.BytesIO()
    torch.save(rnn, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for twin in (other, copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn)), loaded):
        assert torch.equal(twin(x)[0], y)
    state.detach().save(str(tmp_path / "state"))
    assert_close(rnn(x, sl.State.load(str(tmp_path / "state")))[0], rnn(x, state)[0])


def test_sizes_are_named_with_their_layer_and_as_the_weights():
    rnn = sl.Recurrent(cells.lstm, FEATURES, [5, 3], bidirectional=True)
    assert str(rnn.zero_state(2)) == "State(h_l0=(2, 2, 5), c_l0=(2, 2, 5), h_l1=(2, 2, 3), c_l1=(2, 2, 3))"
    assert repr(rnn) == "Recurrent(lstm, 4 → 5 → 3, bidirectional)"
    assert (rnn.num_layers, rnn.hidden_size, rnn.hidden_sizes, rnn.output_size) == (2, 3, (5, 3), 6)
    assert "4 times a call" in rnn.explain()
    assert str(sl.Recurrent(cells.lstm, FEATURES, [5, 5]).zero_state(2)) == "State(h=(2, 2, 5), c=(2, 2, 5))"
    names = dict(sl.Recurrent(cells.gru, FEATURES, [5, 3], layer_norm=True, learn_state=True).named_parameters())
    assert {"h_l0", "h_l1", "norm_l0.weight", "norm_l0.bias"} <= names.keys()
    assert tuple(names["h_l1"].shape) == (3,)


def test_dropout_stands_between_layers_of_any_size_in_calls_and_steps():
    rnn = sl.Recurrent(cells.lstm, FEATURES, [5, 3, 4], dropout=nn.Identity())
    seen = []
    rnn.dropout.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
    rnn(torch.zeros(T, B, FEATURES))
    rnn.step(torch.zeros(B, FEATURES))
    assert seen == [(T, B, 5), (T, B, 3), (1, B, 5), (1, B, 3)]


def test_what_starts_without_a_state_starts_where_it_has_learnt():
    rnn = stack(STACKS["learnt"])
    learnt = rnn.initial_state(B)
    assert torch.equal(learnt.h[1, 2], rnn.h_l1)
    assert not any(s.any() for s in rnn.zero_state(B))
    x = torch.randn(T, B, FEATURES, dtype=torch.float64)
    assert torch.equal(rnn(x)[0], rnn(x, learnt)[0])
    rnn(x)[0].sum().backward()
    assert rnn.c_l0.grad.abs().sum() > 0
    stepper = sl.Stepper(rnn, B)
    for x_t in x:
        stepper(x_t)
    stepper.reset(mask=torch.tensor([True, False, True]))
    assert torch.equal(stepper.state.h[:, 0], learnt.h[:, 0])
    assert not torch.equal(stepper.state.h[:, 1], learnt.h[:, 1])
    rnn.reset_parameters()
    assert not rnn.h_l1.any()
    assert torch.equal(sl.Recurrent(cells.lstm, FEATURES, 5).initial_state(2).h, torch.zeros(1, 2, 5))


MISUSE = [
    ({"hidden_size": [5, 3], "residual": True}, "With residual=True a layer of Recurrent adds what it reads to its"),
    ({"hidden_size": []}, "The 'hidden_size' of Recurrent must have a size for each layer. Got none."),
    ({"hidden_size": [5, 3], "num_layers": 3}, "must have one size for each of 3 layers. Got [5, 3] instead"),
    ({"hidden_size": [5, "3"]}, "The 'hidden_size' of 'lstm' must be a whole number ≥ 1. Got '3' instead."),
    ({"hidden_size": 5, "residual": 1}, "The 'residual' of Recurrent must be True or False. Got 1 instead."),
    ({"hidden_size": 5, "layernorm": True}, "Recurrent takes no 'layernorm'; did you mean 'layer_norm'?"),
]


@pytest.mark.parametrize(("options", "says"), MISUSE, ids=[says[:50] for _, says in MISUSE])
def test_what_does_not_fit_is_refused_with_the_reason(options, says):
    with pytest.raises(ArgumentError) as caught:
        sl.Recurrent(cells.lstm, FEATURES, **options)
    assert says in str(caught.value)


def test_a_further_input_of_the_size_of_a_layer_needs_layers_of_one_size():
    @sl.cell
    def masked(x, h, mask=sl.given("x"), *, W=sl.param("h x")):
        return h + W @ (mask * x)

    with pytest.raises(
        ArgumentError, match=r"has the size x, so its layers must all have one input size. Got 4 and then 5"
    ):
        sl.Recurrent(masked, 4, [5, 3])


def test_a_state_of_other_sizes_is_refused():
    rnn = sl.Recurrent(cells.lstm, FEATURES, [5, 3])
    with pytest.raises(ArgumentError, match="must hold h_l0, c_l0, h_l1, c_l1"):
        rnn(torch.zeros(T, B, FEATURES), sl.Recurrent(cells.lstm, FEATURES, 5).zero_state(B))
