import math

import pytest

from selfloop.bench import peak
from selfloop.bench.peak import _chains, _write
from selfloop.compiler import targets
from selfloop.compiler.build import assembly


def test_the_peak_is_a_positive_number():
    most = peak(repeats=3)
    assert math.isfinite(most)
    assert most > 1


def test_all_chains_stay_in_registers():
    target = targets.host()
    if "fma" not in target.needs:
        pytest.skip("fused instructions have another name")
    lines = assembly(target, lambda module: _write(module, target)).splitlines()
    assert sum("vfmadd" in line for line in lines) == _chains(target)
    assert not [line for line in lines if "vmov" in line and "rsp" in line]
