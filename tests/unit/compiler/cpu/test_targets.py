"""Targets are data: each compiles every cell, on whatever processor this is; only some are run here."""

import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from combinations import some
from llvmlite import ir
from object_files import undefined

from selfloop.cells import ZOO
from selfloop.compiler import emit_object
from selfloop.compiler.cpu import targets
from selfloop.compiler.cpu.build import assembly, llvm_ir, object_file
from selfloop.compiler.cpu.emit.dropout import emit_dropout
from selfloop.compiler.cpu.emit.gemv import emit_gemv
from selfloop.compiler.cpu.emit.launches import emit_launches
from selfloop.compiler.cpu.emit.outer_product import emit_outer_product, tiles, workspace
from selfloop.compiler.cpu.emit.outer_product_amx import emit_outer_product as emit_outer_product_amx
from selfloop.compiler.cpu.emit.pack import emit_pack
from selfloop.compiler.cpu.emit.readout import emit_readout
from selfloop.compiler.cpu.emit.stack import emit_stack
from selfloop.compiler.cpu.emit.table_rows import emit_average_rows, emit_move_rows
from selfloop.compiler.cpu.kernels import compile
from selfloop.errors import BackendError
from selfloop.exporting.native.emulated import EMULATED

TARGETS = {target.name: target for target in targets.TARGETS}
MULTIPLY_ADD = {
    "avx512": r"vfmadd.*%zmm",
    "avx2": r"vfmadd.*%ymm",
    "sse2": r"\bmulps",
    "neon": r"fmla\s+v\d+\.4s",
    "rv64gcv": r"vf(n?m(acc|add|sub|sac))\.v",
    "rv64gc": r"fn?m(add|sub)\.s",
    "wasm32": r"f32x4\.mul",
    "cortex-m55": r"vfma\.f32\s+q",
    "cortex-m7": r"vfma\.f32\s+s",
    "cortex-m4f": r"vfma\.f32\s+s",
}
"""What a kernel must consist of."""
OTHERS = {
    "avx2": r"%zmm",
    "sse2": r"%ymm|vmulps",
    "rv64gc": r"\bv(setvli|le32)",
    "cortex-m7": r"\bq\d",
    "cortex-m4f": r"\bq\d|\.f64",
}
"""What its processor does not have."""


def sizes_of(graph):
    names = {name for leaf in graph.leaves for size in graph.shape(leaf) for name in size.names}
    return {name: {"x": 3, "h": 9, "heads": 3}.get(name, 5) for name in names}


@pytest.mark.parametrize("name", TARGETS)
def test_object_files_of_every_cell_need_nothing_from_elsewhere(name):
    compiled = [cell for cell in ZOO.values() if cell.graph.varying_matrix is None]
    for cell in some(compiled, name, 4):
        code = emit_object(cell.graph, sizes_of(cell.graph), TARGETS[name])
        assert not undefined(code), cell.name


def test_what_an_object_file_needs_is_found():
    def write(module):
        outer = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "from_elsewhere")
        own = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "own")
        own.attributes.add("nounwind")
        builder = ir.IRBuilder(own.append_basic_block())
        builder.call(outer, [])
        builder.ret_void()

    windows = replace(TARGETS["avx2"], triple="x86_64-pc-windows-gnu")
    for target in (TARGETS["neon"], TARGETS["cortex-m4f"], TARGETS["wasm32"], windows):
        assert undefined(object_file(target, write)) == {"from_elsewhere"}
    apple = replace(TARGETS["neon"], triple="arm64-apple-macosx11.0.0")
    assert undefined(object_file(apple, write)) == {"_from_elsewhere"}


