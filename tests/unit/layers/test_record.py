"""``record``: what is returned, in which form and under which names, and what is refused."""

import copy
import pickle

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import selfloop as sl
from selfloop import SelfloopError, cells


def by_hand(lstm, x):
    """An LSTM's gates and cell state at each step, by the equations."""
    h = c = x.new_zeros(x.shape[1], lstm.hidden_size)
    found = {name: [] for name in "ifgohc"}
    for now in x:
        a = now @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + h @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
        i, f, g, o = a.chunk(4, dim=-1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        for name, v in zip("ifgohc", (i, f, g, o, h, c), strict=True):
            found[name].append(v)
    return {name: torch.stack(v) for name, v in found.items()}


def test_the_gates_of_an_lstm_are_those_of_its_equations():
    lstm = sl.LSTM(3, 5, dtype=torch.float64)
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    y, (_, c), recorded = lstm(x, record=("f", "c", "o", "i", "g", "h"))
    assert list(recorded) == ["f_l0", "c_l0", "o_l0", "i_l0", "g_l0", "h_l0"]
    for name, v in by_hand(lstm, x).items():
        torch.testing.assert_close(recorded[f"{name}_l0"], v)
    torch.testing.assert_close(recorded["h_l0"], y)
    torch.testing.assert_close(recorded["c_l0"][-1], c[0])


def test_a_loss_on_the_cell_state_reaches_the_weights():
    lstm = sl.LSTM(3, 5, dtype=torch.float64)
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    weights = list(lstm.parameters())
    got = torch.autograd.grad(lstm(x, record=["c"])[2]["c_l0"].square().sum(), weights)
    expected = torch.autograd.grad(by_hand(lstm, x)["c"].square().sum(), weights)
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g, e)


def test_each_layer_and_direction_has_its_own():
    rnn = sl.Recurrent(cells.lstm, 3, 5, 2, bidirectional=True, batch_first=True)
    y, _, recorded = rnn(torch.randn(2, 7, 3), lengths=[7, 4], record=("h", "c"))
    assert sorted(recorded) == sorted(
        f"{name}_l{layer}{way}" for name in "hc" for layer in (0, 1) for way in ("", "_reverse")
    )
    assert all(v.shape == (2, 7, 5) for v in recorded.values())
    torch.testing.assert_close(torch.cat([recorded["h_l1"], recorded["h_l1_reverse"]], dim=-1), y)
    assert all(not v[1, 4:].any() for v in recorded.values())


def test_what_is_recorded_comes_in_the_form_of_the_input():
    lstm = sl.LSTM(3, 5)
    x = torch.randn(7, 2, 3)
    whole = lstm(x, record=["f"])[2]["f_l0"]
    torch.testing.assert_close(lstm(x[:, 1], record=["f"])[2]["f_l0"], whole[:, 1])
    _, _, recorded = lstm(pack_padded_sequence(x, [4, 7], enforce_sorted=False), record=["f"])
    padded, lengths = pad_packed_sequence(recorded["f_l0"])
    assert lengths.tolist() == [4, 7]
    torch.testing.assert_close(padded[:, 1], whole[:, 1])
    torch.testing.assert_close(padded[:4, 0], whole[:4, 0])


def test_numbers_and_inputs_can_be_recorded():
    @sl.cell
    def norm(x, h, *, W=sl.param("h x"), U=sl.param("h h")):
        size = sl.sum(h * h)  # noqa: F841
        h = sl.tanh(W @ x + U @ h)
        return h

    rnn = sl.Recurrent(norm, 3, 5)
    x = torch.randn(7, 2, 3)
    with pytest.raises(SelfloopError, match="without a 'size', so it cannot be recorded"):
        rnn(x, record=["size"])  # nothing needs it, so it is not computed

    @sl.cell
    def scaled(x, h, *, W=sl.param("h x"), U=sl.param("h h")):
        size = sl.sum(h * h)
        h = sl.tanh(W @ x + U @ h / (1 + size))
        return h

    rnn = sl.Recurrent(scaled, 3, 5)
    y, _, recorded = rnn(x, record=["x", "size"])
    torch.testing.assert_close(recorded["x_l0"], x)
    torch.testing.assert_close(recorded["size_l0"][1:, :, 0], y[:-1].square().sum(-1))


