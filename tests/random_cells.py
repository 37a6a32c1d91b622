"""Random cells in random calls, and all that must hold of each: for tests/contracts/test_any_cell.py and `make fuzz`.

A cell and its call are drawn from one number, so that the number repeats them:

    python tests/random_cells.py --cell 1234        # one, with its equations
    python tests/random_cells.py --minutes 60       # as many as fit, on all processors
"""

import argparse
import copy
import multiprocessing
import os
import random
import re
import sys
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from catalogue import Entry, everything

import selfloop as sl
from selfloop import processors
from selfloop.compiler import KernelLayout
from selfloop.kernels import compiled, memory, plan, plans, recording, stepping, weight_gradients

KINDS = ("", "h", "k", "x", "2h", "h+x")
MATRICES = {sizes: f"W{n}" for n, sizes in enumerate(product(KINDS[1:], repeat=2))}
PARAMS = {
    **{name: f"{rows} {columns}" for (rows, columns), name in MATRICES.items()},
    "a": "",
    "b": "h",
    "p": "k",
    "q": "2h",
    "D1": "h h",
    "D2": "2h h",
    "D3": "h 2h",
}
HEADS = ("D1", "D2", "D3")
"""The block-diagonal ones."""
MADE = ("sl.tanh({w})", "(0.5 * {w} + sl.abs({w}))", "(a * {w})", "sl.where({w} > 0.1, {w}, 0.2)")
UNARY = {
    "neg": "-{a}",
    "sigmoid": "sl.sigmoid({a})",
    "tanh": "sl.tanh({a})",
    "relu": "sl.relu({a})",
    "exp": "sl.exp(-sl.abs({a}))",
    "log": "sl.log({a} * {a} + 1.5)",
    "softplus": "sl.softplus({a})",
    "silu": "sl.silu({a})",
    "gelu": "sl.gelu({a})",
    "sin": "sl.sin({a})",
    "cos": "sl.cos({a})",
    "sqrt": "sl.sqrt({a} * {a} + 0.5)",
    "abs": "sl.abs({a})",
    "erf": "sl.erf({a})",
    "floor": "0.5 * {a} + 0.1 * sl.floor(3 * {a} + 0.37)",  # 0.37, as zeros may be of either sign by rounding
    "square": "sl.tanh({a}) ** 2",
    "cube": "sl.tanh({a}) ** 3",
    "power": "({a} ** 2 + 0.5) ** -2",
    "clip": "sl.clip({a}, -0.7, 0.9)",
    "shift": "1 - 0.5 * {a}",
    "reciprocal": "1 / (1 + {a} * {a})",
    "modulo": "0.3 * {a} + (0.5 * {a} + 0.13) % 0.7",
    "stop_gradient": "0.5 * {a} + sl.tanh(sl.stop_gradient({a}))",
    "spike": "0.4 * {a} + sl.spike({a} - 0.11, slope=3)",
}
BINARY = {
    "add": "{a} + {b}",
    "sub": "{a} - {b}",
    "mul": "sl.tanh({a}) * {b}",
    "div": "{a} / (1.5 + sl.sin({b}))",
    "minimum": "sl.minimum({a}, {b})",
    "maximum": "sl.maximum({a}, {b})",
    "lt": "sl.where({a} < {b}, {b}, 0.3 * {a})",
    "le": "sl.where({a} <= 0.1, {a} * 0.5, {b})",
    "gt": "sl.where({a} > {b}, 0.25, {b})",
    "ge": "sl.where({a} >= -0.2, {b}, {a})",
    "remainder": "(sl.tanh({a}) + 0.37) % (1.5 + sl.abs({b}))",
}
REDUCTIONS = {"sum": "0.3 * sl.sum({a})", "mean": "sl.mean({a})", "largest": "sl.sum(sl.softmax({a}) * {a})"}
OVER_UNITS = {
    "softmax": "sl.softmax({a})",
    "layer_norm": "sl.layer_norm({a})",
    "rms_norm": "sl.rms_norm({a})",
    "cumsum": "0.3 * sl.cumsum({a})",
}
PARTS = {
    "first": ("2h", "sl.split({a}, 2)[0]", "h"),
    "second": ("2h", "sl.split({a}, 2)[1]", "h"),
    "left": ("h+x", "sl.split({a}, ('h', 'x'))[0]", "h"),
    "right": ("h+x", "sl.split({a}, ('h', 'x'))[1]", "x"),
    "shifted": ("2h", "sl.split(sl.concat({a}, 0.3, sl.mean({a})), ('1', 'h', 'h+1'))[1]", "h"),
    "with a number": ("h", "sl.split(sl.concat(sl.sum({a}), {a}), ('h', 1))[0]", "h"),
}
JOINS = {("h", "h"): "2h", ("h", "x"): "h+x"}
PRODUCTS = [*["product"] * 16, *["made"] * 3, *["turned"] * 3, *["heads"] * 3]
WORDS = (*UNARY, *BINARY, *REDUCTIONS, *OVER_UNITS, *PARTS, *PRODUCTS, *["concat"] * 3)

