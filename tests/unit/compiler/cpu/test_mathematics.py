"""The functions on vectors: a few units in the last place of float64's or mpmath's, and torch's special values."""

import ctypes
import math
from dataclasses import replace
from functools import cache

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from object_files import undefined
from runnable import RUNNABLE

from selfloop.compiler.cpu.build import build, object_file
from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.mathematics import FUNCTIONS, power, reciprocal
from selfloop.compiler.cpu.targets import TARGETS, host
from selfloop.errors import BackendError

POWERS = {f"pow {n}": n for n in (-2, 2, 3, 5)}
WORDS = {
    **FUNCTIONS,
    **{word: lambda v, x, n=n: power(v, x, n) for word, n in POWERS.items()},
    "reciprocal": reciprocal,
}
REFERENCE = {
    **{word: getattr(torch, word) for word in ("neg", "sigmoid", "tanh", "relu", "exp", "log", "sin", "cos", "sqrt")},
    "abs": torch.abs,
    "softplus": lambda x: x.clamp(min=0) + (-x.abs()).exp().log1p(),
    "gelu": lambda x: 0.5 * x * torch.special.erfc(-x * math.sqrt(0.5)),
    "erf": torch.erf,
    "floor": torch.floor,
    "reciprocal": torch.reciprocal,
    **{word: lambda x, n=n: x**n for word, n in POWERS.items()},
}
EXACT = {
    **{word: getattr(mpmath, word) for word in ("tanh", "exp", "log", "sin", "cos", "sqrt", "erf")},
    "neg": lambda x: -x,
    "abs": abs,
    "relu": lambda x: max(x, mpmath.mpf(0)),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "gelu": lambda x: x * mpmath.ncdf(x),
    "floor": mpmath.floor,
    "reciprocal": lambda x: 1 / x,
    **{word: lambda x, n=n: x**n for word, n in POWERS.items()},
}
ULP = {
    "neg": (0.0, 0.0),
    "abs": (0.0, 0.0),
    "relu": (0.0, 0.0),
    "floor": (0.0, 0.0),
    "pow 2": (0.51, 0.51),
    "pow 3": (1.5, 1.5),
    "pow 5": (3.5, 3.5),
    "pow -2": (1.6, 1.6),
    "sqrt": (0.51, 0.51),
    "reciprocal": (1.0, 0.51),
    "exp": (1.5, 1.5),
    "log": (1.5, 1.5),
    "sigmoid": (2.5, 2.5),
    "tanh": (2.7, 3.0),
    "softplus": (3.0, 3.0),
    "gelu": (3.0, 6.0),
    "erf": (3.0, 4.0),
    "sin": (2.0, 2.0),
    "cos": (2.0, 2.0),
}
"""What float32 and float64 may be wrong by, in units of the last place."""
WITHIN = {"sin": (0.0, 2.0**20), "cos": (0.0, 2.0**20), "reciprocal": (2.0**-126, 2.0**126)}
WITHIN |= dict.fromkeys(POWERS, (2.0**-24, 2.0**24))  # beyond, some are no normal numbers
"""Where |x| must lie for that to be promised."""
IN_FLOAT64 = ("sin", "cos", "gelu", "erf")
"""Functions that are computed in float64, where the processor has it, to be good in float32."""
INFINITY, NAN = math.inf, math.nan
SPECIAL = {
    "neg": {INFINITY: -INFINITY, -INFINITY: INFINITY},
    "sigmoid": {INFINITY: 1, -INFINITY: 0, 0.0: 0.5, 1e30: 1, -1e30: 0},
    "tanh": {INFINITY: 1, -INFINITY: -1, 0.0: 0, 1e30: 1, -1e30: -1},
    "relu": {INFINITY: INFINITY, -INFINITY: 0, 0.0: 0},
    "exp": {INFINITY: INFINITY, -INFINITY: 0, 0.0: 1, 1e30: INFINITY, -1e30: 0},
    "log": {INFINITY: INFINITY, -INFINITY: NAN, 0.0: -INFINITY, -1.0: NAN, 1.0: 0},
    "softplus": {INFINITY: INFINITY, -INFINITY: 0, 1e30: 1e30, -1e30: 0},
    "gelu": {INFINITY: INFINITY, -INFINITY: NAN, 0.0: 0, 1e30: 1e30, -1e30: 0},
    "sin": {INFINITY: NAN, -INFINITY: NAN, 0.0: 0},
    "cos": {INFINITY: NAN, -INFINITY: NAN, 0.0: 1},
    "sqrt": {INFINITY: INFINITY, -1.0: NAN, 0.0: 0},
    "abs": {INFINITY: INFINITY, -INFINITY: INFINITY},
    "erf": {INFINITY: 1, -INFINITY: -1, 0.0: 0, 1e30: 1, -1e30: -1},
    "reciprocal": {1.0: 1, -2.0: -0.5},
    "floor": {INFINITY: INFINITY, -INFINITY: -INFINITY, 0.0: 0, -0.5: -1, 1e30: 1e30, -8388607.5: -8388608},
    "pow -2": {INFINITY: 0, -INFINITY: 0, 0.0: INFINITY, -2.0: 0.25},
    "pow 2": {INFINITY: INFINITY, -INFINITY: INFINITY, 0.0: 0, -3.0: 9},
    "pow 3": {INFINITY: INFINITY, -INFINITY: -INFINITY, 0.0: 0, -3.0: -27},
    "pow 5": {INFINITY: INFINITY, -INFINITY: -INFINITY, 0.0: 0, -3.0: -243},
}


