"""Code as C99: plain loops, which C compilers vectorise."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from selfloop.compiler.native.c_mathematics import FUNCTIONS, LANES, definitions, number
from selfloop.compiler.native.c_operations import COMPARISONS, OPERATIONS, WHOLE
from selfloop.compiler.native.writer import POINTERS, Number, Products, Stack, Struct, Value, Variable, Writer

NUMBERS = {"float": "float", "int": "int32_t", "word": "uint32_t", "long": "uint64_t", "flag": "int"}
"""Types of numbers, by kind."""

NUMBER, FRAME = 8, 160
"""Bytes of a number with a name, if no register holds it, and of a call beside."""


class C99(Writer):
    """Prints functions.

    Attributes:
        prototypes: of public functions, by name.
    """

    kind = f"C99 of {LANES} lanes"

    def __init__(self, structs: Mapping[str, Struct]) -> None:
        self.structs = structs
        self.prototypes: dict[str, str] = {}
        self._lines: list[str] = []
        self._depth, self._names, self._functions = 0, 0, set[str]()
        self._results: dict[str, str] = {}
        self.stack = Stack(FRAME, are_inlined=True)

    @property
    def text(self) -> str:
        """All functions, after those of mathematics that they need."""
        return definitions(self._functions) + "\n".join(self._lines) + "\n"

    # Functions

    @contextmanager
    def function(
        self, name: str, parameters: Sequence[tuple[str, str]], *, result: str = "void", is_public: bool = False
    ) -> Iterator[list[Value]]:
        """See `Writer`."""
        self._results[name], self._names = result, 0
        self.stack.begin(name)
        declared = ", ".join(self._declared(kind, parameter, not is_public) for kind, parameter in parameters)
        head = f"{NUMBERS.get(result, result)} {name}({declared})"
        if is_public:
            self.prototypes[name] = head
        self._line(f"{'' if is_public else 'static '}{head} {{")
        self._depth += 1
        start = len(self._lines)
        yield [Value(self, parameter, kind) for kind, parameter in parameters]
        body = "\n".join(self._lines[start:])
        unused = [f"(void){p};" for _, p in parameters if not re.search(rf"\b{p}\b", body)]
        self._lines[start:start] = ["    " + " ".join(unused)] if unused else []
        self._depth -= 1
        self._line("}\n")

    def _declared(self, kind: str, name: str, is_private: bool) -> str:
        if kind in NUMBERS:
            return f"{NUMBERS[kind]} {name}"
        if kind in self.structs:
            struct = self.structs[kind]
            return f"{'const ' if struct.is_constant else ''}{struct.c} *{name}"
        return f"{POINTERS[kind].c}{'restrict ' if is_private else ''}{name}"

    def call(self, name: str, *arguments: Value) -> Value | None:
        """See `Writer`."""
        text = f"{name}({', '.join(a.handle for a in arguments)})"
        kind = self._results[name]
        self.stack.call(name)
        if kind == "void":
            self._line(f"{text};")
            return None
        return self._named(kind, text)

    def give(self, value: Number) -> None:
        """See `Writer`."""
        self._line(f"return {self._text(value, 'int')};")

    def comment(self, text: str) -> None:
        """See `Writer`."""
        if self._lines and not self._lines[-1].endswith("{"):
            self._lines.append("")
        self._line(f"/* {text} */")

    # Memory

    def room(self, name: str, size: int) -> Value:
        """See `Writer`."""
        self._line(f"float {name}[{size}];")
        self.stack.declare(4 * size)
        return Value(self, name, "room")

    def field(self, struct: Value, name: str) -> Value:
        """See `Writer`."""
        return Value(self, f"{struct.handle}->{name}", self.structs[struct.kind].fields[name][1])

    def at(self, pointer: Value, offset: Number) -> Value:
        """See `Writer`."""
        if offset == 0 and not isinstance(offset, Value):
            return pointer
        return Value(self, f"({pointer.handle} + {self._text(offset, 'int')})", pointer.kind)

    def cast(self, pointer: Value, kind: str) -> Value:
        """See `Writer`."""
        return Value(self, f"(({POINTERS[kind].c})(void *){pointer.handle})", kind)

    def is_given(self, pointer: Value) -> Value:
        """See `Writer`."""
        return Value(self, pointer.handle, "flag")

    def pointer_if(self, flag: Value, pointer: Value) -> Value:
        """See `Writer`."""
        return Value(self, f"({flag.handle} ? {pointer.handle} : 0)", pointer.kind)

    def load(self, pointer: Value, index: Number, name: str = "v") -> Value:
        """See `Writer`."""
        return self._element(pointer, index, name)

    def one(self, pointer: Value, index: Number = 0) -> Value:
        """See `Writer`."""
        return self._element(pointer, index, "v")

    def _element(self, pointer: Value, index: Number, name: str) -> Value:
        element = f"{pointer.handle}[{_bare(self._text(index, 'int'))}]"
        if pointer.kind == "bf16":
            return self._named("float", f"sl_from_bits((uint32_t){element} << 16)", name)
        if pointer.kind == "int8":
            return self._named("float", f"(float){element}", name)
        return self._named(ELEMENTS.get(pointer.kind, "float"), element, name)

    def store(self, value: Value, pointer: Value, index: Number) -> None:
        """See `Writer`."""
        self.store_one(value, pointer, index)

    def store_one(self, value: Number, pointer: Value, index: Number = 0) -> None:
        """See `Writer`."""
        kind = ELEMENTS.get(pointer.kind, "float")
        self._line(f"{pointer.handle}[{_bare(self._text(index, 'int'))}] = {self._text(value, kind)};")

    # Numbers

    def op(self, name: str, *arguments: Number, attribute: Any = None) -> Value:
        """See `Writer`."""
        kinds = [a.kind for a in arguments if isinstance(a, Value)]
        kind = kinds[-1] if kinds else "float"
        texts = [self._text(a, kind) if not isinstance(a, Value) else a.handle for a in arguments]
        if kind in ("int", "word", "long") and name in WHOLE:
            return Value(self, f"({texts[0]} {WHOLE[name]} {texts[1]})", "flag" if name in COMPARISONS else kind)
        if name in FUNCTIONS:
            self._functions.add(name)
        text = OPERATIONS[name](*texts, *(() if attribute is None else (attribute,)))
        return self._named("flag" if name in COMPARISONS else kind, text)

    def const(self, value: float) -> Value:
        """See `Writer`."""
        text = number(float(value))
        return Value(self, f"({text})" if text.startswith("-") else text, "float")

    def whole(self, kind: str, value: int) -> Value:
        """See `Writer`."""
        return Value(self, self._text(value, kind), kind)

    def to(self, kind: str, value: Value) -> Value:
        """See `Writer`."""
        return Value(self, f"(({NUMBERS[kind]}){value.handle})", kind)

    def variable(self, value: Number) -> Variable:
        """See `Writer`."""
        kind = value.kind if isinstance(value, Value) else "float" if isinstance(value, float) else "int"
        return _Variable(self, self._changing(kind, self._text(value, kind)))

    def _changing(self, kind: str, text: str) -> Value:
        name = self._name()
        self._line(f"{NUMBERS[kind]} {name} = {text};")
        return Value(self, name, kind)

    # Control

    def lanes(self, size: int, products: int) -> int:
        """See `Writer`."""
        del size, products
        return LANES

    def each(self, size: int, body: Callable[[Value, list[Value]], None], products: Sequence[Products] = ()) -> None:
        """See `Writer`."""
        if not products:
            with self.loop(size) as unit:
                body(unit, [])
            return
        u, j = self._name(), self._name()
        with self._block(f"for (int32_t {u} = 0; {u} < {size}; {u} += {LANES})"):
            sums = [(group, s, n) for group in products for n, s in enumerate(self._sums(group, u))]
            last = f"{size} - {u} < {LANES} ? {size} - {u} : {LANES}" if size % LANES else str(LANES)
            lanes = self._named("int", last)
            with self._block(f"for (int32_t {j} = 0; {j} < {lanes.handle}; {j}++)"):
                at = Value(self, f"({u} + {j})", "int")
                body(at, [self._scaled(f"((const float *){s})[{j}]", at, group, n) for group, s, n in sums])

    def _sums(self, group: Products, u: str) -> list[str]:
        """Writes the sums of a block: for each product the name of their array."""
        panel, count = group.panel, len(group.panel.products)
        names = [self._name(terms[0].name.rpartition(".")[2] + "_") for terms in panel.products]
        self.stack.declare(4 * LANES * len(names) * (1 + len(group.arguments)))  # without optimisation, for each line
        for name, terms in zip(names, panel.products, strict=True):
            rows = " + ".join(
                f"{matrix.name}[{matrix.row}:, {matrix.column}:] {pointer.handle}"
                for matrix, pointer in zip(terms, group.arguments, strict=True)
            )
            self._line(f"SL_SUM({name});  /* {rows} */")
        base = group.floats if group.codes is None else group.codes
        weights, k, v = self._name(), self._name(), self._name()
        start = f"{base.handle} + {panel.start} + {u} * {count * sum(panel.lengths)}"
        self._line(f"{POINTERS[base.kind].c}{weights} = {start};")
        for pointer, length in zip(group.arguments, panel.lengths, strict=True):
            with self._block(f"for (int32_t {k} = 0; {k} < {length}; {k}++, {weights} += {count * LANES})"):
                self._line(f"const float {v} = {pointer.handle}[{k}];")
                for n, name in enumerate(names):
                    self._line(f"SL_ALL {name}[i] += {v} * SL_{panel.form}({weights} + {n * LANES});")
        return names

    def _scaled(self, sum: str, u: Value, group: Products, number: int) -> Value:
        """The sum of a unit, times the scale of its row where weights are whole numbers."""
        panel = group.panel
        if panel.scale is None:
            return Value(self, sum, "float")
        scale = self.one(self.at(group.floats, panel.scale + number * panel.rows), u)
        return self._named("float", f"{sum} * {scale.handle}")

    def sweep(
        self,
        size: int,
        start: Sequence[float],
        body: Callable[[Value, list[Value]], list[Value]],
        *,
        is_reversed: bool = False,
    ) -> list[Value]:
        """See `Writer`."""
        sums = [_Variable(self, self._changing("float", number(float(value)))) for value in start]
        with self.loop(size, is_reversed=is_reversed) as u:
            for variable, value in zip(sums, body(u, [v.get() for v in sums]), strict=True):
                variable.set(value)
        return [v.place for v in sums]

    def dot(self, a: Value, b: Value, size: int) -> Value:
        """See `Writer`."""
        self._functions.add("dot")
        self.stack.declare(4 * LANES)
        return self._named("float", f"sl_dot({a.handle}, {b.handle}, {size})")

    @contextmanager
    def loop(self, count: Number, *, is_reversed: bool = False) -> Iterator[Value]:
        """See `Writer`."""
        k, n = self._name(), self._text(count, "int")
        head = f"int32_t {k} = {n} - 1; {k} >= 0; {k}--" if is_reversed else f"int32_t {k} = 0; {k} < {n}; {k}++"
        with self._block(f"for ({head})"):
            yield Value(self, k, "int")

    @contextmanager
    def when(self, flag: Value) -> Iterator[None]:
        """See `Writer`."""
        with self._block(f"if ({_bare(flag.handle)})"):
            yield

    # Text

    @contextmanager
    def _block(self, head: str) -> Iterator[None]:
        self._line(f"{head} {{")
        self._depth += 1
        yield
        self._depth -= 1
        self._line("}")

    def _line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    def _name(self, like: str = "v") -> str:
        self._names += 1
        self.stack.declare(NUMBER)
        return f"{like if like.isascii() and like.isidentifier() else 'v'}{self._names}"

    def _named(self, kind: str, text: str, like: str = "v") -> Value:
        name = self._name(like)
        self._line(f"const {NUMBERS[kind]} {name} = {text};")
        return Value(self, name, kind)

    def _text(self, value: Number, kind: str) -> str:
        if isinstance(value, Value):
            return str(value.handle)
        if kind == "float":
            return number(float(value))
        return f"{value}{SUFFIXES.get(kind, '')}"


def _bare(text: str) -> str:
    """An expression without the parentheses around all of it."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and place < len(text) - 1:
            return text
    return text[1:-1] if text.startswith("(") else text


SUFFIXES = {"word": "u", "long": "ull"}
"""Of constants, by kind."""

ELEMENTS = {"ints": "int", "words": "word", "constant_words": "word"}
"""What is loaded through a pointer, by its kind; floats elsewhere."""


class _Variable(Variable):
    def __init__(self, writer: C99, place: Value) -> None:
        self._writer, self.place = writer, place

    def get(self) -> Value:
        return self._writer._named(self.place.kind, self.place.handle)

    def set(self, value: Number) -> None:
        place = self.place
        self._writer._line(f"{place.handle} = {self._writer._text(value, place.kind)};")