LATE = (0, 0, 0, 0, 1, 1, 2, 5, 20)
"""How many values before the last ones those may be that are used next, so that the states need most of the lines."""


def source(program: list[tuple[int, int, int, int]], outputs: tuple[int, int]) -> str:
    """The text of a cell: each line applies a word to values before it, of whatever size they have."""
    pool = [("a", ""), ("p", "k"), ("q", "2h"), ("b", "h"), ("g", "k"), ("c", "k"), ("m", "h"), ("h", "h"), ("x", "x")]
    lines: list[str] = []

    def add(text: str, kind: str) -> None:
        lines.append(f"v{len(lines)} = {text}")
        pool.append((f"v{len(lines) - 1}", kind))

    for word, first, second, third in program:
        name = WORDS[word % len(WORDS)]
        a, kind = pool[-1 - first % len(pool)]
        if name in UNARY:
            add(UNARY[name].format(a=a), kind)
        elif name in BINARY:
            fitting = [v for v in pool if v[1] in (kind, "") or kind == ""]
            b, other = fitting[-1 - second % len(fitting)]
            add(BINARY[name].format(a=a, b=b), kind or other)
        elif name in REDUCTIONS or name in OVER_UNITS:
            if kind:
                reduces = name in REDUCTIONS
                add({**REDUCTIONS, **OVER_UNITS}[name].format(a=a), "" if reduces else kind)
        elif name in PARTS:
            wanted, text, own = PARTS[name]
            if fitting := [v for v in pool if v[1] == wanted]:
                add(text.format(a=fitting[-1 - first % len(fitting)][0]), own)
        elif name in PRODUCTS and kind:
            turns, only = name == "turned", HEADS if name == "heads" else PARAMS
            shapes = {w: tuple(PARAMS[w].split())[:: -1 if turns else 1] for w in only if " " in PARAMS[w]}
            if fitting := [(w, shape[0]) for w, shape in shapes.items() if shape[1] == kind]:
                matrix, rows = fitting[third % len(fitting)]
                if name == "made":
                    matrix = MADE[second % len(MADE)].format(w=matrix)
                add(f"{matrix}{'.T' if turns else ''} @ {a}", rows)
        elif name == "concat":
            pairs = list(JOINS.items())
            (left, right), joined = pairs[third % len(pairs)]
            lefts, rights = ([v for v in pool if v[1] == k] for k in (left, right))
            add(f"sl.concat({lefts[-1 - first % len(lefts)][0]}, {rights[-1 - second % len(rights)][0]})", joined)
    vectors = [v for v in pool if v[1]]
    value, kind = vectors[-1 - outputs[0] % len(vectors)]
    if kind != "h":
        add(f"{MATRICES['h', kind]} @ {value}", "h")
        value = pool[-1][0]
    states = [f"sl.tanh({value})"]
    for size, which in (("k", 0), ("h", outputs[1])):
        fitting = [v for v in pool if v[1] == size]
        states.append(f"sl.tanh({fitting[-1 - which % len(fitting)][0]})")
    body = [f"return {', '.join(states)}"]
    used = names(body[0])
    for line in reversed(lines):  # a parameter that nothing needs is refused
        if line.split()[0] in used:
            body.insert(0, line)
            used |= names(line)
    declared = [
        f"{name}=sl.param({shape!r}{', heads=' + repr('n') if name in HEADS else ''})"
        for name, shape in PARAMS.items()
        if name in used
    ]
    further = ["g=sl.given('k')"] if "g" in used else []
    vectors = ["x", "h", "c=sl.state('k')", "m=sl.state('h')", *further]
    arguments = ", ".join([*vectors, *(["*", *declared] if declared else [])])
    return f"def anything({arguments}):\n" + "\n".join(f"    {line}" for line in body)