@pytest.mark.parametrize("name", TARGETS)
def test_training_and_inference_use_the_processors_own_instructions(name):
    for cell, sizes, in_place in (
        (ZOO["lstm"], {"x": 20, "h": 33}, False),
        (ZOO["lstm"], {"x": 20, "h": 33}, True),
        (ZOO["slstm"], {"x": 3, "h": 4}, False),
    ):
        kernels = compile(cell.graph, sizes, 32, TARGETS[name], hoist_above=None if in_place else 0, in_place=in_place)
        text = assembly(TARGETS[name], kernels.emit("project", "infer", "train", "back", "input_gradient"))
        assert re.search(MULTIPLY_ADD[name], text)
        assert name not in OTHERS or not re.search(OTHERS[name], text)
        assert ".cfi_startproc" not in text  # no unwind tables: nothing is thrown through a kernel


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", TARGETS)
def test_what_serves_all_cells_needs_nothing_from_elsewhere(name, bits):
    target = TARGETS[name]

    def write(module):
        emit_launches(module, "launches", target, bits)
        emit_pack(module, "pack", target, bits)
        emit_outer_product(module, "outer_product", target, bits)
        emit_stack(module, "stack", target, bits)
        emit_dropout(module, "dropout", target, bits)
        emit_gemv(module, False, target, bits)
        emit_gemv(module, True, target, bits)
        emit_average_rows(module, "average_rows", target, bits)
        emit_move_rows(module, "move_rows", target, bits)
        emit_readout(module, target, bits)

    if bits == 64 and not target.has_float64:
        with pytest.raises(BackendError, match=f"{name} does not compute in float64, which this cell needs"):
            object_file(target, write)
    else:
        assert not undefined(object_file(target, write))


WAYS = {f"{name} {' '.join(way.features)}": (name, way) for name, target in TARGETS.items() for way in target.bfloat16}


@pytest.mark.parametrize("wanted", WAYS)
def test_products_in_bfloat16_are_compiled_for_processors_that_have_them(wanted):
    name, way = WAYS[wanted]
    target = TARGETS[name]
    able = replace(target, features=(*target.features, *way.features))
    kernels = compile(ZOO["lstm"].graph, {"x": 20, "h": 33}, 32, target, hoist_above=0, bfloat16=way)

    def write(module):
        kernels.emit("project", "infer", "train", "back", "input_gradient")(module)
        emit_pack(module, "pack", target, 32, way)
        (emit_outer_product_amx if way.has_tiles else emit_outer_product)(module, "outer_product", target, 32, way)

    text = assembly(able, write)
    multiplied = {True: "tdpbf16ps", False: MULTIPLIED[name]}
    assert text.count(multiplied[way.has_tiles]) > 10
    assert multiplied[not way.has_tiles] not in text.replace("tdpbf16ps", "")
    assert ROUNDED[name] in text
    assert not undefined(object_file(able, write))
    if not way.has_tiles:
        readout = assembly(able, lambda module: emit_readout(module, target, 32, way))
        assert readout.count(MULTIPLIED[name]) > 10


HARNESS = """
#include <stdint.h>
#include <stdio.h>
enum {{ K = {k}, M = {m}, N = {n} }};
void outer_product(const int64_t *block);
static float a[K * M], b[K * N], c[M * N], workspace[{workspace}];
static int64_t rows[K];
int main(void) {{
    for (int i = 0; i < K * M; i++) a[i] = (float)(i * 7 % 5 - 2);
    for (int i = 0; i < K * N; i++) b[i] = (float)(i * 3 % 7 - 3);
    for (int i = 0; i < K; i++) rows[i] = (int64_t)(b + i * N);
    const int64_t block[] = {{0, {tiles}, K, M, N, (int64_t)rows, 0, (int64_t)workspace,
                              (int64_t)a, M, (int64_t)c, N, 1}};
    outer_product(block);
    for (int i = 0; i < M * N; i++) printf("%g ", (double)c[i]);
}}
"""
"""Prints AᵀB of small whole numbers, whose sums are exact in bfloat16."""


