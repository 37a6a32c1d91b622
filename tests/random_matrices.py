"""Random cells with matrix states, each drawn from one number: for tests/unit/exporting/test_native_matrices.py."""

import random
from typing import Any, NamedTuple

from catalogue import Entry
from random_cells import BINARY, LATE, OVER_UNITS, REDUCTIONS, UNARY

import selfloop as sl

STATES = {"h": ("h",), "n": ("k",), "C": ("h", "k"), "D": ("k", "k")}
PARAMS = {
    "a": "sl.param('')",
    "b": "sl.param('h')",
    "p": "sl.param('k')",
    "M": "sl.param('h k')",
    "B": "sl.param('k k', heads=2)",
    "U": "sl.param('h h')",
    "W": "sl.param('h x')",
    "V": "sl.param('k x')",
}
SHAPES = {"a": (), "b": ("h",), "p": ("k",), "M": ("h", "k"), "B": ("k", "k"), "U": ("h", "h")}
WORDS = (*["elementwise"] * 6, *["outer", "product", "turned product"] * 3, "turn", "reduce", "over units", "join")


class Term(NamedTuple):
    """A value of a cell, its shape, and whether parameters alone make it."""

    text: str
    shape: tuple[str, ...]
    is_constant: bool


def source(number: int) -> str:
    """The text of a cell: each line applies a word to values before it."""
    draw = random.Random(number)
    pool = [Term(name, shape, True) for name, shape in SHAPES.items()]
    pool += [Term(name, shape, False) for name, shape in STATES.items()]
    pool += [Term("(W @ x)", ("h",), False), Term("(V @ x)", ("k",), False)]
    lines: list[str] = []

    def pick(*fits: Any) -> Term:
        fitting = [v for v in pool if all(fit(v) for fit in fits)]
        return fitting[-1 - draw.choice(LATE) % len(fitting)]

    def is_vector(v: Term) -> bool:
        return len(v.shape) == 1

    def is_matrix(v: Term) -> bool:
        return len(v.shape) == 2

    for _ in range(draw.randint(6, 20)):
        word, terms, shape = draw.choice(WORDS), list[Term](), tuple[str, ...]()
        if word == "elementwise":
            a = pick()
            fits = [lambda v, a=a: v.shape == a.shape or (not v.shape and v.is_constant >= a.is_constant)]
            terms, shape = [a, pick(*fits)], a.shape
            text = draw.choice([*UNARY.values(), *BINARY.values()])
        elif word == "outer":
            terms = [pick(is_vector), pick(is_vector)]
            text, shape = "sl.outer({a}, {b})", (terms[0].shape[0], terms[1].shape[0])
        elif word == "turn":
            terms = [pick(is_matrix)]
            text, shape = "{a}.T", terms[0].shape[::-1]
        elif word.endswith("product"):
            matrix = pick(is_matrix)
            rows, columns = matrix.shape[:: -1 if word == "turned product" else 1]
            terms, shape = [matrix, pick(lambda v, columns=columns: v.shape == (columns,))], (rows,)
            text = "sl.tanh({a}.T @ {b})" if word == "turned product" else "sl.tanh({a} @ {b})"
        elif word == "join":  # what is put together, cut elsewhere
            terms = [pick(is_vector)]
            shape = terms[0].shape
            text = f"sl.split(sl.concat(sl.mean({{a}}), {{a}}), ('{shape[0]}', 1))[0]"
        else:
            terms = [pick(is_vector)]
            shape = () if word == "reduce" else terms[0].shape
            text = draw.choice([*(REDUCTIONS if word == "reduce" else OVER_UNITS).values()])
        own = dict(zip("ab", (v.text for v in terms), strict=False))
        lines.append(f"v{len(lines)} = {text.format(**own)}")
        pool.append(Term(f"v{len(lines) - 1}", shape, all(v.is_constant for v in terms)))
    new = [f"sl.tanh({pick(lambda v, shape=shape: v.shape == shape).text})" for shape in STATES.values()]
    new[0] += " / 2 + sl.tanh(U @ (M @ p + b) + W @ x + a) / 4"  # every parameter is used
    new[1] += " + sl.tanh(B @ (V @ x)) / 4"
    states = "h, n=sl.state('k'), C=sl.state('h k'), D=sl.state('k k')"
    declared = ", ".join(f"{name}={param}" for name, param in PARAMS.items())
    body = "\n".join(f"    {line}" for line in [*lines, f"return {', '.join(new)}"])
    return f"def anything(x, {states}, *, {declared}):\n{body}"


def layer(number: int) -> sl.Recurrent:
    """The stack that runs it."""
    draw, scope = random.Random(number), {"sl": sl}
    exec(source(number), scope)
    sizes = draw.choice([(3, 1, 2), (3, 5, 4), (3, 20, 6), (7, 16, 34)])
    options = draw.choice(
        [
            {},
            {"bidirectional": True},
            {"num_layers": 2, "layer_norm": True},
            {"num_layers": 2, "bidirectional": True, "learn_state": True},
        ]
    )
    return Entry(sl.cell(scope["anything"]), {"k": sizes[2]}).layer(*sizes[:2], **options)
