"""Code as LLVM, for object files: sums of products stay in registers, units are computed in vectors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from llvmlite import ir

from selfloop.compiler.cpu.emit.operations import OPERATIONS
from selfloop.compiler.cpu.emit.vectors import I32, POINTER, Vectors
from selfloop.compiler.cpu.targets import Target
from selfloop.compiler.native.writer import POINTERS, Number, Products, Stack, Struct, Value, Variable, Writer

I8, I16, FLOAT = ir.IntType(8), ir.IntType(16), ir.FloatType()
COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "=="}
WHOLE = {"add": "add", "sub": "sub", "mul": "mul", "rem": "urem", "xor": "xor", "and": "and_", "shl": "shl"}
"""Methods of LLVM's builder for whole numbers, by operation."""

ELEMENTS: dict[str, tuple[ir.Type, str]] = {
    "floats": (FLOAT, "float"),
    "room": (FLOAT, "float"),
    "ints": (I32, "int"),
    "words": (I32, "word"),
    "bf16": (I16, "float"),
    "int8": (I8, "float"),
    "constant_words": (I32, "word"),
}
"""The type of an element that a pointer points to, and the kind of number that is loaded."""

PAGE, FRAME = 4096, 128
"""Bytes of a page of memory, and of what a call needs beside its arrays and numbers."""

_TO_POINTER = ir.FunctionType(POINTER, [])
_PREFETCH = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])

UNROLLED, TURN = 4, 1024
"""The most columns of a product in one turn of its loop, and the most bytes of weights: with twice as many, an LSTM of
128 units takes 3.8 µs in the place of 2.1, as the processor no longer foresees what is read next."""
LINE = 64
"""Bytes of a line of the cache."""

DOT_SUMS = 4
"""Vectors of sums of a product of two vectors."""

ENGINE_UNROLLED, ENGINE_SUMS = 2, 4
"""The same for the engines of WebAssembly, and the vectors of sums that they keep in registers. V8 loads all that a
turn reads before it multiplies, and with 8 sums puts some of them on the stack: a step of an LSTM of 128 units takes
7.2 µs in Node with 8 sums and 2 columns a turn, 7.4 with 4 and 4, and 6.0 with 4 and 2.
"""


