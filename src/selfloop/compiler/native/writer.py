"""`Writer`: code that runs without Python, written once and read twice: as C99 (`c99`) and as machine code (`llvm`).

A part of a model, such as the step of a cell or an embedding, is a Python function that tells a Writer what to do. The
writer knows numbers (`Value`), memory (pointers to floats), and three loops:

    each    over the units of a vector; products of matrices are summed first, block by block, from packed weights
    sweep   over a vector, to one number: a sum, a maximum
    loop    any other, such as that over time
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

from selfloop.compiler.lower.step import Submatrix

FORMS = {"f32": 4, "bf16": 2, "int8": 1}
"""Of a weight in memory: float32, bfloat16, or a whole number that a scale for its row multiplies; and their bytes."""


@dataclass(frozen=True, eq=False)
class Value:
    """A number or a pointer while the code runs.

    Attributes:
        writer: that made it.
        handle: how the writer knows it: an expression in C, or LLVM's value.
        kind: ``float``, ``int`` (an index), ``word`` and ``long`` (32 and 64 bits without a sign), ``flag`` (a truth),
            or a pointer's.
    """

    writer: "Writer"
    handle: Any
    kind: str

    def __add__(self, other: "Number") -> "Value":
        return self.writer.op("add", self, other)

    def __sub__(self, other: "Number") -> "Value":
        return self.writer.op("sub", self, other)

    def __mul__(self, other: "Number") -> "Value":
        return self.writer.op("mul", self, other)

    def __truediv__(self, other: "Number") -> "Value":
        return self.writer.op("div", self, other)

    def __xor__(self, other: "Number") -> "Value":
        return self.writer.op("xor", self, other)

    def __and__(self, other: "Number") -> "Value":
        return self.writer.op("and", self, other)

    def __lshift__(self, other: "Number") -> "Value":
        return self.writer.op("shl", self, other)

    def __rshift__(self, other: "Number") -> "Value":
        return self.writer.op("shr", self, other)


Number: TypeAlias = Value | float | int


@dataclass(frozen=True)
class Pointer:
    """What a parameter points to.

    Attributes:
        c: its type in C, with the star.
        bytes: of an element.
    """

    c: str
    bytes: int


POINTERS = {
    "floats": Pointer("const float *", 4),
    "room": Pointer("float *", 4),
    "ints": Pointer("const int32_t *", 4),
    "bf16": Pointer("const uint16_t *", 2),
    "int8": Pointer("const int8_t *", 1),
    "words": Pointer("uint32_t *", 4),
    "constant_words": Pointer("const uint32_t *", 4),
}
"""Pointers to memory, by kind."""


@dataclass(frozen=True)
class Struct:
    """A struct of arrays.

    Attributes:
        c: its type in C, without a star.
        fields: for each, where it begins in bytes, and the kind of a pointer to it.
        is_constant: whether code only reads it.
    """

    c: str
    fields: Mapping[str, tuple[int, str]]
    is_constant: bool


@dataclass(frozen=True)
class Panel:
    """Weights in the order in which a step reads them: for each block of units, for each column, `lanes` units of each
    product; zeros where there are no more units.

    Attributes:
        start: where it begins in the weights of its form, in elements.
        scale: where the scales of its rows begin in the floats, `rows` for each product; None but for int8.
        rows: the units.
        lanes: units of a block.
        products: for each product its submatrices, one for each argument.
        lengths: of the arguments.
        form: of a weight.
    """

    start: int
    scale: int | None
    rows: int
    lanes: int
    products: tuple[tuple[Submatrix, ...], ...]
    lengths: tuple[int, ...]
    form: str

    @property
    def blocks(self) -> int:
        """How many."""
        return -(-self.rows // self.lanes)

    @property
    def size(self) -> int:
        """Weights, with those that fill the last block."""
        return self.blocks * self.lanes * len(self.products) * sum(self.lengths)


@dataclass(frozen=True)
class Products:
    """What `Writer.each` sums: for each product of a panel, rows times arguments.

    Attributes:
        panel: the weights.
        floats: a pointer to the floats of the model's weights.
        codes: a pointer to the shorter weights; None where all are float32.
        arguments: pointers to the vectors.
    """

    panel: Panel
    floats: Value
    codes: Value | None
    arguments: Sequence[Value]


class Stack:
    """How much memory on the stack the functions of a writer need, at most.

    Args:
        frame: bytes of a call beside what is declared: registers of the caller, alignment.
        are_inlined: whether a compiler may put functions into those that call them, with all their memory at once.
    """

    def __init__(self, frame: int, *, are_inlined: bool) -> None:
        self._frame, self._are_inlined = frame, are_inlined
        self._own: dict[str, int] = {}
        self._called: dict[str, set[str]] = {}

    def begin(self, function: str) -> None:
        """What is declared from now on is this function's."""
        self._inside = function
        self._own[function], self._called[function] = self._frame, set()

    def declare(self, size: int) -> None:
        """An array or a number of so many bytes."""
        self._own[self._inside] += size

    def call(self, function: str) -> None:
        """The function calls another."""
        self._called[self._inside].add(function)

    def of(self, function: str) -> int:
        """Bytes of a call of a function, and of all that it calls."""
        called = [self.of(one) for one in self._called[function]]
        return self._own[function] + (sum(called) if self._are_inlined else max(called, default=0))

    @property
    def most(self) -> int:
        """Bytes of any call."""
        return max(map(self.of, self._own))


