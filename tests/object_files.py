"""What object files leave undefined: read from the symbol tables of ELF, Mach-O and COFF, and WebAssembly's imports."""

import struct

FROM_THE_LINKER = {"__linear_memory", "__stack_pointer", "__indirect_function_table", "_GLOBAL_OFFSET_TABLE_"}
"""What every linker defines."""


def undefined(code):
    """The names that a relocatable object file needs from elsewhere."""
    readers = {b"\0asm": _wasm_imports, b"\xcf\xfa\xed\xfe": _macho_undefined, b"\x64\x86": _coff_undefined}
    read = next((reader for start, reader in readers.items() if code.startswith(start)), _elf_undefined)
    return read(code) - FROM_THE_LINKER


def _macho_undefined(code):
    (commands,), at, found = struct.unpack_from("<I", code, 16), 32, set()
    for _ in range(commands):
        kind, size = struct.unpack_from("<II", code, at)
        if kind == 2:  # the symbol table
            first, count, texts, _ = struct.unpack_from("<IIII", code, at + 8)
            for place in range(first, first + 16 * count, 16):
                name, flags = struct.unpack_from("<IB", code, place)
                if flags & 0x0F == 1:  # external, of no section
                    found.add(_text(code, texts + name))
        at += size
    return found


def _coff_undefined(code):
    (first, count), found, k = struct.unpack_from("<II", code, 8), set(), 0
    texts = first + 18 * count
    while k < count:
        at = first + 18 * k
        zeros, long = struct.unpack_from("<II", code, at)
        section, _, storage, further = struct.unpack_from("<hHBB", code, at + 12)
        if section == 0 and storage == 2:
            found.add(_text(code, texts + long) if zeros == 0 else code[at : at + 8].rstrip(b"\0").decode())
        k += 1 + further
    return found


def _text(code, at):
    return code[at : code.index(b"\0", at)].decode()


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
                found.add(_text(code, texts + name))
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
