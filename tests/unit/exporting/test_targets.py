"""Objects for every target need nothing from elsewhere, and give selfloop's numbers where an emulator runs them."""

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from catalogue import EVERY_CELL
from combinations import pairs, some
from object_files import undefined
from random_cells import Call

import selfloop as sl
from selfloop.compiler.native import OBJECT_TARGETS, data_object, is_of_host, native_object, target_table
from selfloop.errors import BackendError, SelfloopError
from selfloop.exporting.exported import tolerated
from selfloop.exporting.native import emulated
from selfloop.exporting.native import export as native
from selfloop.exporting.native.emulated import FLAGS, Toolchain, toolchain
from selfloop.exporting.native.files import c_float

TARGETS = {target.name: target for target in OBJECT_TARGETS}
EXAMPLE = Path(__file__).parents[3] / "examples" / "cortex_m"
BY_C = {"aarch64": "-O1", "cortex-m7": "-Os"}
"""Targets whose cross compilers are given C99, too, and how they optimise it."""

DRIVER = """#include <stdio.h>
{includes}
static float y[4096], room[1 << 15];
static void compare(const char *name, const float *expected, int count, float scale) {{
    float worst = 0.0f;
    for (int k = 0; k < count; k++) {{
        const float far = y[k] > expected[k] ? y[k] - expected[k] : expected[k] - y[k];
        if (!(far <= worst)) worst = far;
    }}
    printf("%s %.3e\\n", name, worst / scale);
}}
int main(void) {{
{calls}
    return 0;
}}
"""


def named(module, name):
    """What is exported of a module, and what selfloop gives."""
    own = native.described(module.eval(), name, "f32")
    source = native.Source(own, name, "")
    (truth,) = native.cases_of(module, source)
    return source, truth


MODELS = [
    *[lambda entry=entry: entry.layer(5, 20, dtype=torch.float32) for entry in EVERY_CELL],
    *[lambda number=number: Call.draw(number).layer().float() for number in range(10)],
]
"""Every cell of the catalogue, and ten random ones."""


@cache
def model(number):
    """One of them, by its name."""
    with torch.random.fork_rng():
        torch.manual_seed(number)
        return named(MODELS[number](), f"m{number}")


def some_models(key, of):
    """One in `of`, or all."""
    return [model(k) for k in some(range(len(MODELS)), key, of)]


def driver(given):
    """A program that runs them all: the C source of its main, and headers."""
    calls = []
    for source, truth in given:
        name, steps = source.model.name, len(truth.x)
        x, expected = (", ".join(map(c_float, v.reshape(-1))) for v in (truth.x, truth.y))
        first = "" if source.model.is_two_way else f"{name}_reset(&{name}_trained, (void *)room); "
        calls.append(
            f"    {{ static const float x[] = {{{x}}}, e[] = {{{expected}}};\n"
            f"      {first}{name}_run(&{name}_trained, (void *)room, x, y, {steps});\n"
            f'      compare("{name}", e, {truth.y.size}, {c_float(max(1e-30, abs(truth.y).max()))}); }}'
        )
    includes = "\n".join(f'#include "{source.model.name}.h"' for source, _ in given)
    return DRIVER.format(includes=includes, calls="\n".join(calls))


