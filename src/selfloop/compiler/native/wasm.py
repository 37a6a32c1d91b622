"""A model as a WebAssembly module: what a linker does, for the one object file of a model.

LLVM's object imports its memory and its stack pointer, and says in custom sections which functions have names and
where indices stand in the code (https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md). The module
defines both, exports the functions that are public, and imports nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from llvmlite import ir

from selfloop.compiler.cpu.targets import Target, named
from selfloop.compiler.native.model import Model
from selfloop.compiler.native.objects import native_object
from selfloop.compiler.native.weights import WeightLayout
from selfloop.errors import BackendError, nearest

WASM_TARGETS: Mapping[str, Target] = {
    "simd": named("wasm32"),
    "relaxed-simd": replace(named("wasm32"), name="wasm32-relaxed", features=("simd128", "relaxed-simd")),
    "plain": replace(named("wasm32"), name="wasm32-plain", features=(), vector_bytes=4),
}
"""What an engine must have: vectors of 128 bits, those and a * b + c of one rounding or two as the processor likes, or
neither."""

PAGE = 1 << 16
"""Bytes by which a memory grows."""

HEADER = b"\0asm\x01\0\0\0"
TYPE, IMPORT, FUNCTION, MEMORY, GLOBAL, EXPORT, CODE = 1, 2, 3, 5, 6, 7, 10
"""Sections, in the order in which they stand."""

NAMES = {4: "a table", 5: "a memory", 6: "a global", 8: "a start function", 9: "elements", 11: "data", 13: "a tag"}
I32, MUTABLE, GET_CONST, END = 0x7F, 1, 0x41, 0x0B
LOCAL, UNDEFINED, EXPLICIT_NAME = 0x02, 0x10, 0x40
"""Flags of a symbol."""


def wasm_target(name: str) -> Target:
    """The target of this name.

    Raises:
        BackendError: there is none.
    """
    if name in WASM_TARGETS:
        return WASM_TARGETS[name]
    hint = nearest(name, WASM_TARGETS) or "."
    raise BackendError(f"A target of WebAssembly is one of {', '.join(WASM_TARGETS)}. Got '{name}' instead{hint}")


def wasm_module(model: Model, target: Target) -> tuple[bytes, WeightLayout]:
    """The functions of a model as a module, and where its weights lie.

    The module exports its functions, ``memory``, and ``__heap_base``, from where on the memory is the caller's.
    """
    modules: list[ir.Module] = []
    code, layout = native_object(model, target, modules.append)
    return linked(code, _stack(modules[-1])), layout


def _stack(module: ir.Module) -> int:
    """Bytes that all functions need at once, at most: none calls itself."""
    size = 0
    for function in module.functions:
        size += 16  # a frame begins at a multiple
        for block in function.blocks:
            for one in block.instructions:
                if isinstance(one, ir.instructions.AllocaInstr):
                    count = one.operands[0].constant if one.operands else 4  # no number is longer than 16 bytes
                    size += _up(4 * count, 16)
    return _up(size, 64)


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def linked(code: bytes, stack: int) -> bytes:
    """A relocatable object file as a module.

    Args:
        code: the object.
        stack: bytes at the beginning of its memory, where calls keep what registers do not hold. Beyond it the module
            traps.

    Raises:
        BackendError: it needs something from outside, or holds what is not known here.
    """
    found = _Object.of(code)
    exports = [_name("memory") + b"\x02\0", _name("__heap_base") + b"\x03" + _number(1)]
    exports += [_name(name) + b"\0" + _number(index) for name, index in found.public.items()]
    numbers = [  # __stack_pointer, which imports no longer hold, keeps its index: 0
        bytes([I32, is_mutable, GET_CONST]) + _signed(stack) + bytes([END]) for is_mutable in (MUTABLE, 0)
    ]
    sections = {
        TYPE: found.sections[TYPE],
        FUNCTION: found.sections[FUNCTION],
        MEMORY: _vector([b"\0" + _number(-(-stack // PAGE))]),
        GLOBAL: _vector(numbers),
        EXPORT: _vector(exports),
        CODE: found.relocated(),
    }
    return HEADER + b"".join(bytes([kind]) + _number(len(body)) + body for kind, body in sections.items())


@dataclass
class _Object:
    """What an object file holds.

    Attributes:
        sections: by kind; custom ones by name.
        symbols: for each its kind, and the index in the kind's own space.
        public: functions by name, and their indices.
    """

    sections: dict[int | str, bytes] = field(default_factory=dict)
    symbols: list[tuple[int, int]] = field(default_factory=list)
    public: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, code: bytes) -> "_Object":
        """Read one."""
        if not code.startswith(HEADER):
            raise BackendError("This is no object file of WebAssembly, version 1.")
        own, reader = cls(), _Reader(code, len(HEADER))
        while not reader.is_done:
            kind = reader.byte()
            body = reader.take(reader.number())
            if kind in NAMES:
                raise BackendError(f"An object file with {NAMES[kind]} cannot be made a module here.")
            inside = _Reader(body)
            name = inside.text() if kind == 0 else kind
            own.sections[name] = body[inside.at :]
        own._check_imports()
        own._read_symbols()
        return own

    def _check_imports(self) -> None:
        """That memory and stack pointer are all."""
        reader = _Reader(self.sections.get(IMPORT, b"\0"))
        for _ in range(reader.number()):
            place, name, kind = reader.text(), reader.text(), reader.byte()
            if (name, kind) == ("__linear_memory", 2):
                has_most = reader.number()
                reader.number()
                if has_most & 1:
                    reader.number()
            elif (name, kind) == ("__stack_pointer", 3):
                reader.take(2)
            else:
                raise BackendError(f"The code needs '{name}' of '{place}', which a module on its own does not have.")

    def _read_symbols(self) -> None:
        reader = _Reader(self.sections.get("linking", b"\x02"))
        version = reader.number()
        if version != 2:
            raise BackendError(f"Object files of WebAssembly are known in version 2. This one has version {version}.")
        while not reader.is_done:
            kind = reader.byte()
            inside = _Reader(reader.take(reader.number()))
            if kind == 8:
                for _ in range(inside.number()):
                    self._read_symbol(inside)

    def _read_symbol(self, reader: "_Reader") -> None:
        kind, flags = reader.byte(), reader.number()
        index, name = 0, ""
        if kind == 1:  # data
            name = reader.text()
            if not flags & UNDEFINED:
                for _ in range(3):
                    reader.number()
        elif kind == 3:  # a section
            reader.number()
        else:
            index = reader.number()
            if not flags & UNDEFINED or flags & EXPLICIT_NAME:
                name = reader.text()
        self.symbols.append((kind, index))
        if kind == 0 and not flags & (LOCAL | UNDEFINED):
            self.public[name] = index

    def relocated(self) -> bytes:
        """The code, with indices in their places. These have five bytes each, whatever the number."""
        code, reader = bytearray(self.sections[CODE]), _Reader(self.sections.get("reloc.CODE", b"\0\0"))
        reader.number()  # the section
        for _ in range(reader.number()):
            kind, at, index = reader.byte(), reader.number(), reader.number()
            if kind not in RELOCATED:
                raise BackendError(f"A relocation of kind {kind} cannot be applied here.")
            wanted = RELOCATED[kind]
            if wanted is not None:
                own, index = self.symbols[index]
                if own != wanted:
                    raise BackendError(f"A relocation of kind {kind} names a symbol of kind {own}.")
            code[at : at + 5] = bytes([(index >> 7 * k & 127) | 128 for k in range(4)] + [index >> 28])
        return bytes(code)


RELOCATED: Mapping[int, int | None] = {0: 0, 6: None, 7: 2}
"""Relocations, and the kind of symbol that each names: indices of a function, of a type (which has no symbol), and of a
global."""


@dataclass
class _Reader:
    data: bytes
    at: int = 0

    @property
    def is_done(self) -> bool:
        return self.at >= len(self.data)

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        self.at += count
        if self.at > len(self.data):
            raise BackendError("An object file of WebAssembly ends in the middle.")
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        """LEB128 without a sign."""
        value = shift = 0
        while True:
            one = self.byte()
            value |= (one & 127) << shift
            shift += 7
            if one < 128:
                return value

    def text(self) -> str:
        return self.take(self.number()).decode()


def _number(value: int) -> bytes:
    """LEB128 without a sign."""
    return _leb128(value, 127)


def _signed(value: int) -> bytes:
    """LEB128 of a number that is not negative, with its sign."""
    return _leb128(value, 63)


def _leb128(value: int, most: int) -> bytes:
    """Seven bits a byte, the lowest first; the last byte is `most` at most."""
    parts = []
    while value > most:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _name(text: str) -> bytes:
    return _number(len(text.encode())) + text.encode()


def _vector(items: list[bytes]) -> bytes:
    return _number(len(items)) + b"".join(items)
