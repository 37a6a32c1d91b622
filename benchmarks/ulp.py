"""How right the functions on vectors are, and how fast: every float32 against float64, in units of the last place.

    python benchmarks/ulp.py [--target avx512] [--functions tanh exp] [--quick] [--double]

A table of the worst error, where it is, the worst error of results below the smallest normal number (in units of 2^-149),
how many special values (infinities, NaN, overflow) differ, and the nanoseconds an element takes in a loop over the first
cache. `--quick` takes every 977th number; `--double` compares float64 with mpmath's numbers at some thousands of places.
"""

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from llvmlite import ir
from numpy.typing import NDArray

from selfloop.compiler.build import Code, build
from selfloop.compiler.emit.loops import Function
from selfloop.compiler.emit.mathematics import FUNCTIONS, erf, reciprocal
from selfloop.compiler.emit.vectors import Vectors
from selfloop.compiler.targets import TARGETS, Target, host

Written = Callable[[Vectors, ir.Value], ir.Value]
WORDS: dict[str, Written] = {**FUNCTIONS, "erf": erf, "reciprocal": reciprocal}
REFERENCE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "neg": torch.neg,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "exp": torch.exp,
    "log": torch.log,
    "softplus": lambda x: x.clamp(min=0) + (-x.abs()).exp().log1p(),
    "gelu": lambda x: torch.where(x == -math.inf, 0.0, 0.5 * x * torch.special.erfc(-x * math.sqrt(0.5))),
    "sin": torch.sin,
    "cos": torch.cos,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "erf": torch.special.erf,
    "reciprocal": torch.reciprocal,
}
"""The functions in float64."""
RANGE = {"sin": 2.0**17, "cos": 2.0**17}
"""Beyond which |x| no accuracy is promised."""
CHUNK = 1 << 18


class Loop:
    """A function over an array whose length is a whole number of vectors."""

    def __init__(self, name: str, write: Written, target: Target, bits: int) -> None:
        import ctypes

        def loop(module: ir.Module) -> None:
            f = Function(module, "loop", target, bits)
            source, result, count = f.pointer(0), f.pointer(1), f.argument(2)
            with f.loop(0, count, f.vectors.lanes) as i:
                f.store(write(f.vectors, f.load(f.at(source, i))), f.at(result, i))
            f.finish()

        self.code: Code = build(f"benchmarks/ulp {name} {bits}", target, loop)
        self.call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.code.address("loop"))

    def __call__(self, x: torch.Tensor, out: torch.Tensor | None = None, times: int = 1) -> torch.Tensor:
        out = torch.empty_like(x) if out is None else out
        block = np.array([x.data_ptr(), out.data_ptr(), x.numel()], dtype=np.int64)
        for _ in range(times):
            self.call(block.ctypes.data)
        return out
