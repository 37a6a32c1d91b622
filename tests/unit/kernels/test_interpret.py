"""The value of each operation, against numbers from Python's own mathematics."""

import math

import pytest
import torch
from catalogue import assert_close

import selfloop as sl
from selfloop.kernels.interpret import VALUES
from selfloop.language.operations import OPERATIONS

V, W = [-2.5, -0.5, 0.25, 1.75], [0.5, -0.5, 4.0, 1.75]
POSITIVE = [0.01, 0.5, 1.0, 7.0]
ROWS = {
    "neg": ([V], [2.5, 0.5, -0.25, -1.75]),
    "add": ([V, W], [-2.0, -1.0, 4.25, 3.5]),
    "sub": ([V, W], [-3.0, 0.0, -3.75, 0.0]),
    "mul": ([V, W], [-1.25, 0.25, 1.0, 3.0625]),
    "div": ([V, W], [-5.0, 1.0, 0.0625, 1.0]),
    "pow": ([V, -3], [v**-3 for v in V]),
    "lt": ([V, W], [True, False, True, False]),
    "le": ([V, W], [True, True, True, True]),
    "gt": ([V, W], [False, False, False, False]),
    "ge": ([V, W], [False, True, False, True]),
    "matmul": ([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [10.0, 1.0]], [12.0, 34.0, 56.0]),
    "sigmoid": ([V], [1 / (1 + math.exp(-v)) for v in V]),
    "tanh": ([V], [math.tanh(v) for v in V]),
    "relu": ([V], [0.0, 0.0, 0.25, 1.75]),
    "exp": ([V], [math.exp(v) for v in V]),
    "log": ([POSITIVE], [math.log(v) for v in POSITIVE]),
    "softplus": ([V], [math.log1p(math.exp(v)) for v in V]),
    "gelu": ([V], [v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in V]),
    "erf": ([V], [math.erf(v) for v in V]),
    "sin": ([V], [math.sin(v) for v in V]),
    "cos": ([V], [math.cos(v) for v in V]),
    "sqrt": ([POSITIVE], [math.sqrt(v) for v in POSITIVE]),
    "abs": ([V], [2.5, 0.5, 0.25, 1.75]),
    "floor": ([V], [-3.0, -1.0, 0.0, 1.0]),
    "minimum": ([V, W], [-2.5, -0.5, 0.25, 1.75]),
    "maximum": ([V, W], W),
    "where": ([[True, False, True, False], V, W], [-2.5, -0.5, 0.25, 1.75]),
    "sum": ([V], [-1.0]),
    "mean": ([V], [-0.25]),
    "amax": ([V], [1.75]),
    "cumsum": ([V], [-2.5, -3.0, -2.75, -1.0]),
    "concat": ([V, [9.0]], [*V, 9.0]),
    "part": ([V, 2, 4], [0.25, 1.75]),
    "outer": (([1.0, 2.0], [3.0, 4.0, 5.0]), [[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]]),
    "block_diagonal": (([[1.0], [2.0]], 1, 2), [[1.0, 0.0], [0.0, 2.0]]),
    "transpose": ([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]], [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]),
    "stop_gradient": ([V], V),
    "spike": ([V, 25.0], [0.0, 0.0, 1.0, 1.0]),
}


def tensor(v):
    return torch.tensor(v, dtype=torch.bool if isinstance(v[0], bool) else torch.float64)


def test_every_operation_has_a_row_here():
    assert set(ROWS) == set(OPERATIONS)


@pytest.mark.parametrize("op", ROWS)
def test_an_operation_has_the_value_of_its_formula(op):
    args, expected = ROWS[op]
    got = VALUES[op](*(a if isinstance(a, tuple | int | float) else tensor(a) for a in args))
    if got.dtype == torch.bool:
        assert got.tolist() == expected
    else:
        assert_close(got, tensor(expected))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (sl.softplus, [0.0, math.log(2), 1000.0]),
        (sl.softmax, [0.0, 0.0, 1.0]),
        (sl.sigmoid, [0.0, 0.5, 1.0]),
        (sl.silu, [0.0, 0.0, 1000.0]),
        (sl.gelu, [0.0, 0.0, 1000.0]),
        (sl.layer_norm, [-(1.5**0.5), 0.0, 1.5**0.5]),
        (sl.rms_norm, [-(1.5**0.5), 0.0, 1.5**0.5]),
        (lambda v: sl.clip(v, -1, 2), [-1.0, 0.0, 2.0]),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_large_values_neither_overflow_nor_lose_their_gradient(word, expected):
    @sl.cell
    def only(x, h=sl.state("x")):
        return word(x) + 0 * h

    x = torch.tensor([[[-1000.0, 0.0, 1000.0]]], dtype=torch.float64, requires_grad=True)
    y, _ = sl.Recurrent(only, 3, 1, dtype=torch.float64)(x)
    assert_close(y[0, 0], torch.tensor(expected, dtype=torch.float64))
    y.sum().backward()
    assert x.grad.isfinite().all()


def test_a_spike_has_the_gradient_of_a_smooth_step():
    v = torch.tensor([-math.inf, -2.0, -1e-9, 0.0, 0.5, math.inf, math.nan], dtype=torch.float64, requires_grad=True)
    fired = VALUES["spike"](v, 3.0)
    assert fired[:-1].tolist() == [0, 0, 0, 0, 1, 1] and fired[-1].isnan()
    fired.sum().backward()
    expected = 1 / (1 + 3 * v.detach().abs()) ** 2
    torch.testing.assert_close(v.grad, expected, equal_nan=True)


def test_a_gradient_that_is_stopped_does_not_reach_its_value():
    v = torch.tensor([1.0, 2.0], requires_grad=True)
    (VALUES["stop_gradient"](v) * v).sum().backward()
    assert v.grad.tolist() == [1, 2]
