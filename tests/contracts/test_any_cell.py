"""Cells that nobody wrote: random equations, compiled and interpreted, give the same numbers and gradients.

SELFLOOP_FUZZ=300 tries 300 cells, others at each run. A failure prints the smallest cell that hypothesis found.
"""

import os
import re
from itertools import product

import torch
from catalogue import Entry, everything
from hypothesis import given, note, settings
from hypothesis import strategies as st

import selfloop as sl

EXAMPLES = int(os.environ.get("SELFLOOP_FUZZ", "0"))
KINDS = ("", "h", "k", "x", "2h", "h+x")
PARAMS = {
    **{f"W{n}": f"{rows} {columns}" for n, (rows, columns) in enumerate(product(KINDS[1:], repeat=2))},
    "a": "",
    "b": "h",
    "p": "k",
    "q": "2h",
}
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
    "clip": "sl.clip({a}, -0.7, 0.9)",
    "shift": "1 - 0.5 * {a}",
    "reciprocal": "1 / (1 + {a} * {a})",
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
}
REDUCTIONS = {"sum": "0.3 * sl.sum({a})", "mean": "sl.mean({a})", "largest": "sl.sum(sl.softmax({a}) * {a})"}
NORMS = {"softmax": "sl.softmax({a})", "layer_norm": "sl.layer_norm({a})", "rms_norm": "sl.rms_norm({a})"}
PARTS = {"first": "sl.split({a}, 2)[0]", "second": "sl.split({a}, 2)[1]"}
JOINS = {("h", "h"): "2h", ("h", "x"): "h+x"}
WORDS = (*UNARY, *BINARY, *REDUCTIONS, *NORMS, *PARTS, "product", "product", "product", "concat", "concat")


def source(program: list[tuple[int, int, int, int]], outputs: tuple[int, int]) -> str:
    """The text of a cell: each line applies a word to values before it, of whatever size they have."""
    pool = [("x", "x"), ("h", "h"), ("c", "k"), ("m", "h"), ("a", ""), ("b", "h"), ("p", "k"), ("q", "2h")]
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
        elif name in REDUCTIONS or name in NORMS:
            if kind:
                reduces = name in REDUCTIONS
                add({**REDUCTIONS, **NORMS}[name].format(a=a), "" if reduces else kind)
        elif name in PARTS:
            wide = [v for v in pool if v[1] == "2h"]
            a, _ = wide[-1 - first % len(wide)]
            add(PARTS[name].format(a=a), "h")
        elif name == "product" and kind:
            fitting = [(w, shape.split()[0]) for w, shape in PARAMS.items() if shape.endswith(f" {kind}")]
            matrix, rows = fitting[third % len(fitting)]
            add(f"{matrix} @ {a}", rows)
        elif name == "concat":
            pairs = list(JOINS.items())
            (left, right), joined = pairs[third % len(pairs)]
            lefts, rights = ([v for v in pool if v[1] == k] for k in (left, right))
            add(f"sl.concat({lefts[-1 - first % len(lefts)][0]}, {rights[-1 - second % len(rights)][0]})", joined)
    states = []
    for size, which in (("h", outputs[0]), ("k", 0), ("h", outputs[1])):
        fitting = [v for v in pool if v[1] == size]
        states.append(f"sl.tanh({fitting[-1 - which % len(fitting)][0]})")
    body = [f"return {', '.join(states)}"]
    used = names(body[0])
    for line in reversed(lines):  # a parameter that nothing needs is refused
        if line.split()[0] in used:
            body.insert(0, line)
            used |= names(line)
    declared = [f"{name}=sl.param({shape!r})" for name, shape in PARAMS.items() if name in used]
    arguments = ", ".join(["x", "h", "c=sl.state('k')", "m=sl.state('h')", *(["*", *declared] if declared else [])])
    return f"def anything({arguments}):\n" + "\n".join(f"    {line}" for line in body)


def names(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


numbers = st.integers(0, 39)
programs = st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=14)
sizes = st.sampled_from([1, 2, 3, 4, 7, 8, 9, 17])


@settings(max_examples=EXAMPLES or 12, derandomize=not EXAMPLES)
@given(programs, st.tuples(numbers, numbers), sizes, sizes, st.sampled_from([1, 3, 50]), st.sampled_from([1, 3, 9]))
def test_any_equations_compiled_are_those_equations_interpreted(program, outputs, H, k, inputs, B):
    text = source(program, outputs)
    note(f"{text}\nI={inputs}, H={H}, k={k}, B={B}")
    scope = {"sl": sl}
    exec(text, scope)
    rnn = Entry(sl.cell(scope["anything"]), {"k": k}).layer(inputs, H)
    x = torch.randn(4, B, inputs, dtype=torch.float64)
    start = sl.State(**{n: 0.5 * torch.randn_like(s) for n, s in rnn.zero_state(B).tensors.items()})
    lengths = [4, 2, 0, 1, 3, 4, 4, 1, 2][:B]
    answers = []
    for backend in ("native", "interpret"):
        rnn.backend = backend
        answers.append(everything(rnn, x, start, lambda x, start: rnn(x, start, lengths=lengths)))
    for got, expected in zip(*answers, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-9)