@pytest.mark.parametrize(("k", "m", "n"), [(1, 1, 1), (5, 7, 19), (300, 9, 35)])
def test_neon_multiplies_pairs(k, m, n, tmp_path):
    """As QEMU runs it."""
    tools, neon = EMULATED["aarch64"], TARGETS["neon"]
    if tools.missing:
        pytest.skip(f"{tools.missing} is not installed")
    (way,) = neon.bfloat16
    able = replace(neon, features=(*neon.features, *way.features))
    code = object_file(able, lambda module: emit_outer_product(module, "outer_product", neon, 32, way))
    (tmp_path / "outer_product.o").write_bytes(code)
    sizes = {"workspace": workspace(neon, 4, m, n), "tiles": tiles(neon, 4, m, n)}
    (tmp_path / "main.c").write_text(HARNESS.format(k=k, m=m, n=n, **sizes))
    build = [tools.compiler, *tools.flags.split(), "main.c", "outer_product.o", "-o", "main"]
    subprocess.run(build, cwd=tmp_path, check=True)
    said = subprocess.run([*tools.runner.split(), tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    a = (np.arange(k * m) * 7 % 5 - 2).reshape(k, m)
    b = (np.arange(k * n) * 3 % 7 - 3).reshape(k, n)
    assert (np.array(said.split(), float).reshape(m, n) == a.T @ b).all()


MULTIPLIED, ROUNDED = {"avx512": "vdpbf16ps", "neon": "bfdot"}, {"avx512": "vcvtne2ps2bf16", "neon": "bfcvtn"}


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if not target.has_threads])
def test_where_there_are_no_threads_there_is_no_barrier(name):
    kernels = compile(ZOO["lstm"].graph, {"x": 3, "h": 9}, 32, TARGETS[name])
    assert "atomic" not in llvm_ir(TARGETS[name], kernels.emit("infer"))
    assert "atomicrmw" in llvm_ir(
        TARGETS["avx2"], compile(ZOO["lstm"].graph, {"x": 3, "h": 9}, 32, TARGETS["avx2"]).emit("infer")
    )


def test_an_object_file_does_not_depend_on_this_processor(monkeypatch):
    graph, sizes = ZOO["lstm"].graph, {"x": 3, "h": 9}
    before = emit_object(graph, sizes, TARGETS["avx2"])
    for about in ("get_host_cpu_name", "get_host_cpu_features", "get_process_triple", "get_default_triple"):
        monkeypatch.delattr(targets.llvm, about)
    assert emit_object(graph, sizes, TARGETS["avx2"]) == before


def test_the_widest_that_fits_is_taken_and_a_narrower_can_be_named(monkeypatch):
    monkeypatch.delenv(targets.VARIABLE, raising=False)
    widest = targets.host()
    own = [t for t in targets.TARGETS if t.architecture == widest.architecture]
    has = targets.llvm.get_host_cpu_features()
    assert widest is next(t for t in own if all(has.get(feature) for feature in t.features))
    monkeypatch.setenv(targets.VARIABLE, own[-1].name)
    assert targets.host() is own[-1]
    monkeypatch.setenv(targets.VARIABLE, "mmx")
    with pytest.raises(BackendError, match=r"SELFLOOP_TARGET must be one of .* on this processor. Got 'mmx' instead."):
        targets.host()


def test_a_target_by_name():
    assert targets.named("neon") is TARGETS["neon"]
    with pytest.raises(BackendError, match=r"There is no target 'cortex-m4'; did you mean 'cortex-m4f'\?"):
        targets.named("cortex-m4")


TILES, DOTS = TARGETS["avx512"].bfloat16


@pytest.mark.parametrize(
    ("lacking", "left"),
    [("", [TILES, DOTS]), ("amx-tile", [DOTS]), ("amx-bf16", [DOTS]), ("avx512bf16", [])],
)
def test_a_processor_multiplies_bfloat16_in_the_ways_for_which_it_has_all_that_they_take(lacking, left, monkeypatch):
    features = {feature: feature != lacking for way in (TILES, DOTS) for feature in way.features}
    monkeypatch.setattr(targets.llvm, "get_host_cpu_features", lambda: features)
    assert targets.pair_products(TARGETS["avx512"]) == left