def writer(word, target, bits):
    def write(module):
        f = Function(module, "loop", target, bits)
        source, result, count = f.pointer(0), f.pointer(1), f.argument(2)
        with f.loop(0, count, f.vectors.lanes) as i:
            f.store(WORDS[word](f.vectors, f.load(f.at(source, i))), f.at(result, i))
        f.finish()

    return write


@cache
def compiled(word, target, bits):
    code = build(f"test_mathematics {word} {bits}", target, writer(word, target, bits))
    return code, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("loop"))


def value(word, target, x):
    padded = torch.nn.functional.pad(x, (0, -len(x) % 16)).contiguous()
    out = torch.empty_like(padded)
    block = np.array([padded.data_ptr(), out.data_ptr(), len(padded)], dtype=np.int64)
    compiled(word, target, x.element_size() * 8)[1](block.ctypes.data)
    return out[: len(x)]


@pytest.fixture(params=RUNNABLE, ids=lambda t: t.name)
def target(request):
    return request.param


def dense():
    """All exponents, and numbers of everyday's size."""
    patterns = torch.arange(-(1 << 31), 1 << 31, 20011).to(torch.int32).view(torch.float32)
    sizes = torch.linspace(0, 20, 40001)
    far = torch.linspace(20, 105, 20001)
    x = torch.cat([patterns, sizes, -sizes, far, -far])
    return x[x.isfinite()]


@pytest.mark.parametrize("word", WORDS)
def test_float32_is_right_to_a_few_units(word, target):
    x = dense()
    low, high = WITHIN.get(word, (0.0, math.inf))
    x = x[(x.abs() >= low) & (x.abs() <= high)]
    got, wanted = value(word, target, x), REFERENCE[word](x.double())
    rounded = wanted.float()
    is_special = ~rounded.isfinite() | (rounded == 0)
    torch.testing.assert_close(got[is_special], rounded[is_special], rtol=0, atol=0, equal_nan=True)
    is_below = ~is_special & (wanted.abs() < 2.0**-126)  # zero will do
    assert ((got.double() - wanted).abs()[is_below] <= 2.0**-126).all()
    spacing = torch.ldexp(torch.ones_like(wanted), torch.frexp(wanted)[1] - 24)
    error = ((got.double() - wanted).abs() / spacing)[~is_special & ~is_below]
    assert error.max() <= ULP[word][0]


@pytest.mark.parametrize("word", IN_FLOAT64)
def test_without_float64_functions_are_right_to_a_few_roundings(word, target):
    x = dense()
    x = x[x.abs() <= (4000 if word in ("sin", "cos") else math.inf)]
    got, wanted = value(word, replace(target, has_float64=False), x), REFERENCE[word](x.double())
    size = wanted.abs().clamp(min=1 if word in ("sin", "cos") else 0)
    assert ((got.double() - wanted).abs() <= 4e-7 * size + 2e-38).all()


@pytest.mark.parametrize("word", WORDS)
def test_float64_is_right_to_a_few_units(word, target):
    size = torch.rand(120, dtype=torch.float64)
    x = torch.cat([size * 2, size * 30, torch.exp(size * 40 - 36)])
    x = x if word in ("log", "sqrt") else torch.cat([x, -x])
    with mpmath.workprec(150):
        for a, got in zip(x.tolist(), value(word, target, x).tolist(), strict=True):
            wanted = EXACT[word](mpmath.mpf(a))
            if abs(wanted) > 2.0**-1000:
                assert abs(got - wanted) <= ULP[word][1] * math.ulp(float(wanted)), (a, got)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("word", WORDS)
def test_special_values_are_torchs(word, bits, target):
    dtype = {32: torch.float32, 64: torch.float64}[bits]
    x = torch.tensor([NAN, *SPECIAL[word]], dtype=dtype)
    wanted = torch.tensor([NAN, *SPECIAL[word].values()], dtype=dtype)
    torch.testing.assert_close(value(word, target, x), wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("word", ["tanh", "sin", "erf"])
def test_odd_functions_are_odd_to_the_last_bit(word, bits, target):
    x = dense().to({32: torch.float32, 64: torch.float64}[bits])
    x = x[x.abs() <= WITHIN.get(word, (0.0, math.inf))[1]]
    assert torch.equal(value(word, target, -x), -value(word, target, x))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("word", ["tanh", "erf", "sin", "cos"])
def test_what_is_bounded_by_one_stays_there(word, bits, target):
    x = dense().to({32: torch.float32, 64: torch.float64}[bits])
    assert value(word, target, x).abs().max() <= 1


@given(x=st.floats(width=32, allow_nan=False, min_value=-80, max_value=80))
def test_sigmoid_and_tanh_at_any_number(x):
    x = torch.tensor([x])
    for word in ("sigmoid", "tanh"):
        wanted = REFERENCE[word](x.double()).item()
        spacing = 2.0 ** (math.frexp(wanted)[1] - 24)
        error = abs(value(word, host(), x).item() - wanted)
        assert error <= max(ULP[word][0] * spacing, 2.0**-126)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_no_function_calls_another_on_any_processor(word, bits, target):
    if not target.has_float64 and bits == 64:
        with pytest.raises(BackendError, match=f"{target.name} does not compute in float64"):
            object_file(target, writer(word, target, bits))
    else:
        assert not undefined(object_file(target, writer(word, target, bits)))
