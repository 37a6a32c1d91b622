"""The files of a model in C: interface, code, weights, and a check of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfloop.compiler.native import C99, HEAD, MAGIC, Model, ModelWriter, WeightLayout, form, structs
from selfloop.exporting.exported import tolerated
from selfloop.exporting.native.describe import Described
from selfloop.exporting.native.emulated import FLAGS, Toolchain
from selfloop.exporting.native.examples import example
from selfloop.exporting.native.library import python_library
from selfloop.exporting.native.packing import Packed, packed
from selfloop.exporting.native.templates import (
    CARE,
    CHECK,
    DOCUMENTED,
    EXAMPLE,
    HEADER,
    INPUTS,
    LIBRARY,
    MAKEFILE,
    SOURCE,
    STATE,
    UNITS,
    WEIGHTS,
    WORDS,
    WORK,
)
from selfloop.exporting.native.texts import Meaning, filled, tables_of, wrapped

Floats = NDArray[np.float32]
CODES = {"bf16": "uint16_t", "int8": "int8_t"}
"""Types of C, by the form of weights."""


C_TYPES = {"token": "int32_t", "word": "uint32_t", "numbers": "float"}
DTYPES = {"token": np.int32, "word": np.uint32, "numbers": np.float32}
"""Types of inputs, by what a model reads: in C, and of arrays."""


@dataclass(frozen=True, eq=False)
class Case:
    """A sequence, and what selfloop says of it.

    Attributes:
        x: the input, (steps, numbers), or (steps,) of tokens.
        y: the answers of the interpreter in float64, (answers, outputs).
        own_difference: of the interpreter in float32 from it, relative to the largest; of a random sequence that of all
            `SAMPLES`.
        is_real: whether it is of a run's data.
    """

    x: NDArray[np.generic]
    y: Floats
    own_difference: float
    is_real: bool = False

    @property
    def scale(self) -> float:
        """The largest output."""
        return max(float(np.abs(self.y).max()), 1e-30)


@dataclass(eq=False)
class Source:
    """A model as C.

    Attributes:
        described: the model and its weights.
        title: of it, for comments.
        equations: of its cell, likewise.
        meaning: of its numbers.
    """

    described: Described
    title: str
    equations: str
    meaning: Meaning = field(default_factory=Meaning)

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

    def header(self, packed: Packed, stack: int | None = None) -> str:
        """The interface.

        Args:
            packed: the weights in the order in which the code reads them.
            stack: bytes that a call of the code needs, at most; None for C.
        """
        stack = self._written[0].stack.most if stack is None else stack
        model, name, words = self.model, self.model.name, self.meaning.words
        fields = [f"    float f[{len(packed.floats)}];"]
        fields += [f"    {CODES[model.form]} q[{len(packed.codes)}];"] if model.form != "f32" else []
        state = "\n".join(f"    {_field(state, shape)}" for state, shape in model.shapes.items())
        return HEADER.format(
            name=name,
            NAME=name.upper(),
            title=self.title,
            about=_comment("\n\n".join(text for text in (_filled(self.meaning.about), self.equations) if text)),
            care=_comment(_filled(CARE.format(work=WORK[model.reads]))),
            sizes=self._sizes(stack),
            head=HEAD,
            magic=f"0x{MAGIC:08x}",
            fields="\n".join(fields),
            state="" if model.is_two_way else STATE.format(name=name, fields=state),
            words=WORDS[words.title].format(name=name, count=len(words.texts)) if words else "",
            functions=self._prototypes(),
        )

    def _sizes(self, stack: int) -> str:
        model, NAME = self.model, self.model.name.upper()
        sizes = [
            (f"{NAME}_INPUT {model.numbers}", UNITS[model.reads]),
            (f"{NAME}_OUTPUT {model.output_size}", "floats of an answer"),
        ]
        if model.vocabulary:
            sizes.append((f"{NAME}_VOCABULARY {model.vocabulary}", "tokens are the numbers from 0 to one less"))
        if self.meaning.start is not None:
            sizes.append((f"{NAME}_START {self.meaning.start}", "the token before the first of a text"))
        if model.is_two_way:
            sizes.append((f"{NAME}_ROOM(steps) ({model.room} * (steps))", "floats of memory for a run of these steps"))
        else:
            words = HEAD + sum(model.states.values())
            sizes.append((f"{NAME}_SAVED {words}", "numbers of a saved state, of 32 bits"))
        sizes.append((f"{NAME}_STACK {stack}", "bytes of stack that a call needs at the most"))
        width = max(len(left) for left, _ in sizes)
        return "\n".join(f"#define {left:<{width}}  /* {right} */" for left, right in sizes)

    def _prototypes(self) -> str:
        model, name = self.model, self.model.name
        NAME = name.upper()
        one, many = (text.format(model.numbers) for text in INPUTS[model.reads])
        answer = f"y[{model.output_size}]"
        answers = answer if model.pooling else f"y[steps][{model.output_size}]"
        lines = []
        written = dict(self._written[0].prototypes)
        if self.meaning.reader is not None:
            array = "words" if model.reads == "word" else "tokens"
            written[f"{name}_read"] = (
                f"int32_t {name}_read(const char *text, {C_TYPES[model.reads]} *{array}, int32_t most)"
            )
        about = "" if self.meaning.reader is None else self.meaning.reader.about
        for function, prototype in written.items():
            verb = function.removeprefix(f"{name}_")
            key = "run_two_way" if verb == "run" and model.is_two_way else verb
            text = DOCUMENTED[key].format(
                input=one, output=answer, inputs=many, outputs=answers, name=name, NAME=NAME, reader=about
            )
            lines.append("\n/* {} */\n{};\n".format(text.replace("\n", "\n   "), prototype))
        return "".join(lines)

    def source(self) -> str:
        """All functions."""
        return SOURCE.format(name=self.model.name, text=self._written[0].text)

    def trained(self) -> str:
        """The weights as a constant."""
        own, name = self.weights, self.model.name
        codes = f"\n    {{\n{wrapped(map(str, own.codes))}\n    }}," if self.model.form != "f32" else ""
        return WEIGHTS.format(
            name=name,
            head=", ".join(f"0x{word:08x}u" for word in own.head),
            floats=wrapped(map(c_float, own.floats)),
            codes=codes,
        )

    def texts(self) -> str | None:
        """Words, and what reads a text: source of C for every form; None where there are neither."""
        words, reader = self.meaning.words, self.meaning.reader
        if words is None and reader is None:
            return None
        name = self.model.name
        parts = [f'#include "{name}.h"\n']
        parts += [] if words is None else [tables_of(words, name)]
        parts += [] if reader is None else [filled(reader.source, name=name, NAME=name.upper())]
        return "".join(parts)

    def check(self, cases: Sequence[Case]) -> str:
        """Inputs and outputs, and a program that compares them.

        Args:
            cases: sequences, and what selfloop says of them.
        """
        model, name = self.model, self.model.name
        x = np.concatenate([case.x.reshape(len(case.x), -1) for case in cases])
        y = np.concatenate([case.y for case in cases])
        longest = max(len(case.x) for case in cases)
        NAME = name.upper()
        if model.is_two_way:
            memory = f"static float room[{NAME}_ROOM({longest})];\n"
            run = f"    {name}_run(w, room, x, y, steps);"
        else:
            memory = f"static {name}_state state;\n"
            run = f"    {name}_reset(w, &state);\n    {name}_run(w, &state, x, y, steps);"
        return CHECK.format(
            name=name,
            NAME=NAME,
            cases=len(cases),
            all_steps=len(x),
            answers=len(y),
            longest=longest,
            element=C_TYPES[model.reads],
            x=wrapped(map(c_float if model.reads == "numbers" else str, x.reshape(-1))),
            y=wrapped(map(c_float, y.reshape(-1))),
            lengths=wrapped(str(len(case.x)) for case in cases),
            is_pooled=int(model.pooling is not None),
            memory=memory,
            run=run,
            tolerance=rounding(cases),
        )

    def example(self) -> str | None:
        """A short program that uses the model."""
        return example(self.model, self.meaning)

    def library(self) -> str:
        """``NAME.py``, which calls the functions of a shared library."""
        model = self.model
        return python_library(
            NAME=model.name,
            ABOUT=self.title,
            READS=model.reads,
            INPUT=model.numbers,
            OUTPUT=model.output_size,
            VOCABULARY=model.vocabulary,
            STATE=0 if model.is_two_way else sum(model.states.values()),
            ROOM=model.room,
            HEAD=HEAD,
            WEIGHTS=len(self.weights.bytes),
            IS_POOLED=model.pooling is not None,
            CAN_SAMPLE=model.samples,
            CAN_READ=self.meaning.reader is not None,
            WORDS=None if self.meaning.words is None else (self.meaning.words.title, len(self.meaning.words.texts)),
        )


def rounding(cases: Sequence[Case]) -> float:
    """The largest difference that is rounding."""
    return tolerated(max(case.own_difference for case in cases))


def makefile(name: str, parts: Sequence[str], tools: Toolchain, *, has_example: bool) -> str:
    """A Makefile for source or object files.

    Args:
        name: of the model.
        parts: what a program is linked of.
        tools: what makes and runs it.
        has_example: whether there is an ``example.c``.
    """
    example = EXAMPLE.format(name=name) if has_example else ""
    shared = "" if tools.runner else LIBRARY.format(name=name)
    targets = [" make example: a program to begin with."] * has_example
    targets += [f" make lib{name}.so: what {name}.py loads."] * bool(shared)
    return MAKEFILE.format(
        name=name,
        parts=" ".join((*parts, *tools.sources)),
        compiler=tools.compiler,
        runner=tools.runner,
        flags=f"{FLAGS} {tools.flags}",
        example=example,
        library=shared,
        targets="".join(targets),
    )


def c_float(value: Any) -> str:
    """A float as C writes it."""
    text = f"{float(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _field(state: str, shape: Sequence[int]) -> str:
    """Of a session's state."""
    rows = f"  /* a matrix of {shape[0]} rows, one after the other */" if len(shape) > 1 else ""
    return f"float {state}[{prod(shape)}];{rows}"


def _filled(text: str) -> str:
    """Lines of at most 112 characters."""
    return "\n".join(fill(line, 112) for line in text.splitlines())


def _comment(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.replace("*/", "* /").splitlines())
