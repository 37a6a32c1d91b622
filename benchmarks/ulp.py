"""How right the functions on vectors are, and how fast: every float32 against float64, in units of the last place.

    python benchmarks/ulp.py [--target avx512] [--functions tanh exp] [--quick] [--double]

A table of the worst error, where it is, the worst error where the result is no normal number (in units of the smallest
one: 1 is what flushing to zero costs), how many infinities, NaNs and zeros differ, and the nanoseconds an element takes
in a loop within the first cache. sin and cos are swept up to 2^20, reciprocal where it is promised. `--quick` takes
every 977th number; `--double` compares float64 with mpmath's numbers at some thousands of places.
"""

import argparse
import ctypes
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from llvmlite import ir

from selfloop.compiler.cpu.build import build
from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.mathematics import FUNCTIONS, reciprocal
from selfloop.compiler.cpu.emit.vectors import Vectors
from selfloop.compiler.cpu.targets import TARGETS, Target, host

Written = Callable[[Vectors, ir.Value], ir.Value]
WORDS: dict[str, Written] = {**FUNCTIONS, "reciprocal": reciprocal}
REFERENCE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "neg": torch.neg,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "exp": torch.exp,
    "log": torch.log,
    "softplus": lambda x: x.clamp(min=0) + (-x.abs()).exp().log1p(),
    "gelu": lambda x: 0.5 * x * torch.special.erfc(-x * math.sqrt(0.5)),
    "sin": torch.sin,
    "cos": torch.cos,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "erf": torch.special.erf,
    "floor": torch.floor,
    "reciprocal": torch.reciprocal,
}
"""The functions in float64."""
RANGE = {"sin": (0.0, 2.0**20), "cos": (0.0, 2.0**20), "reciprocal": (2.0**-126, 2.0**126)}
"""Where |x| must lie for accuracy to be promised."""
ODD = ("tanh", "erf", "sin", "neg", "reciprocal")
"""Swept where x is positive; that they are odd to the last bit is tested."""
CHUNK = 1 << 15
"""Small enough for torch to use one thread and for the cache to hold."""


class Loop:
    """A function over an array whose length is a whole number of vectors."""

    def __init__(self, name: str, write: Written, target: Target, bits: int) -> None:
        def loop(module: ir.Module) -> None:
            f = Function(module, "loop", target, bits)
            source, result, count = f.pointer(0), f.pointer(1), f.argument(2)
            with f.loop(0, f.argument(3)), f.loop(0, count, f.vectors.lanes) as i:
                f.store(write(f.vectors, f.load(f.at(source, i))), f.at(result, i))
            f.finish()

        self.name, self.bits = name, bits
        self._code = build(f"benchmarks/ulp {name} {bits}", target, loop)
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._code.address("loop"))

    def __call__(self, x: torch.Tensor, out: torch.Tensor | None = None, times: int = 1) -> torch.Tensor:
        out = torch.empty_like(x) if out is None else out
        block = np.array([x.data_ptr(), out.data_ptr(), x.numel(), times], dtype=np.int64)
        self._call(block.ctypes.data)
        return out


def spacing(x: torch.Tensor) -> torch.Tensor:
    """The distance of float32 numbers about each number, none below that of the smallest normal ones."""
    power = (x.view(torch.int64) & (0x7FF << 52)).view(torch.float64)
    return power.clamp_(min=2.0**-126).mul_(2.0**-23)


@dataclass
class Errors:
    """The worst of what was seen."""

    ulp: float = 0.0
    where: float = 0.0
    below: float = 0.0
    wrong: int = 0
    first_wrong: str = ""

    def see(self, x: torch.Tensor, got: torch.Tensor, wanted: torch.Tensor) -> None:
        """Compare results at x with float64 numbers."""
        smallest, largest = (bound.item() for bound in wanted.abs().aminmax())
        if smallest >= 2.0**-126 and largest < 2.0**127:
            self._keep(x, (got.double() - wanted).abs_().div_(spacing(wanted)))
            return
        rounded = wanted.float()
        is_special = ~rounded.isfinite() | (rounded == 0)
        error = (got.double() - wanted).abs_()
        ulp = (error / spacing(wanted)).masked_fill_(is_special, 0.0)
        is_wrong = torch.where(is_special, (got != rounded) & ~(got.isnan() & rounded.isnan()), ~ulp.isfinite())
        if is_wrong.any():
            place = int(is_wrong.nonzero()[0])
            self.first_wrong = self.first_wrong or f"f({x[place].item():.9g}) = {got[place].item():.9g}"
            self.wrong += int(is_wrong.sum())
            ulp.masked_fill_(is_wrong, 0.0)
        is_below = (wanted.abs() < 2.0**-126) & ~is_special & ~is_wrong
        if is_below.any():
            self.below = max(self.below, error[is_below].max().item() / 2.0**-126)
            ulp.masked_fill_(is_below, 0.0)
        self._keep(x, ulp)

    def _keep(self, x: torch.Tensor, ulp: torch.Tensor) -> None:
        place = int(ulp.argmax())
        if ulp[place] > self.ulp:
            self.ulp, self.where = ulp[place].item(), x[place].item()


