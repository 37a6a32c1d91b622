import numpy as np
import pytest
import torch

from selfloop import Recurrent, cell, cells, param
from selfloop.errors import ArgumentError
from selfloop.inspect import draw_gradient_flow, gradient_flow


@cell
def leak(x, h, *, a=param("h h"), W=param("h x")):
    h = a @ h + W @ x
    return h


def fading(share, size=4):
    rnn = Recurrent(leak, 3, size)
    with torch.no_grad():
        rnn.a_l0.copy_(share * torch.eye(size))
    return rnn


@pytest.mark.parametrize("share", [0.5, 1.0, 1.1])
def test_a_leak_leaves_a_power_of_its_share(share):
    flow = gradient_flow(fading(share), torch.randn(30, 2, 3))
    np.testing.assert_allclose(flow.relative, share**flow.lags, rtol=1e-4)
    np.testing.assert_allclose(flow.at_output, 1, rtol=1e-5)


def test_it_reaches_where_a_share_is_left():
    assert gradient_flow(fading(0.5), torch.randn(30, 2, 3)).reach(0.01) == 6
    assert gradient_flow(fading(1.0), torch.randn(30, 2, 3)).reach() == 29


def test_it_is_what_autograd_finds_in_torchs_own_network():
    torch.manual_seed(0)
    theirs, x, T = torch.nn.RNN(3, 5), torch.randn(12, 1, 3), 12
    ours = Recurrent(cells.vanilla, 3, 5)
    flow = gradient_flow(ours, x, loss=lambda h: h.square().sum(-1))
    weights = dict(ours.named_parameters())
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(weights["W_xh_l0"])
        theirs.weight_hh_l0.copy_(weights["W_hh_l0"])
        theirs.bias_ih_l0.copy_(weights["b_l0"])
        theirs.bias_hh_l0.zero_()
    states = []
    h = torch.zeros(1, 1, 5)
    for t in range(T):
        _, h = theirs(x[t : t + 1], h)
        states.append(h)
    gradients = torch.autograd.grad(h.square().sum(), states)
    expected = [float(gradient.norm()) for gradient in reversed(gradients)]
    np.testing.assert_allclose(flow.norms, expected, rtol=1e-4)


def test_a_gate_that_keeps_everything_lets_the_gradient_through():
    rnn = Recurrent(cells.lstm, 3, 6)
    with torch.no_grad():
        for weight in rnn.parameters():
            weight.zero_()
        rnn.b_l0.chunk(4)[1].fill_(100.0)
    flow = gradient_flow(rnn, torch.randn(40, 2, 3))
    along_c = flow.by_state["c"][0]
    np.testing.assert_allclose(along_c[1:], along_c[1], rtol=1e-5)
    assert not flow.by_state["h"][0][1:].any()


def test_lags_count_from_each_sequences_own_end():
    flow = gradient_flow(fading(0.5), torch.randn(9, 3, 3), lengths=torch.tensor([9, 4, 1]))
    np.testing.assert_allclose(flow.relative, 0.5**flow.lags, rtol=1e-4)


def test_weights_and_mode_stay_as_they_are():
    rnn = Recurrent(cells.gru, 3, 4, 2, dropout=0.5).train()
    gradient_flow(rnn, torch.randn(5, 2, 3))
    assert rnn.training
    assert all(weight.grad is None for weight in rnn.parameters())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rnn": Recurrent(cells.gru, 3, 4, bidirectional=True)}, "must read forwards alone"),
        ({"layer": 1}, "The 'layer' of a gradient flow must be from 0 to 0"),
        ({"lengths": torch.tensor([5, 0])}, r"Got lengths \[5, 0\]"),
        ({"loss": lambda h: h.sum()}, r"one number a sequence, shape \(2,\)"),
        ({"loss": lambda h: h.detach().sum(-1)}, "must depend on the output"),
    ],
)
def test_what_cannot_be_measured_is_refused(given, said):
    arguments = {"rnn": Recurrent(cells.gru, 3, 4), "x": torch.randn(5, 2, 3), **given}
    with pytest.raises(ArgumentError, match=said):
        gradient_flow(arguments.pop("rnn"), arguments.pop("x"), **arguments)


def test_it_is_drawn_with_a_line_a_cell_before_and_after(tmp_path):
    flows = {"half": gradient_flow(fading(0.5), torch.randn(30, 2, 3))}
    figure = draw_gradient_flow(flows, tmp_path / "flow.svg", before=flows)
    assert (tmp_path / "flow.svg").stat().st_size > 1000
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["before training", "after"]
    with pytest.raises(ArgumentError, match="Got 'other' instead"):
        draw_gradient_flow(flows, tmp_path / "flow.svg", before={"other": flows["half"]})
    with pytest.raises(ArgumentError, match="at least one"):
        draw_gradient_flow({}, tmp_path / "flow.svg")