def test_in_training_what_is_drawn_is_seen():
    @sl.cell
    def noisy(x, h, *, W=sl.param("h x"), U=sl.param("h h")):
        kept = sl.dropout(h, 0.5)
        h = sl.tanh(W @ x + U @ kept)
        return h

    rnn = sl.Recurrent(noisy, 3, 5)
    x = torch.randn(7, 2, 3)
    y, _, recorded = rnn(x, record=["kept"])
    ratio = recorded["kept_l0"][1:] / y[:-1]
    assert set(ratio.detach().round(decimals=4).flatten().tolist()) == {0.0, 2.0}
    y, _, recorded = rnn.eval()(x, record=["kept"])
    torch.testing.assert_close(recorded["kept_l0"][1:], y[:-1])


def test_nothing_named_is_an_empty_record():
    _, _, recorded = sl.LSTM(3, 5)(torch.zeros(7, 2, 3), record=())
    assert recorded == {}
    assert sl.Stepper(sl.LSTM(3, 5)).recorded == {}


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (
            ["forget"],
            "lstm computes its new state without a 'forget', so it cannot be recorded; it has x, h, c, i, f, g, o.",
        ),
        (["b"], "The 'b' of lstm cannot be recorded: it is a matrix, or the same at every step. Vectors"),
        (["W_hh"], "The 'W_hh' of lstm cannot be recorded"),
        ("cf", "The 'record' of LSTM must be a tuple of names of the cell, as in record=('c', 'f'). Got 'cf' instead."),
        (True, "must be a tuple of names"),
        ([1], "must be a tuple of names"),
    ],
)
def test_what_cannot_be_recorded_is_refused(record, words):
    lstm = sl.LSTM(3, 5)
    with pytest.raises(SelfloopError) as error:
        lstm(torch.zeros(7, 2, 3), record=record)
    assert words in str(error.value)
    with pytest.raises(SelfloopError):
        sl.Stepper(lstm, record=record)


def test_a_step_and_a_stepper_record_too():
    lstm = sl.LSTM(3, 5, num_layers=2)
    stepper = sl.Stepper(lstm, record=("f",))
    assert not any(v.any() for v in stepper.recorded.values())
    x = torch.randn(4, 3)
    _, _, recorded = lstm(x, record=["f"])
    hx = None
    for t in range(4):
        stepper(x[t])
        _, hx, seen = lstm.step(x[t], hx, record=["f"])
        for name in ("f_l0", "f_l1"):
            torch.testing.assert_close(seen[name], recorded[name][t])
            torch.testing.assert_close(stepper.recorded[name][0], recorded[name][t])
    twins = copy.deepcopy(stepper), pickle.loads(pickle.dumps(stepper))
    for own in (stepper, *twins):
        own(x[0])
    for twin in twins:
        torch.testing.assert_close(twin.recorded, stepper.recorded)


def test_layers_of_other_inputs_are_recorded_at_their_own_size():
    @sl.cell
    def gated(x, h, *, W=sl.param("h x"), U=sl.param("h h")):
        seen = sl.relu(x)
        h = sl.tanh(W @ seen + U @ h)
        return h

    rnn = sl.Recurrent(gated, 3, 5, 2)
    x = torch.randn(4, 2, 3)
    _, _, recorded = rnn(x, record=["seen"])
    assert recorded["seen_l0"].shape == (4, 2, 3)
    assert recorded["seen_l1"].shape == (4, 2, 5)
    stepper = sl.Stepper(rnn, 2, record=["seen"])
    stepper(x[0])
    torch.testing.assert_close(stepper.recorded["seen_l1"], recorded["seen_l1"][0])
    torch.testing.assert_close(stepper.recorded["seen_l0"], recorded["seen_l0"][0])


def test_autocast_records_in_its_dtype():
    lstm = sl.LSTM(3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        y, _, recorded = lstm(torch.randn(7, 2, 3), record=["h", "f"])
    assert recorded["f_l0"].dtype == recorded["h_l0"].dtype == y.dtype
    torch.testing.assert_close(recorded["h_l0"], y)


def test_a_matrix_state_is_named_where_it_cannot_be_recorded():
    rnn = sl.Recurrent(cells.mlstm, 4, 4)
    with pytest.raises(SelfloopError, match="The 'C' of mlstm cannot be recorded: it is a matrix"):
        rnn(torch.zeros(2, 1, 4), record=["C"])
