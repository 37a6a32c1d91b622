"""What is made of matrices once a call, and parameters that do not learn."""

import copy

import numpy as np
import pytest
import torch

import selfloop as sl
from selfloop.errors import ArgumentError, CellError
from selfloop.language import param

HIPPO = np.array([[-1.0, -1.0, -1.0, -1.0], [1.0, -1.0, -1.0, -1.0], [-1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])


def lower(weight):
    weight.fill_(1).tril_()


def fill(weight):
    weight.copy_(torch.arange(weight.numel()).view(weight.shape))


@sl.cell
def antisymmetric(x, h, *, W=param("h x"), U=param("h h"), b=param("h"), damping=param("", init=0.1)):
    """Chang et al. 2019: U - Uᵀ keeps what it turns."""
    A = U - U.T
    return h + 0.5 * sl.tanh(A @ h - damping * h + W @ x + b)


@sl.cell
def masked(x, h, *, W=param("h x"), U=param("h h"), mask=param("h h", init=lower, trainable=False)):
    """Weights of one sign, of which only those below the diagonal are."""
    return sl.tanh(W @ x + (sl.relu(U) * mask) @ h + 0.1 * sl.relu(U).T @ h)


@sl.cell
def memory(
    x,
    m=sl.state("4"),
    *,
    A=param("4 4", init=HIPPO, trainable=False),
    B=param("4 x", init=fill, trainable=False),
    U=param("4 4", init="identity"),
):
    return m + 0.05 * (A @ m + B @ x) + 0 * (U @ m)


def make(cell, *args, **options):
    torch.manual_seed(0)
    return sl.Recurrent(cell, *args, dtype=torch.float64, **options)


@pytest.mark.parametrize("backend", ["native", "interpret"])
def test_a_matrix_that_parameters_make_is_right_and_so_is_its_gradient(backend):
    rnn = make(antisymmetric, 3, 5, backend=backend)
    x, weights = torch.randn(6, 2, 3, dtype=torch.float64), torch.randn(6, 2, 5, dtype=torch.float64)
    h, rows = torch.zeros(2, 5, dtype=torch.float64), []
    for t in range(6):
        turned = h @ (rnn.U_l0 - rnn.U_l0.T).T
        h = h + 0.5 * torch.tanh(turned - rnn.damping_l0 * h + x[t] @ rnn.W_l0.T + rnn.b_l0)
        rows.append(h)
    expected = torch.stack(rows)
    wanted = torch.autograd.grad((expected * weights).sum(), rnn.parameters())
    y, _ = rnn(x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(torch.autograd.grad((y * weights).sum(), rnn.parameters()), wanted)


@pytest.mark.parametrize("backend", ["auto", "interpret"])
def test_a_stepper_takes_the_same_steps_also_after_new_weights(backend):
    rnn = make(masked, 3, 5, backend=backend)
    stepper, x = sl.Stepper(rnn), torch.randn(6, 1, 3, dtype=torch.float64)
    for _ in range(2):
        stepper.reset()
        y, _ = rnn(x)
        for t in range(6):
            torch.testing.assert_close(stepper(x[t]), y[t])
        with torch.no_grad():
            rnn.U_l0.neg_()
        stepper.refresh()
    twin = copy.deepcopy(stepper)
    torch.testing.assert_close(twin(x[0]), stepper(x[0]))


def test_what_does_not_learn_is_a_buffer_that_is_saved():
    rnn = make(memory, 2, 3, num_layers=1)
    assert {name for name, _ in rnn.named_parameters()} == {"U_l0"}
    assert rnn.A_l0.tolist() == HIPPO.tolist()
    assert rnn.B_l0.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert rnn.U_l0.tolist() == torch.eye(4).tolist()
    assert set(rnn.state_dict()) == {"A_l0", "B_l0", "U_l0"}
    y, _ = rnn(torch.randn(3, 2, 2, dtype=torch.float64))
    y.sum().backward()
    assert rnn.A_l0.grad is None


def test_weight_drop_is_of_the_parameters_that_a_recurrent_matrix_is_made_of():
    assert antisymmetric.graph.recurrent_params == ("U",)
    assert masked.graph.recurrent_params == ("U", "mask")


def test_the_equations_show_how_matrices_are_made():
    assert "A = U - U.T" in str(antisymmetric)
    assert sl.show(antisymmetric, "step")


def grows(x, h, *, U=param("h h")):
    return (U * sl.sum(h)) @ h


def of_two_sizes(x, h, *, U=param("h h"), W=param("h x")):
    return (U + W) @ h


def turned_vector(x, h, *, U=param("h h")):
    return U @ h + h.T


def of_wrong_type(x, h, *, U=param("h h", init={"a": 1})):
    return U @ h


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (grows, "whose elementwise operations are made once for all steps, and the 'sum' differs from step to step"),
        (
            of_two_sizes,
            "which meets matrices of its size and scalars in elementwise operations, but W is a h × x matrix",
        ),
        (turned_vector, ".T needs a matrix, but h is a vector of size h"),
        (of_wrong_type, "an array, a function that fills a tensor, or one of orthogonal, glorot, uniform, identity"),
    ],
)
def test_a_mistake_is_said(function, message):
    with pytest.raises(CellError) as caught:
        sl.cell(function)
    assert message in str(caught.value)


def test_an_array_of_another_shape_is_refused_when_the_layer_is_made():
    @sl.cell
    def wrong(x, h, *, U=param("h h", init=HIPPO)):
        return U @ h

    with pytest.raises(
        ArgumentError, match=r"'U' of 'wrong' must be of shape \(3, 3\) in this layer. Got \(4, 4\) instead"
    ):
        make(wrong, 2, 3)
