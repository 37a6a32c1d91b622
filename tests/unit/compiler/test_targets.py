"""Targets are data: each compiles every kernel, on whatever processor this is."""

import re

import pytest

from selfloop.cells import ZOO
from selfloop.compiler import targets
from selfloop.compiler.build import assembly
from selfloop.compiler.emit.launches import emit_launches
from selfloop.compiler.emit.outer import emit_outer
from selfloop.compiler.emit.pack import emit_pack
from selfloop.compiler.emit.sequence import emit_sequence
from selfloop.compiler.emit.stack import emit_stack
from selfloop.compiler.pipeline import compile
from selfloop.errors import BackendError

TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}
MULTIPLY_ADD = {"avx512": r"vfmadd.*%zmm", "avx2": r"vfmadd.*%ymm", "sse2": r"\bmulps", "neon": r"fmla\s+v\d+\.4s"}
WIDER = {"avx512": None, "avx2": "%zmm", "sse2": r"%ymm|vmulps", "neon": None}


def written(target, write):
    """The assembly, for any processor of the target's kind."""
    features = ",".join([*(f"+{f}" for f in target.needs), *filter(None, [target.features])])
    return assembly(targets.Target(**{**vars(target), "features": features}), write, TRIPLES[target.architecture])


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("name", ["lstm", "layer_norm_lstm", "slstm"])
def test_every_target_compiles_a_cell(target, name):
    sizes = {"x": 20, "h": 33}
    kernels = compile(ZOO[name].graph, sizes, 32, target)

    def write(module):
        for kernel in ("infer", "train", "back", "below"):
            emit_sequence(module, kernel, getattr(kernels, kernel), backward=kernel == "back")

    text = written(target, write)
    assert re.search(MULTIPLY_ADD[target.name], text)
    assert ".cfi_startproc" not in text  # no unwind tables: nothing is thrown through a kernel
    assert WIDER[target.name] is None or not re.search(WIDER[target.name], text)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda t: t.name)
def test_every_target_compiles_what_serves_all_cells(target, bits):
    def write(module):
        emit_launches(module, "launches", target, bits)
        emit_pack(module, "pack", target, bits, False)
        emit_outer(module, "outer", target, bits)
        emit_stack(module, "stack", target, bits)

    text = written(target, write)
    assert all(f"{name}:" in text for name in ("launches", "pack", "outer", "stack"))
    assert ".cfi_startproc" not in text


def test_the_widest_that_fits_is_taken_and_a_narrower_can_be_named(monkeypatch):
    monkeypatch.delenv(targets.VARIABLE, raising=False)
    widest = targets.host()
    own = [t for t in targets.TARGETS if t.architecture == widest.architecture]
    has = targets.llvm.get_host_cpu_features()
    assert widest is next(t for t in own if all(has.get(feature) for feature in t.needs))
    monkeypatch.setenv(targets.VARIABLE, own[-1].name)
    assert targets.host() is own[-1]
    monkeypatch.setenv(targets.VARIABLE, "mmx")
    with pytest.raises(BackendError, match=r"SELFLOOP_TARGET must be one of .* on this processor. Got 'mmx' instead."):
        targets.host()


def test_only_some_processors_multiply_bfloat16():
    assert not any(targets.multiplies_bfloat16(t) for t in targets.TARGETS if t.name != "avx512")
