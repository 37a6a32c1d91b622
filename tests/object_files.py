"""What object files leave undefined: read from the symbol table of ELF, and the import section of WebAssembly."""

import struct

FROM_THE_LINKER = {"__linear_memory", "__stack_pointer", "__indirect_function_table", "_GLOBAL_OFFSET_TABLE_"}
"""What every linker defines."""


def undefined(code):
    """The names that a relocatable object file needs from elsewhere."""
    names = _wasm_imports(code) if code.startswith(b"\0asm") else _elf_undefined(code)
    return names - FROM_THE_LINKER


def _elf_undefined(code):
    assert code.startswith(b"\x7fELF\x01\x01") or code.startswith(b"\x7fELF\x02\x01"), "32 or 64 bits, little endian"
    is_wide = code[4] == 2
    start, size, count = (
        (struct.unpack_from("<Q", code, 40)[0], *struct.unpack_from("<HH", code, 58))
        if is_wide
        else (struct.unpack_from("<I", code, 32)[0], *struct.unpack_from("<HH", code, 46))
    )
    header = "<IIQQQQIIQQ" if is_wide else "<IIIIIIIIII"
    sections = [struct.unpack_from(header, code, start + k * size) for k in range(count)]
    found = set()
    for _, kind, _, _, offset, length, link, _, _, entry in sections:
        if kind != 2:  # the symbol table
            continue
        texts = sections[link][4]
        for at in range(offset + entry, offset + length, entry):
            if is_wide:
                name, _, _, section = struct.unpack_from("<IBBH", code, at)
            else:
                name, _, _, _, _, section = struct.unpack_from("<IIIBBH", code, at)
            if section == 0:
                found.add(code[texts + name : code.index(b"\0", texts + name)].decode())
    return found


def _wasm_imports(code):
    at, found = 8, set()
    while at < len(code):
        kind = code[at]
        size, at = _leb(code, at + 1)
        end = at + size
        if kind == 2:
            count, at = _leb(code, at)
            for _ in range(count):
                module_length, at = _leb(code, at)
                at += module_length
                length, at = _leb(code, at)
                found.add(code[at : at + length].decode())
                at = _after_description(code, at + length)
        at = end
    return found


def _after_description(code, at):
    kind = code[at]
    if kind == 0:  # a function: its type
        return _leb(code, at + 1)[1]
    if kind == 3:  # a global: its type, and whether it changes
        return at + 3
    at += 1 + (kind == 1)  # a table has the type of its elements first, a memory has limits alone
    has_maximum = code[at] & 1
    for _ in range(1 + has_maximum):
        _, at = _leb(code, at + 1 if _ == 0 else at)
    return at


def _leb(code, at):
    value = shift = 0
    while True:
        byte = code[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
