"""Products of matrices where they lie: the numbers of NumPy in float64, and nothing is read but what is theirs."""

import ctypes
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runnable import RUNNABLE

from selfloop.compiler.cpu.build import build
from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.gemv import NAMES, declare_gemv, emit_gemv
from selfloop.compiler.cpu.targets import GEMV_ROWS

DTYPES = {32: np.float32, 64: np.float64}


@cache
def compiled(name, target, bits):
    """The function, as one that takes its arguments in an array of numbers."""
    is_transposed = name == "gemv_transposed"

    def write(module):
        f = Function(module, "call", target, bits)
        pointers = [f.pointer(k) for k in range(3)]
        numbers = [f.argument(k) for k in range(3, 8)]
        f.builder.call(declare_gemv(module, is_transposed, target), [*pointers, *numbers])
        f.finish()

    called = partial(emit_gemv, is_transposed=is_transposed, target=target, bits=bits)
    code = build(f"test of {name} {bits}", target, write, [(f"{name} {bits}", called)])
    return code, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("call"))


@pytest.mark.parametrize("bits", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", RUNNABLE, ids=lambda t: t.name)
@given(
    m=st.integers(1, 70),
    n=st.integers(1, 70),
    beside=st.integers(0, 3),
    height=st.integers(1, GEMV_ROWS),
    seed=st.integers(0, 99),
)
def test_any_matrix_multiplies_any_vectors(target, name, bits, m, n, beside, height, seed):
    random, dtype = np.random.default_rng(seed), DTYPES[bits]
    is_transposed = name == "gemv_transposed"
    given, results = (m, n) if is_transposed else (n, m)
    memory = np.full((m, n + beside), np.nan, dtype)  # what lies beside the matrix is not read
    memory[:, :n] = random.normal(size=(m, n))
    vectors = np.full((GEMV_ROWS, given + 1), np.nan, dtype)
    vectors[:, :given] = random.normal(size=(GEMV_ROWS, given))
    y = np.zeros((GEMV_ROWS, -(-results // 16) * 16), dtype)
    y[:, :results] = before = random.normal(size=(GEMV_ROWS, results)).astype(dtype)
    addresses = vectors.ctypes.data + np.arange(GEMV_ROWS) * vectors.strides[0]
    block = [memory.ctypes.data, addresses.ctypes.data, y.ctypes.data, n + beside, y.shape[1], m, n, height]
    compiled(name, target, bits)[1](np.array(block, np.int64).ctypes.data)

    matrix = memory[:, :n].astype(np.float64)
    expected = before + vectors[:, :given].astype(np.float64) @ (matrix if is_transposed else matrix.T)
    tolerance = 1e-4 if bits == 32 else 1e-12
    np.testing.assert_allclose(y[:height, :results], expected[:height], rtol=tolerance, atol=tolerance)