def names(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


@dataclass(frozen=True)
class Call:
    """One call of one cell."""

    text: str
    sizes: dict[str, int]
    T: int
    B: int
    options: dict[str, Any]
    lengths: list[int] | None
    has_resets: bool
    chunk: int
    by_units: bool
    threads: int
    also_single: bool

    @classmethod
    def draw(cls, number: int) -> "Call":
        """The call of this number."""
        draw = random.Random(number)
        program = [
            (draw.randrange(len(WORDS)), draw.choice(LATE), draw.randrange(40), draw.randrange(40))
            for _ in range(draw.randint(1, 8))
        ]
        text = source(program, (draw.choice(LATE), draw.choice(LATE)))
        H = draw.choice([1, 2, 3, 4, 6, 8, 9, 17])
        heads = draw.choice([n for n in (1, 2, 3, 4) if H % n == 0])
        sizes = {"I": draw.choice([1, 3, 50]), "H": H, "k": draw.choice([1, 3, 8]), "n": heads}
        T, B = draw.choice([1, 2, 4, 9]), draw.choice([1, 3, 6, 9, 13])
        top = draw.randint(0, max(0, T - 2))  # which several sequences may have in common
        lengths = {
            "whole": None,
            "any": [draw.randint(0, T) for _ in range(B)],
            "below": [min(draw.randint(0, T), top) for _ in range(B)],
            "none": [0] * B,
        }[draw.choice(["whole", "whole", "any", "any", "below", "none"])]
        options = {
            "bidirectional": draw.random() < 0.3,
            "num_layers": draw.choice([1, 1, 1, 2]),
            "batch_first": draw.random() < 0.3,
            "recompute": draw.choice([None, None, 1, 3, T + 5]),
        }
        return cls(
            text,
            sizes,
            T,
            B,
            options,
            lengths,
            draw.random() < 0.3,
            draw.choice([1, 2000, recording.CHUNK_BYTES]),
            draw.random() < 0.4,
            draw.choice([1, 2, 3]),
            draw.random() < 0.2,
        )

    def layer(self) -> sl.Recurrent:
        """The stack that runs it."""
        scope: dict[str, Any] = {"sl": sl}
        exec(self.text, scope)
        cell = sl.cell(scope["anything"])
        entry = Entry(cell, {name: self.sizes[name] for name in (*cell.sizes, *cell.divisors)})
        return entry.layer(self.sizes["I"], self.sizes["H"], **self.options)


def check(number: int, call: Call | None = None) -> None:
    """Raise AssertionError unless all is as it must be: numbers, gradients, bits, single steps.

    Args:
        number: that of the call, from which its tensors are drawn, too.
        call: in the place of the number's.
    """
    call = call or Call.draw(number)
    torch.manual_seed(number)
    with _forced(call):
        _check(call, call.layer())


def _check(call: Call, rnn: sl.Recurrent) -> None:
    T, B = call.T, call.B
    I = call.sizes["I"]  # noqa: E741
    x = torch.randn(*((B, T) if rnn.batch_first else (T, B)), rnn._joint_size, dtype=torch.float64)
    start = sl.State(**{n: 0.5 * torch.randn_like(s) for n, s in rnn.zero_state(B).tensors.items()})
    options: dict[str, Any] = {"lengths": call.lengths}
    if call.has_resets:
        options["resets"] = torch.rand(x.shape[:2]) < 0.3

    def further(x: torch.Tensor) -> dict[str, torch.Tensor]:
        """What stands in `x` behind the first input."""
        return {"g": x[..., I:]} if len(rnn.cell.inputs) > 1 else {}

    def whole(rnn: sl.Recurrent, x: torch.Tensor, start: sl.State) -> tuple[torch.Tensor, sl.State]:
        return rnn(x[..., :I], start, **options, **further(x))

    def run(backend: str, threads: int) -> list[torch.Tensor]:
        rnn.backend = backend
        torch.set_num_threads(threads)
        return everything(rnn, x, start, lambda x, start: whole(rnn, x, start))

    expected, got = run("interpret", 1), run("native", call.threads)
    room = [0.0] * len(expected)
    if not all(torch.allclose(a, b, rtol=1e-8, atol=1e-9) for a, b in zip(got, expected, strict=True)):
        moved = _moved(rnn, x, start, whole)  # some cells magnify a rounding by ten at each step
        room = [float((a - b).detach().abs().max()) for a, b in zip(moved, expected, strict=True)]
    for a, b, by in zip(got, expected, room, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9 + by)
    _same("a second gradient", run("native", call.threads), got)
    _same("another number of threads", run("native", 1 + call.threads % 3), got)
    with torch.no_grad():
        y, final = whole(rnn, x, start)
    _same("inference", [y, *final], got[: 1 + len(start.tensors)])
    if not rnn.bidirectional and call.lengths is None and not call.has_resets:
        stepper = sl.Stepper(rnn, B)
        stepper.reset(start)
        for t in range(T):
            x_t = x.select(1 if rnn.batch_first else 0, t)
            given = {name: np.ascontiguousarray(v.numpy()) for name, v in further(x_t).items()}
            y_t = stepper(np.ascontiguousarray(x_t[..., :I].numpy()), **given)
            y_there = y.select(1 if rnn.batch_first else 0, t)
            torch.testing.assert_close(torch.from_numpy(y_t), y_there, rtol=1e-7, atol=1e-7 + room[0])
    if not call.also_single:  # half of the time goes into compiling
        return
    for weight in rnn.parameters():
        weight.data = weight.data.float()
    single, state = whole(rnn.float(), x.float(), start.to(torch.float32))
    assert single.isfinite().all() and all(s.isfinite().all() for s in state)


def _moved(rnn: sl.Recurrent, x: torch.Tensor, start: sl.State, run: Any) -> list[torch.Tensor]:
    """What the interpreter gives where all numbers are some roundings away from what they are."""
    near = copy.deepcopy(rnn)
    near.backend = "interpret"

    def away(v: torch.Tensor) -> torch.Tensor:
        return v + 1e-14 * v.abs().max() * torch.randn_like(v)

    for weight in near.parameters():
        weight.data = away(weight.data)
    there = sl.State(**{name: away(s) for name, s in start.tensors.items()})
    return everything(near, away(x), there, lambda x, start: run(near, x, start))


def _same(what: str, got: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for k, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert torch.equal(a, b), f"{what} gives other bits in tensor {k}: by {(a - b).abs().max().item():.1e}"


@contextmanager
def _forced(call: Call):
    """Small chunks, shared units and several threads, however little there is to do; and memory full of NaN."""
    before, threads = memory._empty, torch.get_num_threads()
    plans._PLANS.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "CHUNK_BYTES", call.chunk)
        patch.setattr(plan, "ONE_THREAD_BELOW", 0)
        if call.chunk == 2000:
            patch.setattr(weight_gradients, "ROWS_PER_SUM", 1)
        if call.by_units:
            patch.setattr(KernelLayout, "weight_bytes", property(lambda self: 1 << 40))
        patch.setattr(processors, "count", lambda: 64)
        patch.setattr(memory, "_empty", lambda *arguments: before(*arguments).fill_(torch.nan))
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            plans._PLANS.clear()
            for cached in (compiled._kernels, stepping._kernels):
                cached.cache_clear()  # kept, an hour of kernels would take 4 GB


def work(first: int, stride: int, seconds: float) -> tuple[int, list[int]]:
    """Check every `stride`-th number from the first until the time is over; how many, and which were wrong."""
    end, parent, done, wrong = time.monotonic() + seconds, os.getppid(), 0, []
    while time.monotonic() < end and os.getppid() == parent:  # a parent that is killed cannot say so
        number = first + done * stride
        done += 1
        try:
            check(number)
        except Exception:
            wrong.append(number)
            print(f"{traceback.format_exc()}\n{Call.draw(number)}\npython tests/random_cells.py --cell {number}\n")
    return done, wrong


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Random cells, compiled and interpreted.")
    parser.add_argument("--cell", type=int, help="check this one, and print it")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    asked = parser.parse_args()
    os.environ["SELFLOOP_CACHE"] = "off"
    if asked.cell is not None:
        print(Call.draw(asked.cell).text, Call.draw(asked.cell), sep="\n")
        check(asked.cell)
        return
    count = os.cpu_count() or 1
    print(f"seed {asked.seed}, {count} processes, {asked.minutes:g} minutes", flush=True)
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        found = pool.starmap(work, [(asked.seed * 1000 + k, count, asked.minutes * 60) for k in range(count)])
    wrong = [number for _, own in found for number in own]
    total = sum(done for done, _ in found)
    print(f"{total:,} random cells in {asked.minutes * 60:,.0f} s, {len(wrong) or 'none'} wrong {wrong or ''}".rstrip())
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