class Llvm(Writer):
    """Writes into a module.

    Args:
        module: of LLVM.
        target: the processor's family.
        structs: by kind.
    """

    def __init__(self, module: ir.Module, target: Target, structs: Mapping[str, Struct]) -> None:
        self.module, self.target, self.structs = module, target, structs
        self.index = ir.IntType(target.index_bits)
        self.types: dict[str, ir.Type] = {
            "float": FLOAT,
            "int": self.index,
            "word": I32,
            "long": ir.IntType(64),
            "flag": ir.IntType(1),
        }
        self._results: dict[str, str] = {}
        self.stack = Stack(FRAME + 2 * target.vector_bytes, are_inlined=False)
        self._is_engine = target.architecture == "wasm32"

    @property
    def kind(self) -> str:
        """See `Writer`."""
        return self.target.name

    # Functions

    @contextmanager
    def function(
        self, name: str, parameters: Sequence[tuple[str, str]], *, result: str = "void", is_public: bool = False
    ) -> Iterator[list[Value]]:
        """See `Writer`. At the edge, an int has 32 bits."""
        edge = {**self.types, "int": I32, "void": ir.VoidType()}
        kind = ir.FunctionType(edge[result], [edge.get(k, POINTER) for k, _ in parameters])
        probes = is_public and "windows" in self.target.triple
        function = self._declared(kind, f"{name}_body" if probes else name, is_public and not probes)
        self._results[name] = result
        self.stack.begin(name)
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._of_units(1)
        given = []
        for (k, _), argument in zip(parameters, function.args, strict=True):
            if k in POINTERS and not is_public:
                argument.add_attribute("noalias")
            given.append(Value(self, self._of_edge(argument, k), k))
        yield given
        if not self.builder.block.is_terminated:
            self.builder.ret_void()
        if probes:
            self._probed(function, self._declared(kind, name, True), self.stack.of(name))

    def _declared(self, kind: ir.FunctionType, name: str, is_public: bool) -> ir.Function:
        function = ir.Function(self.module, kind, name)
        function.linkage = "" if is_public else "internal"
        function.attributes.add("nounwind")
        if "windows" in self.target.triple:
            set.add(function.attributes, '"no-stack-arg-probe"')  # which llvmlite does not know
        return function

    def _probed(self, body: ir.Function, function: ir.Function, stack: int) -> None:
        """The public function on Windows, whose stack grows when its pages are touched in their order; where a frame
        has several, compilers call a library to do so.
        """
        self.builder = b = ir.IRBuilder(function.append_basic_block("entry"))
        size = self.index
        here = b.ptrtoint(b.call(self.module.declare_intrinsic("llvm.stacksave", fnty=_TO_POINTER), []), size)
        fill = self.module.declare_intrinsic("llvm.memset", [POINTER, size])
        for page in range(1, (stack + PAGE) // PAGE + 1):
            place = b.inttoptr(b.sub(here, size(page * PAGE)), POINTER)
            b.call(fill, [place, I8(0), size(1), ir.IntType(1)(1)])  # volatile
        result = b.call(body, list(function.args))
        b.ret_void() if result.type == ir.VoidType() else b.ret(result)

    def call(self, name: str, *arguments: Value) -> Value | None:
        """See `Writer`."""
        handles = [self._to_edge(a) for a in arguments]
        self.stack.call(name)
        result, kind = self.builder.call(self.module.get_global(name), handles), self._results[name]
        return None if kind == "void" else Value(self, self._of_edge(result, kind), kind)

    def _of_edge(self, handle: ir.Value, kind: str) -> ir.Value:
        """A number as it is inside of functions."""
        if kind == "float":
            return self.vectors.splat(handle)
        if kind == "int" and self.index != I32:
            return self.builder.sext(handle, self.index)
        return handle

    def _to_edge(self, value: Value) -> ir.Value:
        """A number as functions take and return it."""
        if value.kind == "float":
            return self.builder.extract_element(value.handle, I32(0))
        if value.kind == "int" and self.index != I32:
            return self.builder.trunc(value.handle, I32)
        return value.handle

    def give(self, value: Number) -> None:
        """See `Writer`."""
        self.builder.ret(self._to_edge(self._value(value, "int")))

    def comment(self, text: str) -> None:
        """See `Writer`."""

    # Memory

    def room(self, name: str, size: int) -> Value:
        """See `Writer`."""
        del name
        self.stack.declare(4 * size + self.target.vector_bytes)
        with self.builder.goto_entry_block():
            place = self.builder.alloca(FLOAT, size=I32(size))
        place.type = POINTER
        place.align = max(4, self.target.vector_bytes)
        return Value(self, place, "room")

    def field(self, struct: Value, name: str) -> Value:
        """See `Writer`."""
        start, kind = self.structs[struct.kind].fields[name]
        return Value(self, self.builder.gep(struct.handle, [self.index(start)], True, source_etype=I8), kind)

    def at(self, pointer: Value, offset: Number) -> Value:
        """See `Writer`."""
        if offset == 0 and not isinstance(offset, Value):
            return pointer
        element = ELEMENTS[pointer.kind][0]
        moved = self.builder.gep(pointer.handle, [self._value(offset, "int").handle], True, source_etype=element)
        return Value(self, moved, pointer.kind)

    def cast(self, pointer: Value, kind: str) -> Value:
        """See `Writer`."""
        return Value(self, pointer.handle, kind)

    def is_given(self, pointer: Value) -> Value:
        """See `Writer`."""
        return Value(self, self.builder.icmp_unsigned("!=", pointer.handle, POINTER(None)), "flag")

    def pointer_if(self, flag: Value, pointer: Value) -> Value:
        """See `Writer`."""
        return Value(self, self.builder.select(flag.handle, pointer.handle, POINTER(None)), pointer.kind)

    def load(self, pointer: Value, index: Number, name: str = "v") -> Value:
        """See `Writer`."""
        del name
        return Value(self, self._loaded(self.at(pointer, index), self.vectors), "float")

    def _loaded(self, pointer: Value, v: Vectors) -> ir.Value:
        """As many floats as a vector has, from what is stored."""
        element = ELEMENTS[pointer.kind][0]
        raw = self.builder.load(pointer.handle, typ=ir.VectorType(element, v.lanes), align=POINTERS[pointer.kind].bytes)
        if pointer.kind == "bf16":
            return v.from_bits(self.builder.shl(self.builder.zext(raw, v.int_vector), v.iconst(16)))
        return self.builder.sitofp(raw, v.type) if pointer.kind == "int8" else raw

    def one(self, pointer: Value, index: Number = 0) -> Value:
        """See `Writer`."""
        place = self.at(pointer, index)
        element, kind = ELEMENTS[pointer.kind]
        if kind == "float":
            first = self._loaded(place, Vectors(self.builder, self.target, 32, 1))
            return Value(self, self.vectors.splat(self.builder.extract_element(first, I32(0))), kind)
        number = self.builder.load(place.handle, typ=element, align=POINTERS[pointer.kind].bytes)
        if kind == "int" and self.index != I32:
            number = self.builder.sext(number, self.index)
        return Value(self, number, kind)

    def store(self, value: Value, pointer: Value, index: Number) -> None:
        """See `Writer`."""
        self.builder.store(value.handle, self.at(pointer, index).handle, align=4)

    def store_one(self, value: Number, pointer: Value, index: Number = 0) -> None:
        """See `Writer`."""
        element, kind = ELEMENTS[pointer.kind]
        handle = self._value(value, kind).handle
        if kind == "float":
            handle = self.builder.extract_element(handle, I32(0))
        elif handle.type != element:
            handle = self.builder.trunc(handle, element)
        self.builder.store(handle, self.at(pointer, index).handle, align=POINTERS[pointer.kind].bytes)

    # Numbers

    def op(self, name: str, *arguments: Number, attribute: Any = None) -> Value:
        """See `Writer`."""
        kinds = [a.kind for a in arguments if isinstance(a, Value)]
        kind = kinds[-1] if kinds else "float"
        handles = [self._value(a, a.kind if isinstance(a, Value) else kind).handle for a in arguments]
        self.stack.declare(max(8, self.target.vector_bytes))  # if no register is free
        if kind == "float":
            extra = () if attribute is None else (attribute,)
            return Value(
                self, OPERATIONS[name](self.vectors, *handles, *extra), "flag" if name in COMPARISONS else kind
            )
        if name in COMPARISONS:
            compare = self.builder.icmp_signed if kind == "int" else self.builder.icmp_unsigned
            return Value(self, compare(COMPARISONS[name], *handles), "flag")
        if name == "shr":
            return Value(self, (self.builder.ashr if kind == "int" else self.builder.lshr)(*handles), kind)
        return Value(self, getattr(self.builder, WHOLE[name])(*handles), kind)

    def const(self, value: float) -> Value:
        """See `Writer`."""
        return Value(self, self.vectors.const(value), "float")

    def whole(self, kind: str, value: int) -> Value:
        """See `Writer`."""
        return self._value(value, kind)

    def to(self, kind: str, value: Value) -> Value:
        """See `Writer`."""
        if value.kind == "float":
            first = self.builder.extract_element(value.handle, I32(0))
            return Value(self, self.builder.fptosi(first, self.types[kind]), kind)
        if kind == "float":
            convert = self.builder.sitofp if value.kind == "int" else self.builder.uitofp
            return Value(self, self.vectors.splat(convert(value.handle, FLOAT)), kind)
        width, wanted = value.handle.type.width, self.types[kind].width
        if width == wanted:
            return Value(self, value.handle, kind)
        convert = self.builder.trunc if width > wanted else self.builder.zext
        return Value(self, convert(value.handle, self.types[kind]), kind)

    def variable(self, value: Number) -> Variable:
        """See `Writer`."""
        kind = value.kind if isinstance(value, Value) else "float" if isinstance(value, float) else "int"
        return _Variable(self, self._value(value, kind))

    def _value(self, value: Number, kind: str) -> Value:
        if isinstance(value, Value):
            return value
        return self.const(float(value)) if kind == "float" else Value(self, self.types[kind](int(value)), kind)

    # Control

    def lanes(self, size: int, products: int) -> int:
        """As many vectors side by side as keep the processor's multipliers busy, and as registers hold."""
        lanes, products = self.target.lanes(4), max(1, products)
        if self._is_engine:
            fitting, wanted = ENGINE_SUMS // products, ENGINE_SUMS
        else:
            fitting, wanted = (self.target.registers - 2) // products, self.target.registers // 2 if lanes > 1 else 8
        most = max(1, min(fitting, max(2, wanted // products)))
        vectors = -(-size // lanes)
        return lanes * -(-vectors // -(-vectors // most))

    def each(self, size: int, body: Callable[[Value, list[Value]], None], products: Sequence[Products] = ()) -> None:
        """See `Writer`."""
        block = products[0].panel.lanes if products else self.target.lanes(4)
        assert all(group.panel.lanes == block for group in products)
        full, rest = divmod(size, block)
        if full > 1:
            with self.loop(full) as n:
                self._block(n * block, block, body, products)
        elif full:
            self._block(self._value(0, "int"), block, body, products)
        if rest:
            self._block(self._value(full * block, "int"), rest, body, products)

    def _block(
        self, u: Value, count: int, body: Callable[[Value, list[Value]], None], products: Sequence[Products]
    ) -> None:
        """Some units, a vector after the other."""
        width = self.target.lanes(4)
        chunks = -(-count // width)
        sums = [row for group in products for row in self._sums(group, u, chunks)]
        for chunk in range(chunks):
            self._of_units(min(width, count - chunk * width))
            at = u + chunk * width if chunk else u
            own = []
            for panel, number, floats, row in sums:
                value = row[chunk]
                if self.vectors.lanes < width:
                    first = ir.Constant(ir.VectorType(I32, self.vectors.lanes), list(range(self.vectors.lanes)))
                    value = self.builder.shuffle_vector(value, value, first)
                if panel.scale is not None:
                    scale = self.load(floats, at + (panel.scale + number * panel.rows))
                    value = self.builder.fmul(value, scale.handle)
                own.append(Value(self, value, "float"))
            body(at, own)
        self._of_units(1)

    def _sums(self, group: Products, u: Value, chunks: int) -> list[tuple[Any, int, Value, list[ir.Value]]]:
        """For each product the sums of a block, in vectors."""
        panel, count = group.panel, len(group.panel.products)
        base = group.floats if group.codes is None else group.codes
        start = self.at(self.at(base, panel.start), u * (count * sum(panel.lengths)))
        self._of_units(self.target.lanes(4))
        v = self.vectors
        sums = [v.const(0.0)] * (count * chunks)
        for pointer, length in zip(group.arguments, panel.lengths, strict=True):

            def column(
                k: Value, weights: Value, sums: Sequence[ir.Value | None], pointer: Value = pointer
            ) -> list[ir.Value]:
                x = self.one(pointer, k).handle
                following = []
                for n, so_far in enumerate(sums):
                    offset = (n // chunks) * panel.lanes + (n % chunks) * v.lanes
                    weight = self._loaded(self.at(weights, offset), v)
                    following.append(self.builder.fmul(x, weight) if so_far is None else v.fma(x, weight, so_far))
                return following

            step, columns = count * panel.lanes, ENGINE_UNROLLED if self._is_engine else UNROLLED
            columns = max(1, min(columns, TURN // (POINTERS[base.kind].bytes * step)))
            turns = length // columns
            if turns > 1:
                sums = self._fold(turns, sums, partial(self._unrolled, column, start, step, columns))
            done = turns * columns if turns > 1 else 0
            for k in range(done, length):
                sums = column(self._value(k, "int"), self.at(start, k * step), sums)
            start = self.at(start, length * step)
        self._of_units(1)
        return [(panel, n, group.floats, sums[n * chunks : (n + 1) * chunks]) for n in range(count)]

    def _unrolled(
        self,
        column: Callable[..., list[ir.Value]],
        start: Value,
        step: int,
        columns: int,
        turn: Value,
        sums: Sequence[ir.Value],
    ) -> list[ir.Value]:
        """Some columns more. With few sums, the columns are added up first: no addition waits for the one before."""
        first, weights = turn * columns, self.at(start, turn * (columns * step))
        self._prefetch(weights, columns * step)
        own: Sequence[ir.Value | None] = [None] * len(sums) if self._is_engine else sums
        for n in range(columns):
            own = column(first + n if n else first, self.at(weights, n * step), own)
        return [self.builder.fadd(a, b) for a, b in zip(sums, own, strict=True)] if self._is_engine else list(own)

    def _prefetch(self, weights: Value, count: int) -> None:
        """Ask for the elements that are read some turns later."""
        ahead = self.target.prefetch
        for line in range(0, POINTERS[weights.kind].bytes * count, LINE) if ahead else ():
            place = self.builder.gep(weights.handle, [self.index(ahead + line)], source_etype=I8)
            ask = self.module.declare_intrinsic("llvm.prefetch", [POINTER], _PREFETCH)
            self.builder.call(ask, [place, I32(0), I32(3), I32(1)])  # to read, to keep, data

    def _fold(
        self, count: int, start: Sequence[ir.Value], body: Callable[[Value, list[ir.Value]], list[ir.Value]]
    ) -> list[ir.Value]:
        """A loop that carries values; its body runs at least once."""
        b, before = self.builder, self.builder.block
        head, after = (b.function.append_basic_block(name) for name in ("fold", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(self.index)
        index.add_incoming(self.index(0), before)
        carried = []
        for value in start:
            phi = b.phi(value.type)
            phi.add_incoming(value, before)
            carried.append(phi)
        result = body(Value(self, index, "int"), list(carried))
        following = b.add(index, self.index(1))
        index.add_incoming(following, b.block)
        for phi, value in zip(carried, result, strict=True):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", following, self.index(count)), head, after)
        b.position_at_end(after)
        return result

    def sweep(
        self,
        size: int,
        start: Sequence[float],
        body: Callable[[Value, list[Value]], list[Value]],
        *,
        is_reversed: bool = False,
    ) -> list[Value]:
        """See `Writer`."""

        def turn(n: Value, so_far: list[ir.Value]) -> list[ir.Value]:
            u = self._value(size - 1, "int") - n if is_reversed else n
            return [value.handle for value in body(u, [Value(self, s, "float") for s in so_far])]

        totals = self._fold(size, [self.vectors.const(value) for value in start], turn)
        return [Value(self, total, "float") for total in totals]

    def dot(self, a: Value, b: Value, size: int) -> Value:
        """See `Writer`. Vectors of sums side by side, so that no addition waits for the one before."""
        width = self.target.lanes(4)
        full, rest = divmod(size, width)
        total = self.vectors.const(0.0)
        self.stack.declare(2 * DOT_SUMS * self.target.vector_bytes)  # if no register is free
        if full:
            self._of_units(width)
            count = min(full, DOT_SUMS)
            sums = [self.vectors.const(0.0)] * count
            turns = full // count

            def turn(n: Value, so_far: Sequence[ir.Value]) -> list[ir.Value]:
                return [self._added(a, b, n * (count * width) + k * width, s) for k, s in enumerate(so_far)]

            sums = self._fold(turns, sums, turn) if turns > 1 else turn(self._value(0, "int"), sums)
            for k in range(turns * count, full):
                sums[k % count] = self._added(a, b, self._value(k * width, "int"), sums[k % count])
            while len(sums) > 1:
                pairs = zip(sums[::2], [*sums[1::2], *[self.vectors.const(0.0)] * (len(sums) % 2)], strict=True)
                sums = [self.builder.fadd(*pair) for pair in pairs]
            total = self._across(sums[0])
        if rest:
            self._of_units(rest)
            last = self._added(a, b, self._value(full * width, "int"), self.vectors.const(0.0))
            total = self.builder.fadd(total, self._across(last))
        self._of_units(1)
        return Value(self, total, "float")

    def _added(self, a: Value, b: Value, index: Value, so_far: ir.Value) -> ir.Value:
        return self.vectors.fma(self.load(a, index).handle, self.load(b, index).handle, so_far)

    def _across(self, vector: ir.Value) -> ir.Value:
        """The sum of a vector's elements, as a vector of one."""
        name = f"llvm.vector.reduce.fadd.v{vector.type.count}f32"
        kind = ir.FunctionType(FLOAT, [FLOAT, vector.type])
        function = self.module.globals.get(name) or ir.Function(self.module, kind, name)
        total = self.builder.call(function, [FLOAT(0.0), vector], fastmath=("reassoc",))
        return Vectors(self.builder, self.target, 32, 1).splat(total)

    @contextmanager
    def loop(self, count: Number, *, is_reversed: bool = False) -> Iterator[Value]:
        """See `Writer`."""
        b, before = self.builder, self.builder.block
        head, inside, after = (b.function.append_basic_block(name) for name in ("head", "body", "after"))
        total = self._value(count, "int").handle
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(self.index)
        index.add_incoming(self.index(0), before)
        b.cbranch(b.icmp_signed("<", index, total), inside, after)
        b.position_at_end(inside)
        yield Value(self, b.sub(b.sub(total, self.index(1)), index) if is_reversed else index, "int")
        index.add_incoming(b.add(index, self.index(1)), b.block)
        b.branch(head)
        b.position_at_end(after)

    @contextmanager
    def when(self, flag: Value) -> Iterator[None]:
        """See `Writer`."""
        b = self.builder
        inside, after = (b.function.append_basic_block(name) for name in ("then", "after"))
        handle = flag.handle
        if isinstance(handle.type, ir.VectorType):
            handle = b.extract_element(handle, I32(0))
        b.cbranch(handle, inside, after)
        b.position_at_end(inside)
        yield
        if not b.block.is_terminated:
            b.branch(after)
        b.position_at_end(after)

    def _of_units(self, lanes: int) -> None:
        """How many units a number of kind float stands for."""
        self.vectors = Vectors(self.builder, self.target, 32, lanes)


class _Variable(Variable):
    def __init__(self, writer: Llvm, value: Value) -> None:
        self._writer, self._kind = writer, value.kind
        writer.stack.declare(max(8, writer.target.vector_bytes))
        with writer.builder.goto_entry_block():
            self._place = writer.builder.alloca(value.handle.type)
        self.set(value)

    def get(self) -> Value:
        return Value(self._writer, self._writer.builder.load(self._place, typ=self._place.allocated_type), self._kind)

    def set(self, value: Number) -> None:
        self._writer.builder.store(self._writer._value(value, self._kind).handle, self._place)
