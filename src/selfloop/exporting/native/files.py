"""The files of a model in C: interface, code, weights, and a check of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfloop.compiler.native import C99, HEAD, MAGIC, Model, ModelWriter, WeightLayout, form, structs
from selfloop.exporting.exported import tolerated
from selfloop.exporting.native.describe import Described
from selfloop.exporting.native.emulated import FLAGS, Toolchain
from selfloop.exporting.native.packing import Packed, packed
from selfloop.exporting.native.templates import (
    CHECK,
    DOCUMENTED,
    HEADER,
    LIBRARY,
    MAKEFILE,
    SOURCE,
    STATE,
    WEIGHTS,
    WORDS,
)

Floats = NDArray[np.float32]
CODES = {"bf16": "uint16_t", "int8": "int8_t"}
"""Types of C, by the form of weights."""


@dataclass(frozen=True)
class Words:
    """Names that the code's numbers stand for.

    Attributes:
        title: ``tokens`` or ``labels``.
        texts: of each number.
    """

    title: str
    texts: Sequence[str]


@dataclass(eq=False)
class Source:
    """A model as C.

    Attributes:
        described: the model and its weights.
        title: of it, for comments.
        about: likewise: equations, inputs.
        words: of its answers, or None.
    """

    described: Described
    title: str
    about: str
    words: Words | None = None

    @property
    def model(self) -> Model:
        """What it is."""
        return self.described.model

    @cached_property
    def _written(self) -> tuple[C99, WeightLayout]:
        layout, writer = WeightLayout(self.model.form), C99(structs(self.model))
        ModelWriter(self.model, writer, layout).write()
        return writer, layout

    @property
    def layout(self) -> WeightLayout:
        """Of the C source."""
        return self._written[1]

    @cached_property
    def weights(self) -> Packed:
        """In the order of the C source."""
        return self.packed(self.layout, C99.kind)

    def packed(self, layout: WeightLayout, kind: str) -> Packed:
        """The weights as the code of a writer reads them."""
        return packed(layout, self.described.weights, form(self.model, kind))

    def header(self, packed: Packed) -> str:
        """The interface, for weights in an order."""
        model, name = self.model, self.model.name
        fields = [f"    float f[{len(packed.floats)}];"]
        fields += [f"    {CODES[model.form]} q[{len(packed.codes)}];"] if model.form != "f32" else []
        state = "\n".join(f"    float {state}[{size}];" for state, size in model.states.items())
        return HEADER.format(
            name=name,
            NAME=name.upper(),
            title=self.title,
            about=_comment(self.about),
            sizes=self._sizes(),
            head=HEAD,
            magic=f"0x{MAGIC:08x}",
            fields="\n".join(fields),
            state="" if model.is_two_way else STATE.format(name=name, fields=state),
            words=WORDS.format(name=name, title=self.words.title, count=len(self.words.texts)) if self.words else "",
            functions=self._prototypes(),
        )

    def _sizes(self) -> str:
        model, NAME = self.model, self.model.name.upper()
        sizes = [
            (f"{NAME}_INPUT {1 if model.vocabulary else model.numbers}", f"{self._unit}s that a step reads"),
            (f"{NAME}_OUTPUT {model.output_size}", "floats of an answer"),
        ]
        if model.vocabulary:
            sizes.append((f"{NAME}_VOCABULARY {model.vocabulary}", "tokens are numbers from 0 on, below this"))
        if model.is_two_way:
            sizes.append((f"{NAME}_ROOM(steps) ({model.room} * (steps))", "floats that a run needs for its time"))
        else:
            words = HEAD + sum(model.states.values())
            sizes.append((f"{NAME}_SAVED {words}", "words of a state that is saved"))
        width = max(len(left) for left, _ in sizes)
        return "\n".join(f"#define {left:<{width}}  /* {right} */" for left, right in sizes)

    @property
    def _unit(self) -> str:
        return "token" if self.model.vocabulary else "float"

    def _prototypes(self) -> str:
        model, name = self.model, self.model.name
        NAME = name.upper()
        one = "a token" if model.vocabulary else f"x[{model.numbers}]"
        many = "tokens[steps]" if model.vocabulary else f"x[steps][{model.numbers}]"
        answer = f"y[{model.output_size}]"
        answers = answer if model.pooling else f"y[steps][{model.output_size}]"
        lines = []
        for function, prototype in self._written[0].prototypes.items():
            verb = function.removeprefix(f"{name}_")
            key = "run_two_way" if verb == "run" and model.is_two_way else verb
            text = DOCUMENTED[key].format(input=one, output=answer, inputs=many, outputs=answers, name=name, NAME=NAME)
            lines.append("\n/* {} */\n{};\n".format(text.replace("\n", "\n   "), prototype))
        return "".join(lines)

    def source(self) -> str:
        """All functions."""
        return SOURCE.format(name=self.model.name, text=self._written[0].text)

    def trained(self) -> str:
        """The weights as a constant, and the words."""
        own, name = self.weights, self.model.name
        codes = f"\n    {{\n{_wrapped(map(str, own.codes))}\n    }}," if self.model.form != "f32" else ""
        return (
            WEIGHTS.format(
                name=name,
                head=", ".join(f"0x{word:08x}u" for word in own.head),
                floats=_wrapped(map(c_float, own.floats)),
                codes=codes,
            )
            + self.texts()
        )

    def texts(self) -> str:
        """The words as a table."""
        if self.words is None:
            return ""
        rows = ",\n".join(f"    {_c_string(text)}" for text in self.words.texts)
        title = f"{self.model.name}_{self.words.title}"
        return f"\nconst char *const {title}[{len(self.words.texts)}] = {{\n{rows}\n}};\n"

    def check(self, x: NDArray[np.generic], y: Floats, own_difference: float = 0.0) -> str:
        """Inputs and outputs, and a program that compares them.

        Args:
            x: (steps, numbers), or (steps,) of tokens.
            y: (answers, outputs).
            own_difference: of selfloop in float32 from itself in float64, where rounding grows from step to step.
        """
        model, name = self.model, self.model.name
        NAME = name.upper()
        if model.is_two_way:
            memory = f"static float room[{NAME}_ROOM(STEPS)];\n"
            call = f"{name}_run(w, room, given, y, STEPS);"
            run, again = f"    {call}", f"        {call}"
        else:
            memory = f"static {name}_state state;\n"
            call = f"{name}_run(w, &state, given, y, STEPS);"
            run, again = f"    {name}_reset(w, &state);\n    {call}", f"        {call}"
        return CHECK.format(
            name=name,
            NAME=NAME,
            steps=len(x),
            answers=len(y),
            numbers=1 if model.vocabulary else max(1, model.numbers),
            element="int32_t" if model.vocabulary else "float",
            x=_wrapped(map(str, x)) if model.vocabulary else _wrapped(map(c_float, x.reshape(-1))),
            y=_wrapped(map(c_float, y.reshape(-1))),
            memory=memory,
            run=run,
            again=again,
            scale=c_float(max(float(np.abs(y).max()), 1e-30)),
            tolerance=tolerated(own_difference),
        )


def makefile(name: str, parts: Sequence[str], tools: Toolchain) -> str:
    """A Makefile for source or object files."""
    shared = "" if tools.runner else LIBRARY.format(name=name)
    return MAKEFILE.format(
        name=name,
        parts=" ".join((*parts, *tools.sources)),
        compiler=tools.compiler,
        runner=tools.runner,
        flags=f"{FLAGS} {tools.flags}",
        library=shared,
        library_help=f"make lib{name}.so, which {name}.py loads." if shared else "",
    )


def c_float(value: Any) -> str:
    """A float as C writes it."""
    text = f"{float(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _c_string(text: str) -> str:
    """UTF-8 as C writes it; an escape takes all digits that follow, so each stands in quotes of its own."""
    plain = {ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n"}
    parts = [plain.get(b, chr(b) if 32 <= b < 127 and b != ord("?") else f'\\x{b:02x}""') for b in text.encode()]
    return f'"{"".join(parts)}"'


def _wrapped(texts: Iterable[str], width: int = 12) -> str:
    rows = list(texts)
    return "\n".join("        " + ", ".join(rows[k : k + width]) + "," for k in range(0, len(rows), width))


def _comment(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.replace("*/", "* /").splitlines())