class Writer(ABC):
    """Writes functions. Where it stands, numbers of kind ``float`` are one for each unit of the loop around it.

    Attributes:
        stack: what its functions need.
    """

    stack: Stack

    @property
    @abstractmethod
    def kind(self) -> str:
        """What the order of weights in memory depends on."""

    # Functions

    @abstractmethod
    def function(
        self, name: str, parameters: Sequence[tuple[str, str]], *, result: str = "void", is_public: bool = False
    ) -> AbstractContextManager[list[Value]]:
        """A function of parameters (kind, name); its body is written inside the context.

        Kinds are those of `POINTERS`, of numbers, and the names of structs that the writer was given.
        """

    @abstractmethod
    def call(self, name: str, *arguments: Value) -> Value | None:
        """Call a function that was written before."""

    @abstractmethod
    def give(self, value: Number) -> None:
        """Return a number of kind int: the last statement of a function."""

    @abstractmethod
    def comment(self, text: str) -> None:
        """What follows, in words, for who reads the code."""

    # Memory

    @abstractmethod
    def room(self, name: str, size: int) -> Value:
        """An array of floats for the time of a call."""

    @abstractmethod
    def field(self, struct: Value, name: str) -> Value:
        """A pointer to a field of a struct."""

    @abstractmethod
    def at(self, pointer: Value, offset: Number) -> Value:
        """A pointer moved by so many elements."""

    @abstractmethod
    def cast(self, pointer: Value, kind: str) -> Value:
        """The same memory as elements of another kind."""

    @abstractmethod
    def is_given(self, pointer: Value) -> Value:
        """Whether it is not null."""

    @abstractmethod
    def pointer_if(self, flag: Value, pointer: Value) -> Value:
        """The pointer, or null."""

    @abstractmethod
    def load(self, pointer: Value, index: Number, name: str = "v") -> Value:
        """Elements from an index on, one for each unit where the loop stands; `name` is for who reads the code."""

    @abstractmethod
    def one(self, pointer: Value, index: Number = 0) -> Value:
        """One element, the same for all units."""

    @abstractmethod
    def store(self, value: Value, pointer: Value, index: Number) -> None:
        """The opposite of `load`."""

    @abstractmethod
    def store_one(self, value: Number, pointer: Value, index: Number = 0) -> None:
        """The opposite of `one`."""

    # Numbers

    @abstractmethod
    def op(self, name: str, *arguments: Number, attribute: Any = None) -> Value:
        """An operation of the language on floats; on whole numbers add, sub, mul, rem, xor, and, shl, shr, compare."""

    @abstractmethod
    def const(self, value: float) -> Value:
        """A float."""

    @abstractmethod
    def whole(self, kind: str, value: int) -> Value:
        """A whole number."""

    @abstractmethod
    def to(self, kind: str, value: Value) -> Value:
        """A number as another kind: whole numbers as floats, floats cut to whole numbers, ints and words."""

    @abstractmethod
    def variable(self, value: Number) -> "Variable":
        """A number that changes: a float or a whole number."""

    # Control

    @abstractmethod
    def lanes(self, size: int, products: int) -> int:
        """How many units of so many products are summed side by side, for a vector of this size."""

    @abstractmethod
    def each(self, size: int, body: Callable[[Value, list[Value]], None], products: Sequence[Products] = ()) -> None:
        """For each unit of a vector: `body` gets its index and the sums of its products, in their order."""

    @abstractmethod
    def sweep(
        self,
        size: int,
        start: Sequence[float],
        body: Callable[[Value, list[Value]], list[Value]],
        *,
        is_reversed: bool = False,
    ) -> list[Value]:
        """Along a vector, unit by unit: `body` gets the index and the numbers so far, and gives the next ones."""

    @abstractmethod
    def dot(self, a: Value, b: Value, size: int) -> Value:
        """The sum of the products of two vectors' elements; where it stands, there is one unit."""

    @abstractmethod
    def loop(self, count: Number, *, is_reversed: bool = False) -> AbstractContextManager[Value]:
        """So many times, with the index; from the last index down if reversed."""

    @abstractmethod
    def when(self, flag: Value) -> AbstractContextManager[None]:
        """Only if."""

    # Shorthands

    def copy(self, source: Value, target: Value, size: int) -> None:
        """A vector to another place."""
        self.each(size, lambda u, _: self.store(self.load(source, u), target, u))

    def fill(self, target: Value, size: int, value: float) -> None:
        """A number in every element."""
        self.each(size, lambda u, _: self.store(self.const(value), target, u))


class Variable(ABC):
    """A number that changes."""

    @abstractmethod
    def get(self) -> Value:
        """What it is now."""

    @abstractmethod
    def set(self, value: Number) -> None:
        """What it is from now on."""
