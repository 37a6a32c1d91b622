"""Every elementwise word at every special number, forward and backward: compiled kernels against torch.

Zeros have their sign, and NaN is NaN in the same places.
"""

import functools
import math

import pytest
import torch

import selfloop as sl
from selfloop.compiler.lower.operations import OPERATIONS
from selfloop.kernels import refusals

UNARY = {
    **{word: getattr(sl, word) for word in ("sigmoid", "tanh", "relu", "exp", "log", "softplus", "silu", "gelu")},
    **{word: getattr(sl, word) for word in ("erf", "sin", "cos", "sqrt", "abs", "floor")},
    "neg": lambda a: -a,
    "stop_gradient": lambda a: sl.stop_gradient(a) * a,
    "spike": lambda a: sl.spike(a, 2),
    "clip": lambda a: sl.clip(a, -1, 1),
    "clip at zeros": lambda a: sl.clip(a, -0.0, 0.0),
    "add a number": lambda a: a + 0.0,
    "add a negative zero": lambda a: a + -0.0,
    "subtract from zero": lambda a: 0.0 - a,
    "times zero": lambda a: a * 0.0,
    "over zero": lambda a: a / 0.0,
    "one over": lambda a: 1 / a,
    "square": lambda a: a * a,
    **{f"pow {n}": lambda a, n=n: a**n for n in (-3, -2, -1, 0, 1, 2, 3, 5)},
    "leaky": lambda a: sl.where(a > 0, a, 0.1 * a),
}
BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "minimum": sl.minimum,
    "maximum": sl.maximum,
    "lt": lambda a, b: sl.where(a < b, a, b),
    "le": lambda a, b: sl.where(a <= b, a, b),
    "gt": lambda a, b: sl.where(a > b, a, b),
    "ge": lambda a, b: sl.where(a >= b, a, b),
}
GRADIENTS = (1.0, 0.0, -1.0, 0.5, math.inf, -math.inf, math.nan)


WIDE = {"gelu": 1e-6, "tanh": 1e-6}
"""Absolute differences to allow: the sum in gelu's derivative, and 1 - tanh², lose some digits."""
IN_FLOAT64 = ("gelu",)
"""Where torch's own float32 is oneDNN's, whose values at the ends of the range depend on the processor."""
UNSIGNED = ("gelu", "minimum", "maximum")
"""Where the sign of torch's own zero changes with the length of the vector."""


def specials(word, dtype):
    """Zeros, ends of the range and of the normal numbers, and where formulas change branch."""
    info = torch.finfo(dtype)
    sizes = [0.0, info.smallest_normal, info.smallest_normal * 2, info.eps, 0.5, 0.6, 1.0, 2.0, 3.0, 20.0, 60.0]
    sizes += [info.max**0.5, info.max, math.inf]
    if word in ("sin", "cos"):  # beyond 2^20 they are some number between -1 and 1
        sizes = [s for s in sizes if s < 2**20 or s == math.inf]
    if word == "spike":  # beyond 1e15 the interpreter's gradient is zero, and not only nearly
        sizes = [s for s in sizes if s < 1e15]
    return torch.tensor([math.nan, *sizes, *(-s for s in sizes)], dtype=dtype)


def subnormals(dtype):
    """Numbers below the normal ones: functions may take them for zeros, arithmetic may not."""
    info = torch.finfo(dtype)
    return torch.tensor([s * info.smallest_normal * f for s in (1, -1) for f in (0.5, info.eps)], dtype=dtype)


@functools.cache
def cell(word):
    if word in UNARY:

        def edge(x, a, b):
            return UNARY[word](a), b

    else:

        def edge(x, a, b):
            return BINARY[word](a, b), b

    return sl.cell(edge)


def outcome(word, backend, a, b, gradient):
    """The value and the gradients of one step, whose state has the operands."""
    layer = sl.Recurrent(cell(word), 1, a.shape[1], backend=backend, dtype=a.dtype)
    a, b = (v[None].clone().requires_grad_() for v in (a, b))
    y, _ = layer(a.new_zeros(1, len(a[0]), 1), sl.State(a=a, b=b))
    return [y[0].detach(), *(g[0] for g in torch.autograd.grad(y[0], (a, b), gradient, materialize_grads=True))]


