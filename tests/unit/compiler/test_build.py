import subprocess
import sys

import pytest

FAR_APART = """
import ctypes, mmap
from llvmlite import ir
from selfloop.compiler import targets
from selfloop.compiler.build import build

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

far = reserve(6 * 2**30)
for size in (2**26, 2**20, 2**16, 2**12):  # nothing is free above what was reserved
    while (found := reserve(size)) > far:
        pass
    libc.munmap(found, size)
libc.munmap(far + 6 * 2**30 - 2**12, 2**12)  # but a page: the first to come is 6 GB from the others
code = build("far apart", targets.host(), write)
print(ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address("times_pi"))(2.0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is laid out by Linux's mmap")
def test_code_reaches_its_constants_wherever_memory_is_free(monkeypatch):
    monkeypatch.setenv("SELFLOOP_CACHE", "off")
    done = subprocess.run([sys.executable, "-c", FAR_APART], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("6.28318\n", "", 0)
