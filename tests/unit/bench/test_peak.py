import math

import pytest

from selfloop.bench import peak
from selfloop.compiler.cpu import targets
from selfloop.compiler.cpu.build import assembly
from selfloop.compiler.cpu.emit.peak import accumulators, emit_peak


def test_the_peak_is_a_positive_number():
    most = peak(repeats=3)
    assert math.isfinite(most)
    assert most > 1


@pytest.mark.parametrize("name", ["avx512", "avx2"])
def test_all_accumulators_stay_in_registers(name):
    target = targets.named(name)
    lines = assembly(target, lambda module: emit_peak(module, "peak", target)).splitlines()
    assert sum("vfmadd" in line for line in lines) == accumulators(target)
    assert not [line for line in lines if "vmov" in line and "rsp" in line]
