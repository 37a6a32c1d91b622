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


@sl.cell
def made_of_made(x, h, *, W=param("h x"), U=param("h h"), b=param("h")):
    """A matrix that is made of a product with another."""
    return sl.tanh(W @ x + sl.outer((U - U.T) @ b, b) @ h)


@pytest.mark.parametrize("backend", ["native", "interpret"])
def test_matrices_may_be_made_of_products_with_matrices(backend):
    rnn, x, h = make(made_of_made, 3, 5, backend=backend), torch.randn(4, 2, 3).double(), torch.zeros(2, 5)
    matrix = torch.outer((rnn.U_l0 - rnn.U_l0.T) @ rnn.b_l0, rnn.b_l0)
    h = h.double()
    for row, y in zip(x, rnn(x)[0], strict=True):
        h = torch.tanh(row @ rnn.W_l0.T + h @ matrix.T)
        torch.testing.assert_close(y, h)


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


@sl.cell
def headed(x, h, c=sl.state("k"), *, W=param("2k x"), U=param("2k k", heads="heads"), V=param("h k", heads=2)):
    """Two block-diagonal matrices stacked, which see the heads of c, and one that is not square."""
    a, g = sl.split(W @ x + U @ c, 2)
    c = sl.tanh(a) * sl.sigmoid(g)
    return V @ c, c


@sl.cell
def dense(x, h, c=sl.state("k"), *, W=param("2k x"), U=param("2k k"), V=param("h k")):
    a, g = sl.split(W @ x + U @ c, 2)
    c = sl.tanh(a) * sl.sigmoid(g)
    return V @ c, c


def with_blocks(weight, stacked, heads):
    """Matrices of zeros, but for the blocks on their diagonals, which a parameter holds one below the other."""
    rows, columns = weight.shape[0] // stacked // heads, weight.shape[1]
    whole = weight.new_zeros(weight.shape[0], columns * heads)
    for n in range(stacked * heads):
        column = n % heads * columns
        whole[n * rows : (n + 1) * rows, column : column + columns] = weight[n * rows : (n + 1) * rows]
    return whole


@pytest.mark.parametrize("backend", ["native", "interpret"])
@pytest.mark.parametrize("heads", [1, 2, 3, 6])
def test_block_diagonal_matrices_are_those_with_zeros_beside_their_blocks(backend, heads):
    rnn = make(headed, 3, 4, k=6, heads=heads, backend=backend)
    full = make(dense, 3, 4, k=6, backend="interpret")
    with torch.no_grad():
        full.W_l0.copy_(rnn.W_l0)
        full.U_l0.copy_(with_blocks(rnn.U_l0, 2, heads))
        full.V_l0.copy_(with_blocks(rnn.V_l0, 1, 2))
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    y, state = rnn(x)
    expected, last = full(x)
    torch.testing.assert_close(y, expected)
    W, U, V = torch.autograd.grad(y.square().sum() + state.c.sum(), rnn.parameters())
    W_full, U_full, V_full = torch.autograd.grad(expected.square().sum() + last.c.sum(), full.parameters())
    torch.testing.assert_close(W, W_full)
    assert U.shape == rnn.U_l0.shape == (12, 6 // heads)
    for got, wanted, stacked, number in ((U, U_full, 2, heads), (V, V_full, 1, 2)):
        inside = with_blocks(torch.ones_like(got), stacked, number)
        torch.testing.assert_close(with_blocks(got, stacked, number), wanted * inside)


@pytest.mark.parametrize("backend", ["native", "interpret"])
def test_block_diagonal_matrices_take_part_in_what_is_made_once(backend):
    @sl.cell
    def turned(x, h, *, W=param("h x"), U=param("h h", heads="n"), V=param("h h")):
        return sl.tanh(W @ x + (sl.relu(U) * V) @ h + U.T @ h)

    rnn = make(turned, 3, 4, n=2, backend=backend)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    U, h = with_blocks(rnn.U_l0, 1, 2), torch.zeros(2, 4, dtype=torch.float64)
    for t in range(5):
        h = torch.tanh(x[t] @ rnn.W_l0.T + h @ (U.relu() * rnn.V_l0).T + h @ U)
    y, _ = rnn(x)
    torch.testing.assert_close(y[-1], h)
    gradients = (torch.autograd.grad(v.sum(), rnn.parameters()) for v in (y[-1], h))
    torch.testing.assert_close(*gradients)


def test_each_block_starts_by_itself():
    rnn = make(headed, 3, 4, k=6, heads=3)
    for block in rnn.U_l0.detach().chunk(6):
        torch.testing.assert_close(block @ block.T, torch.eye(2, dtype=torch.float64))


def test_steppers_copies_and_saved_weights_know_the_heads():
    rnn = make(headed, 3, 4, k=6, heads=3)
    x = torch.randn(3, 1, 3, dtype=torch.float64)
    y, _ = rnn(x)
    for own in (sl.Stepper(rnn), copy.deepcopy(sl.Stepper(rnn))):
        torch.testing.assert_close(torch.stack([own(x[t]).clone() for t in range(3)]), y)
    other = make(headed, 3, 4, k=6, heads=3)
    other.load_state_dict(rnn.state_dict())
    torch.testing.assert_close(other(x)[0], y)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"k": 5}, "The 'k' of 'headed' must be a multiple of 2. Got 5 instead."),
        ({"k": 6, "heads": 4}, "The 'k' of 'headed' must be a multiple of 4, its heads. Got 6 instead."),
        ({"k": 6, "heads": 0}, "The 'heads' of 'headed' must be a whole number ≥ 1. Got 0 instead."),
        ({"k": 6, "head": 2}, "The cell 'headed' has no size 'head'; did you mean 'heads'?"),
    ],
)
def test_heads_that_do_not_divide_are_refused(sizes, says):
    with pytest.raises(ArgumentError) as caught:
        sl.Recurrent(headed, 3, 4, **sizes)
    assert says in str(caught.value)


def test_rows_that_heads_do_not_divide_are_refused():
    with pytest.raises(ArgumentError, match="The 'hidden_size' of 'headed' must be a multiple of 2"):
        sl.Recurrent(headed, 3, 5, k=6)