def run(tools, folder, parts, flags=FLAGS):
    """What a program of these parts says, by the name of each model."""
    for file, text in tools.files.items():
        (folder / file).write_text(text)
    compiler = [tools.compiler, *flags.split(), *tools.flags.split()]
    made = subprocess.run(
        [*compiler, *parts, *tools.sources, "-o", "all"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not made.returncode, made.stderr[-2000:]
    ran = subprocess.run(
        [*tools.runner.split(), str(folder / "all")],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert not ran.returncode, (ran.stdout + ran.stderr)[-2000:]
    return dict(line.split() for line in ran.stdout.splitlines())


def are_right(tried, said):
    for source, truth in tried:
        assert float(said[source.model.name]) <= tolerated(truth.own_difference), source.about


def tools_of(name):
    tools = toolchain(TARGETS[name])
    if tools.missing:
        pytest.skip(f"{tools.missing} is not installed")
    return tools


@pytest.mark.parametrize("name", TARGETS)
def test_objects_of_every_cell_need_nothing_and_give_selfloops_numbers(name, tmp_path):
    target, parts = TARGETS[name], {}
    tried = some_models(name, of=4)
    for source, _ in tried:
        own = source.model.name
        code, layout = native_object(source.model, target)
        assert not undefined(code), source.about
        weights = source.packed(layout, target.name)
        (tmp_path / f"{own}.h").write_text(source.header(weights))
        (tmp_path / f"{own}.o").write_bytes(code)
        (tmp_path / f"{own}_weights.o").write_bytes(data_object(f"{own}_trained", weights.bytes, target))
        parts[own] = [f"{own}.o", f"{own}_weights.o"]
    if toolchain(target) is None:
        return  # nothing here runs it
    tools, said = tools_of(name), {}
    together = 20 if tools.room else len(tried)  # that a board has room for
    for first in range(0, len(tried), together):
        given = tried[first : first + together]
        (tmp_path / "main.c").write_text(driver(given))
        said |= run(tools, tmp_path, ["main.c", *(part for source, _ in given for part in parts[source.model.name])])
    are_right(tried, said)


@pytest.mark.parametrize("name", BY_C)
def test_c_of_every_cell_gives_selfloops_numbers_elsewhere(name, tmp_path):
    tools, parts, tried = tools_of(name), ["main.c"], some_models([*BY_C].index(name), of=2)
    (tmp_path / "main.c").write_text(driver(tried))
    for source, _ in tried:
        own = source.model.name
        (tmp_path / f"{own}.h").write_text(source.header(source.weights))
        (tmp_path / f"{own}.c").write_text(source.source() + source.trained())
        parts.append(f"{own}.c")
    are_right(tried, run(tools, tmp_path, parts, f"-std=c99 -ffp-contract=fast {BY_C[name]}"))


@pytest.mark.parametrize("name", ["aarch64", "cortex-m7", "rv64gc"])
def test_an_export_for_another_processor_is_tried_before_it_is_handed_over(name, tmp_path):
    tools = tools_of(name)
    made = sl.export(sl.GRU(3, 7, 2), tmp_path / "made", to="object", target=name)
    assert made.difference <= 1e-5
    assert f"tried by {tools.compiler} and " in str(made)
    said = subprocess.run(["make", "-s"], cwd=tmp_path / "made", capture_output=True, text=True, check=True).stdout
    assert "of the largest output" in said


@pytest.mark.parametrize(("name", "form"), pairs(["aarch64", "cortex-m55", "rv64gcv"], ["bf16", "int8"]))
def test_shorter_weights_give_selfloops_numbers_elsewhere(name, form, tmp_path):
    tools_of(name)
    made = sl.export(sl.LSTM(5, 20), tmp_path / "made", to="object", target=name, weights=form)
    assert made.difference <= 1e-5


def test_what_cannot_be_run_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    made = sl.export(sl.GRU(3, 4), tmp_path / "arm", to="object", target="cortex-m4")
    assert "not tried: arm-none-eabi-gcc, which a program for cortex-m4 needs, is not installed" in str(made)
    made = sl.export(sl.GRU(3, 4), tmp_path / "apple", to="object", target="apple-arm64")
    assert made.difference is None
    assert "not tried: nothing here runs apple-arm64" in str(made)


def test_a_cross_compiler_without_its_library_is_said(tmp_path, monkeypatch):
    for program, said in (("aarch64-linux-gnu-gcc", "libc.a"), ("qemu-aarch64-static", "")):
        (tmp_path / program).write_text(f"#!/bin/sh\necho {said}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    emulated._has_library.cache_clear()
    made = sl.export(sl.GRU(3, 4), tmp_path / "made", to="object", target="aarch64")
    emulated._has_library.cache_clear()
    assert "not tried: the C library of aarch64-linux-gnu-gcc, which a program for aarch64 needs, is not" in str(made)


def test_a_program_that_says_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "toolchain", lambda target: Toolchain("cc", "", "true"))
    if shutil.which("cc") is None or not is_of_host(TARGETS["x86-64-v2"]):
        pytest.skip("there is no C compiler for x86-64 here")
    with pytest.raises(BackendError, match="differs from selfloop by inf"):
        sl.export(sl.GRU(3, 4), tmp_path / "made", to="object", target="x86-64-v2")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "1,056 numbers of weights, and C source has indices of 32 bits"),
        ({"to": "object", "target": "cortex-m4"}, "4,224 bytes of weights, and cortex-m4 has indices of 32 bits"),
        ({"to": "object", "target": "aarch64"}, None),
    ],
)
def test_weights_that_an_index_cannot_number_are_refused(options, words, tmp_path, monkeypatch):
    monkeypatch.setattr(native, "INDEXED", 1000)
    if words is None:
        sl.export(sl.LSTM(8, 8), tmp_path / "made", **options)
        return
    with pytest.raises(SelfloopError, match=words):
        sl.export(sl.LSTM(8, 8), tmp_path / "made", **options)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "1,024 numbers in a state, and C source has indices of 32 bits"),
        ({"to": "object", "target": "cortex-m4"}, "4,224 bytes of states, and cortex-m4 has indices of 32 bits"),
        ({"to": "object", "target": "aarch64"}, None),
    ],
)
def test_states_that_an_index_cannot_number_are_refused(options, words, tmp_path, monkeypatch):
    """A matrix may have many elements where there are few weights."""

    @sl.cell
    def small(x, h, C=sl.state("h h"), *, w=sl.param("h")):
        C = 0.5 * C + sl.outer(h, w * sl.mean(x))
        return sl.tanh(C @ w), C

    monkeypatch.setattr(native, "INDEXED", 1000)
    rnn = sl.Recurrent(small, 3, 32)
    if words is None:
        sl.export(rnn, tmp_path / "made", **options)
        return
    with pytest.raises(SelfloopError, match=words):
        sl.export(rnn, tmp_path / "made", **options)
    assert not (tmp_path / "made").exists()


