import subprocess
import sys

import pytest

FAR_APART = """
import ctypes, mmap
from llvmlite import ir
from selfloop.compiler.cpu import targets
from selfloop.compiler.cpu.build import build

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
NO_RESERVE = 0x4000

def reserve(size):
    return libc.mmap(None, size, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE, -1, 0)

def write(module):
    number = ir.DoubleType()
    function = ir.Function(module, ir.FunctionType(number, [number]), "times_pi")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(builder.fmul(function.args[0], number(3.14159)))
    size, byte = ir.IntType(64), ir.IntType(8)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [byte.as_pointer(), size]), "clear")
    builder = ir.IRBuilder(function.append_basic_block())
    memset = module.declare_intrinsic("llvm.memset", [byte.as_pointer(), size])
    builder.call(memset, [function.args[0], byte(0), function.args[1], ir.IntType(1)(0)])  # a function of the C library
    builder.ret_void()

far = reserve(6 * 2**30)
for size in (2**26, 2**20, 2**16, 2**12):  # nothing is free above what was reserved
    while (found := reserve(size)) > far:
        pass
    libc.munmap(found, size)
libc.munmap(far + 6 * 2**30 - 2**12, 2**12)  # but a page: the first to come is 6 GB from the others
code = build("far apart", targets.host(), write)
print(ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address("times_pi"))(2.0))
word = ctypes.create_string_buffer(b"word")
ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_long)(code.address("clear"))(ctypes.addressof(word), 4)
print(word.raw)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is laid out by Linux's mmap")
def test_code_reaches_constants_and_functions_wherever_memory_is_free(monkeypatch):
    monkeypatch.setenv("SELFLOOP_CACHE", "off")
    done = subprocess.run([sys.executable, "-c", FAR_APART], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("6.28318\n" + repr(bytes(5)) + "\n", "", 0)
