"""Weights that do not fit, and what was saved for the gradient and is no longer what it was."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

import selfloop as sl
from selfloop.errors import ArgumentError


def replaced(name, shape):
    rnn = sl.LSTM(3, 4)
    setattr(rnn, name, nn.Parameter(torch.randn(shape)))
    return rnn


@pytest.mark.parametrize("x", [torch.randn(5, 2, 3), torch.randn(1, 1, 3)], ids=["several", "one"])
@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("weight_ih_l0", (3, 16), r"'W_xh' of lstm must be of shape \(16, 3\), .* Got \(3, 16\) instead"),
        ("weight_hh_l0", (16, 3), r"'W_hh' of lstm must be of shape \(16, 4\), .* Got \(16, 3\) instead"),
        ("weight_hh_l0", (0,), r"'W_hh' of lstm must be of shape \(16, 4\), .* Got \(0,\) instead"),
        ("bias_hh_l0", (1,), r"Both biases of a layer must be of one shape\. Got \(16,\) and \(1,\) instead"),
    ],
)
def test_a_weight_of_another_shape_is_one_sentence(x, name, shape, message):
    """Kernels read and wrote beyond it."""
    with pytest.raises(ArgumentError, match=message):
        replaced(name, shape)(x)
    sl.LSTM(3, 4)(x)  # others of this cell are as they were


def test_a_vector_of_another_shape_is_one_sentence():
    rnn = sl.Recurrent(sl.cells.lstm, 3, 4)
    rnn.b_l0 = nn.Parameter(torch.zeros(4))
    with pytest.raises(ArgumentError, match=r"'b' of lstm must be of shape \(16,\), .* Got \(4,\) instead"):
        rnn(torch.randn(5, 2, 3))


def test_the_operator_of_compiled_graphs_is_given_no_other_shape():
    rnn, x = sl.Recurrent(sl.cells.vanilla, 3, 4), torch.randn(5, 2, 3)
    weights = [torch.randn(3, 4), *[*rnn.parameters()][1:]]
    options = None, None, False, 0, None, False, "batch", False
    with pytest.raises(ArgumentError, match=r"'W_xh' of vanilla must be of shape \(4, 3\), .* Got \(3, 4\) instead"):
        torch.ops.selfloop.forward(rnn.cell.graph.text, x, [torch.zeros(2, 4)], weights, *options)


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bidirectional": True, "batch_first": True}], ids=str)
def test_what_hooks_have_laid_out_anew_gives_the_same_gradients(options):
    """`batch_first` has a transposed input, which a copy is not."""
    found = []
    for pack, unpack in ((lambda v: v, lambda v: v), (lambda v: v.detach().numpy().copy(), torch.from_numpy)):
        torch.manual_seed(0)
        rnn, x = sl.LSTM(3, 4, **options).double(), torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
        with saved_tensors_hooks(pack, unpack):
            y, _ = rnn(x)
        found.append(torch.autograd.grad(y.square().sum(), [x, *rnn.parameters()]))
    torch.testing.assert_close(*found)


def double(rnn, y):
    rnn.double()


def empty(rnn, y):
    rnn.weight_hh_l0.data = torch.empty(0)


def free(rnn, y):
    y.untyped_storage().resize_(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (double, r"'W_xh' of lstm must be as it was in the forward pass, .* Got \(16, 3\) of torch\.float64 instead"),
        (empty, r"'W_hh' of lstm must be as it was in the forward pass, \(16, 4\) of torch\.float32, .* Got \(0,\)"),
        (free, r"'output' of lstm must have memory"),
    ],
)
def test_what_is_changed_before_its_gradient_is_taken_is_one_sentence(change, message):
    rnn = sl.LSTM(3, 4)
    y, _ = rnn(torch.randn(5, 2, 3))
    change(rnn, y)
    with pytest.raises(ArgumentError, match=message):
        y.backward(torch.ones(5, 2, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_layer_made_without_memory_takes_a_state_dict_as_it_is(dtype):
    given = sl.LSTM(3, 4, dtype=dtype)
    with torch.device("meta"):
        rnn = sl.LSTM(3, 4)
    rnn.load_state_dict(given.state_dict(), assign=True)
    x = torch.randn(5, 2, 3, dtype=dtype)
    assert torch.equal(rnn(x)[0], given(x)[0])


@pytest.mark.parametrize("rate", [True, False])
def test_a_rate_is_no_truth_value(rate):
    """Of positional arguments that are one too few, `dropout` got `batch_first`."""
    with pytest.raises(ArgumentError, match=rf"'dropout' must be a share .* Got {rate} instead"):
        sl.LSTM(3, 4, 2, True, True, rate)


def test_a_stepper_takes_no_weight_of_another_shape():
    rnn = sl.LSTM(3, 4)
    stepper = sl.Stepper(rnn)
    rnn.weight_ih_l0 = nn.Parameter(torch.randn(3, 16))
    with pytest.raises(ArgumentError, match=r"'W_xh' of lstm must be of shape \(16, 3\), .* Got \(3, 16\) instead"):
        stepper.refresh()
    with pytest.raises(ArgumentError, match=r"'W_xh' of lstm must be of shape \(16, 3\), .* Got \(3, 16\) instead"):
        sl.Stepper(rnn)


@pytest.mark.parametrize("inside", [True, False])
def test_a_stepper_may_be_made_in_inference_mode_and_used_outside_of_it(inside):
    rnn, x = sl.LSTM(3, 4), torch.randn(5, 3)
    with torch.inference_mode(inside):
        stepper = sl.Stepper(rnn)
    with torch.inference_mode(not inside):
        stepper.reset()
        found = [stepper(row).clone() for row in x]
        stepper.refresh()
        stepper.reset()
        stepper(x[:1])
    torch.testing.assert_close(torch.stack(found)[:, None], rnn(x[:, None])[0])


def test_a_stepper_names_what_is_no_tensor():
    rnn = sl.Recurrent(sl.cells.phased_lstm, 3, 4)
    _, name = rnn.cell.inputs
    with pytest.raises(ArgumentError, match=f"'{name}' of Stepper"):
        sl.Stepper(rnn)(torch.randn(3), **{name: 0.1})


def test_a_readout_with_hooks_or_a_forward_of_its_own_is_called():
    from selfloop.layers.read_out import cross_entropy

    x, labels = torch.randn(300, 64, requires_grad=True), torch.randint(0, 500, (300,))
    plain, seen = nn.Linear(64, 500), []
    read_out = cross_entropy(labels)
    expected = read_out(x, plain)
    plain.register_full_backward_hook(lambda *_: seen.append(1))
    torch.testing.assert_close(read_out(x, plain), expected)
    read_out(x, plain).backward()
    assert seen
    patched = nn.Linear(64, 500)
    patched.forward = lambda rows: nn.Linear.forward(patched, rows) * 0
    torch.testing.assert_close(read_out(x, patched), torch.tensor(500.0).log())