def test_a_model_that_a_board_has_no_room_for_is_not_tried(tmp_path):
    tools_of("cortex-m55")
    made = sl.export(sl.LSTM(128, 128), tmp_path / "made", to="object", target="cortex-m55")
    assert "not tried: qemu-system-arm has room for 524,288 bytes of a program for cortex-m55" in str(made)


@pytest.mark.parametrize(
    "name", ["x86-64-v4", "aarch64", "cortex-m33", "windows-x86-64", "windows-x86-64-v3", "wasm32"]
)
def test_large_states_need_nothing_from_elsewhere(name):
    """Such as the function that Windows' compilers call where a frame has several pages."""
    source, _ = named(sl.LSTM(3, 700), "large")
    assert not undefined(native_object(source.model, TARGETS[name])[0])


def test_targets_are_listed_and_a_name_that_is_none_is_said(tmp_path):
    assert list(target_table()) == list(TARGETS)
    assert all(target_table().values())
    with pytest.raises(BackendError, match=r"There is no target 'cortex-m5'; did you mean 'cortex-m55'\?"):
        sl.export(sl.GRU(3, 4), tmp_path / "made", to="object", target="cortex-m5")
    assert not (tmp_path / "made").exists()


def test_cells_that_need_float64_elsewhere_have_formulas_of_float32(tmp_path):
    @sl.cell
    def waves(x, h=sl.state("x")):
        h = sl.sin(x) + sl.gelu(h + x) * sl.cos(h) + sl.erf(x)
        return h

    made = sl.export(sl.Recurrent(waves, 9, 9), tmp_path / "made", to="object", target="cortex-m4")
    assert made.sizes["object"] < 12_000


@pytest.mark.parametrize("name", ["cortex-m7", "x86-64-v4", "x86-64-v3", "wasm32"])
def test_the_object_of_an_lstm_is_small(name):
    source, _ = named(sl.LSTM(64, 64), "small")
    assert len(native_object(source.model, TARGETS[name])[0]) < 12_000


def test_the_example_labels_readings_on_a_cortex_m(tmp_path):
    tools_of("cortex-m7")
    folder = tmp_path / "cortex_m"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("build", "*.elf"))
    subprocess.run([sys.executable, "train.py", "--steps", "100"], cwd=folder, check=True)
    said = subprocess.run(["make", "-s"], cwd=folder, capture_output=True, text=True, check=True, timeout=120).stdout
    right, total = map(int, re.findall(r"(\d+) of (\d+) readings are right", said)[0])
    assert right > 0.9 * total


def test_the_page_lists_the_targets():
    page = (EXAMPLE.parents[1] / "docs" / "ship.md").read_text(encoding="utf-8")
    for name, about in target_table().items():
        assert f"| `{name}` | {about} |" in page