@pytest.mark.skipif(refusals.UNSUPPORTED is not None, reason="no kernels here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("word", [*UNARY, *BINARY])
def test_special_numbers_are_torchs(word, dtype):
    v = specials(word, dtype)
    if word in BINARY or word in ("neg", "abs", "relu", "sqrt", "leaky", "clip"):
        v = torch.cat([v, subnormals(dtype)])
    a, b = torch.cartesian_prod(v, v).T if word in BINARY else (v, v)
    gradient = torch.tensor(GRADIENTS, dtype=dtype)[:, None].expand(-1, len(a))
    a, b = (operand.expand(len(GRADIENTS), -1) for operand in (a, b))
    got = outcome(word, "native", a, b, gradient)
    if word in IN_FLOAT64:
        wide = outcome(word, "interpret", a.double(), b.double(), torch.ones_like(gradient, dtype=torch.float64))
        value, derivative, unused = (v.to(dtype) for v in wide)
        expected = [value, derivative * gradient, unused]
    else:
        expected = outcome(word, "interpret", a, b, gradient)
    rtol = 16 * torch.finfo(dtype).eps
    atol = WIDE.get(word, torch.finfo(dtype).smallest_normal)
    for name, g, e in zip(("value", "gradient", "gradient of the second"), got, expected, strict=True):
        near = torch.isclose(g, e, rtol=rtol, atol=atol, equal_nan=True)
        wrong = ~near
        if name == "value" and word not in UNSIGNED:
            wrong |= (g == 0) & (e == 0) & (g.signbit() != e.signbit())
        cases = torch.stack([a, b, gradient, g, e], -1)[wrong].tolist()
        assert not cases, f"{name} of {word}: (a, b, gradient, got, torch) {len(cases)} {cases[:12]}"


@pytest.mark.parametrize("backend", ["auto", "interpret"])
def test_clip_is_torchs_clamp_with_its_derivative_at_the_bounds(backend):
    a = specials("clip", torch.float32)[None]
    y, d, _ = outcome("clip", backend, a, a, torch.ones_like(a))
    a = a.clone().requires_grad_()
    expected = a.clamp(-1, 1)
    torch.testing.assert_close((y, d), (expected, *torch.autograd.grad(expected.sum(), a)), equal_nan=True)


def test_bounds_of_clip_can_be_learned():
    @sl.cell
    def bounded(x, h, *, low=sl.param("h"), high=sl.param("h")):
        return sl.clip(h, low, high)

    layer = sl.Recurrent(bounded, 1, 3)
    layer.load_state_dict({"low_l0": -torch.ones(3), "high_l0": torch.ones(3)})
    y, _ = layer(torch.zeros(1, 1, 1), sl.State(h=torch.tensor([[[-2.0, 0.5, 2.0]]])))
    y.sum().backward()
    assert y.flatten().tolist() == [-1, 0.5, 1]
    assert (layer.low_l0.grad.tolist(), layer.high_l0.grad.tolist()) == ([1, 0, 0], [0, 0, 1])


def test_every_elementwise_operation_has_its_case():
    tested = {name.partition(" ")[0] for name in (*UNARY, *BINARY)} | {"where"}
    written = {op for op, row in OPERATIONS.items() if row.kind in ("elementwise", "comparison")}
    assert written - tested == {"broadcast", "eq"}  # which a cell cannot write


@pytest.mark.parametrize("backend", ["auto", "interpret"])
def test_zero_and_negative_zero_are_two_numbers(backend):
    @sl.cell
    def both(x, a):
        return 1 / (a * 0.0) + 2 / (a * -0.0)

    y, _ = sl.Recurrent(both, 1, 1, backend=backend)(torch.zeros(1, 1, 1), sl.State(a=torch.ones(1, 1, 1)))
    assert y.isnan().all()  # inf - inf


def test_the_orthogonal_start_is_the_same_for_any_number_of_threads():
    before, weights = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for size in (64, 300):
                torch.manual_seed(0)
                weights.append(sl.Recurrent(sl.cells.vanilla, 1, size).W_hh_l0)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for k, weight in enumerate(weights):
        assert torch.equal(weight, weights[k % 2])