def sweep(name: str, loop: Loop, step: int = 1) -> Errors:
    """Every pattern of bits of a float32, or every so many."""
    errors = Errors()
    for start in range(0 if name in ODD else -(1 << 31), 1 << 31, CHUNK * step):
        stop = min(start + CHUNK * step, 1 << 31)
        x = torch.arange(start, stop, step).to(torch.int32).view(torch.float32)
        x = torch.nn.functional.pad(x, (0, -len(x) % 16))
        wanted = REFERENCE[name](x.double())
        got = loop(x)
        if name in RANGE:
            low, high = RANGE[name]
            is_promised = ((x.abs() >= low) & (x.abs() <= high)) | x.isnan()
            x, got, wanted = (values[is_promised] for values in (x, got, wanted))
        if len(x) > 0:
            errors.see(x, got, wanted)
    return errors


def nanoseconds(loop: Loop, elements: int = 4096, times: int = 500) -> float:
    """Of an element, at best of seven rounds, where input and output lie in the first cache."""
    x = torch.empty(elements, dtype=torch.float32 if loop.bits == 32 else torch.float64).uniform_(0.1, 8.0)
    x *= torch.where(torch.arange(elements) % 2 == 0, 1, -1) if loop.name != "log" else 1
    out, best = torch.empty_like(x), math.inf
    for _ in range(7):
        start = time.perf_counter()
        loop(x, out, times)
        best = min(best, time.perf_counter() - start)
    return best * 1e9 / times / elements


def doubles(name: str, loop: Loop) -> Errors:
    """float64 at some thousands of places against mpmath, in units of float64's last place."""
    import mpmath  # noqa: PLC0415 - it comes with torch, and nothing else needs it

    mpmath.mp.prec = 120
    exact = {
        "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
        "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
        "gelu": lambda x: x * mpmath.ncdf(x),
        "relu": lambda x: max(x, mpmath.mpf(0)),
        "neg": lambda x: -x,
        "abs": abs,
        "reciprocal": lambda x: 1 / x,
    }.get(name) or getattr(mpmath, name)
    generator = torch.Generator().manual_seed(0)
    size = torch.rand(4096, generator=generator, dtype=torch.float64)
    x = torch.cat([size * 8, size * 40, torch.exp(size * 40 - 36)])
    x = x if name in ("log", "sqrt") else torch.cat([x, -x])
    errors = Errors()
    for a, got in zip(x.tolist(), loop(x).tolist(), strict=True):
        wanted = exact(mpmath.mpf(a))
        if wanted == 0 or abs(wanted) < 2.0**-1022:
            continue
        ulp = float(abs(got - wanted)) / math.ulp(float(wanted))
        if ulp > errors.ulp:
            errors.ulp, errors.where = ulp, a
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=[t.name for t in TARGETS], help="the processor's own when left out")
    parser.add_argument("--functions", nargs="+", choices=WORDS, default=list(WORDS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="every 977th number")
    parser.add_argument("--double", action="store_true", help="float64 (needs mpmath)")
    options = parser.parse_args()
    target = next((t for t in TARGETS if t.name == options.target), None) or host()
    bits = 64 if options.double else 32
    print(f"{target.name}, float{bits}\n{'':12}{'ulp':>8}{'at':>18}{'denormal':>10}{'wrong':>7}{'ns':>8}")
    for name in options.functions:
        loop = Loop(name, WORDS[name], target, bits)
        errors = doubles(name, loop) if options.double else sweep(name, loop, 977 if options.quick else 1)
        row = f"{name:12}{errors.ulp:8.3f}{errors.where:18.9g}{errors.below:10.1g}{errors.wrong:7}"
        print(f"{row}{nanoseconds(loop):8.3f}  {errors.first_wrong}", flush=True)


if __name__ == "__main__":
    main()
