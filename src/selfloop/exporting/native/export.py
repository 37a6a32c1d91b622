"""A model as C or as an object file, tried before it is handed over."""

import copy
import ctypes
import keyword
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfloop.compiler import Target, host_target
from selfloop.compiler.native import (
    FORMS,
    Spelling,
    data_object,
    host_object_target,
    loaded,
    native_object,
    object_stack,
    object_target,
    wasm_target,
)
from selfloop.errors import ArgumentError, BackendError
from selfloop.exporting.exported import SAMPLES, Exported, Tried, write_files
from selfloop.exporting.native.describe import Described, Trained, described, stack_of
from selfloop.exporting.native.emulated import FLAGS, NATIVE, Toolchain, toolchain
from selfloop.exporting.native.files import DTYPES, Case, Source, makefile, rounding
from selfloop.exporting.native.packing import rounded
from selfloop.exporting.native.texts import Meaning
from selfloop.exporting.web.export import Web
from selfloop.layers import Recurrent
from selfloop.layers.frozen import evaluated
from selfloop.models import ManyToOne

Floats = NDArray[np.float32]

CHECKED = 8
"""Steps of random input that the check runs."""

WARNINGS = ("-Wall", "-Wextra", "-Werror")
"""Of the C compiler that tries what was made."""


HERE = Toolchain(flags=NATIVE)
"""This machine's own."""

HEADERS = """assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg
stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype"""
"""Of the standard library of C."""

TAKEN: Mapping[frozenset[str], str] = {
    frozenset({"check", "example"}): "a file of every export",
    frozenset(keyword.kwlist): "a word of Python, where {name}.py is imported",
    sys.stdlib_module_names | {"numpy"}: "a module of Python, which {name}.py would hide",
    frozenset(HEADERS.split()): "a header of C, which {name}.h would hide",
}
"""Names that the files of an export cannot have, and why."""

INDEXED = 2**31
"""Numbers that an index of 32 bits with a sign tells apart."""

PATIENCE = 300
"""Seconds that a compiler or a program may take."""


def export_native(
    module: Trained,
    folder: Path,
    *,
    to: str,
    name: str,
    form: str,
    target: Target | None,
    meaning: Meaning | None = None,
    inputs: Sequence[Tensor] = (),
) -> Exported:
    """Write a model as C source, as object files or as a module of WebAssembly.

    Args:
        module: see `described`.
        folder: new or empty.
        to: ``c``, ``object`` or ``wasm``.
        name: what all names begin with.
        form: of the weights.
        target: of an object file or a module, see `target_of`; None for C source.
        meaning: of the model's numbers, for who writes a program; None where nothing is known of them.
        inputs: sequences of a run's data to try it on, each (T, numbers), or (T,) of tokens; random ones are added.

    Raises:
        ArgumentError: there is no native code for a part of the model, or it is not finite.
        BackendError: what was made does not give selfloop's numbers.
    """
    module = evaluated(module).to("cpu", torch.float32)
    if not all(bool(weight.isfinite().all()) for weight in described(module, name, form).weights.values()):
        raise ArgumentError(f"The weights of {_title(module)} are not all finite, so it cannot be exported.")
    module = near(module, form)
    own = described(module, name, form)
    source = Source(own, _title(module), str(stack_of(module).cell), meaning or Meaning())
    check_size(source, target)
    cases = cases_of(module, source, inputs)
    maker = MAKERS[to](source, cases, target)
    files = maker.files()
    tried, not_tried = maker.tried(files)
    for one in tried:
        most = rounding(cases)
        if not one.difference <= most:
            raise BackendError(
                f"What was made of {source.title} differs from selfloop by {one.difference:.1e} of the largest output, "
                f"as {one.by} runs it, and at most {most:.1e} is rounding, so nothing was written. Please report it."
            )
    real = sum(case.is_real for case in cases)
    tried = tuple(replace(one, real=real) for one in tried)
    written = write_files(folder, files)
    return Exported(written, tried, not_tried, maker.sizes(files))


def check_size(source: Source, target: Target | None) -> None:
    """Raise ArgumentError where weights or states have more elements than an index of the code can number, or a 32-bit
    processor address.
    """
    layout, states = source.layout, source.model.states.values()
    codes = FORMS[layout.form] * layout.codes
    by_number = "C source" if target is None else None
    by_byte = target.name if target is not None and target.index_bits == 32 else None
    for what, size, by in (
        ("numbers of weights", max(layout.floats, layout.codes), by_number),
        ("bytes of weights", 4 * layout.floats + codes, by_byte),
        ("numbers in a state", max(states), by_number),
        ("bytes of states", 4 * sum(states), by_byte),
    ):
        if by and size >= INDEXED:
            raise ArgumentError(
                f"{source.title} has {size:,} {what}, and {by} has indices of 32 bits, for less than "
                f"{INDEXED:,}. Export an object file for a 64-bit processor, or a smaller model."
            )


def check_name(name: object) -> str:
    """A name that all names in C can begin with, and that hides no other file; else ArgumentError."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z](_?[a-z0-9]){0,40}", name):
        raise ArgumentError(
            f"The 'name' of export must be a name of C in lower case, such as 'model'. Got {name!r} instead."
        )
    for taken, what in TAKEN.items():
        if name in taken:
            raise ArgumentError(
                f"The 'name' of export cannot be {name!r}, which is {what.format(name=name)}. Give another, such as "
                f"'{name}_model'."
            )
    return name


def target_of(name: str | None, to: str) -> Target | None:
    """The target of this name; of None this processor's, and engines with SIMD; None for C, which has none."""
    if to == "c":
        return None
    if to == "wasm":
        return wasm_target("simd" if name is None else name)
    return host_object_target() if name is None else object_target(name)


def _title(module: Trained) -> str:
    return str(module) if isinstance(module, Recurrent) else f"{type(module).__name__} of {module.rnn}"


def _random(own: Described, seed: int) -> Tensor:
    """Input to try a model on."""
    generator = torch.Generator().manual_seed(seed)
    if own.model.vocabulary:
        return torch.randint(own.model.vocabulary, (CHECKED,), generator=generator)
    if own.model.spelling is not None:
        return _random_words(own.model.spelling, generator)
    return torch.randn(CHECKED, own.model.numbers, generator=generator)


def near(module: Trained, form: str) -> Trained:
    """A copy of a model whose weights have the values that they have in a form."""
    found = evaluated(module)
    if form != "f32":
        own = described(found, "model", form)
        rounded(Source(own, "", "").layout, own.weights)
    return found


@torch.no_grad()
def cases_of(module: Trained, source: Source, inputs: Iterable[Tensor] = ()) -> list[Case]:
    """What selfloop says of sequences: of a random one, and of others.

    Args:
        module: a model, whose weights have the values that they have in the export.
        source: of the export.
        inputs: sequences of a run's data.
    """
    single = copy.deepcopy(module)
    stack_of(single).backend, stack_of(single).batch_first = "interpret", False
    exact = copy.deepcopy(single).double()
    are_numbers = source.model.reads == "numbers"

    def case(x: Tensor, is_real: bool) -> Case:
        """Of the first sequence of a batch; the difference is that of all."""
        own = _answers(single, x).double()
        y = _answers(exact, x.double() if are_numbers else x)
        if not bool(y.isfinite().all()):
            raise ArgumentError(
                f"The outputs of {source.title} on its input are not all finite, so it cannot be tried."
            )
        difference = float(((own - y).abs().amax((0, 2)) / y.abs().amax((0, 2)).clamp(min=1e-30)).max())
        first, answers = x[:, 0].contiguous(), y[:, 0].float().contiguous()
        return Case((first.float() if are_numbers else first).numpy(), answers.numpy(), difference, is_real)

    random = torch.stack([_random(source.described, seed) for seed in range(SAMPLES)], dim=1)
    return [case(random, False), *(case(x[:, None], True) for x in inputs)]


def _random_words(spelling: Spelling, generator: torch.Generator) -> Tensor:
    """Words that are known and others, of 0 to all letters that are read, of the first planes of Unicode."""
    words = torch.zeros(CHECKED, spelling.row, dtype=torch.int64)
    words[:, 0] = torch.randint(spelling.words, (CHECKED,), generator=generator)
    for k, row in enumerate(words):
        letters = k * spelling.letters // (CHECKED - 1)
        for start in (1, 1 + spelling.letters):
            row[start : start + letters] = torch.randint(1, 0x20000, (letters,), generator=generator)
    return words


def _answers(module: Trained, x: Tensor) -> Tensor:
    """(answers, sequences, outputs) of sequences of one length, (steps, sequences, …)."""
    if isinstance(module, Recurrent):
        first, *further = module._input_sizes.items()
        parts = x.split([size for _, size in (first, *further)], dim=-1)
        given = {name: part for (name, _), part in zip(further, parts[1:], strict=True)}
        y: Tensor = Recurrent.forward(module, parts[0], **given)[0]
        return y
    if isinstance(module, ManyToOne):
        answer: Tensor = module(x, torch.full((x.shape[1],), len(x)))
        return answer[None]
    logits: Tensor = module(x)[0]
    return logits


@dataclass(frozen=True, eq=False)
class _C:
    """C source."""

    source: Source
    cases: Sequence[Case]

    def files(self) -> dict[str, bytes]:
        """By their names."""
        own, name = self.source, self.source.model.name
        texts = {
            f"{name}.h": own.header(own.weights),
            f"{name}.c": own.source(),
            f"{name}_weights.c": own.trained(),
        }
        files = {file: text.encode() for file, text in texts.items()} | {f"{name}.weights": own.weights.bytes}
        return files | _around(own, self.cases, list(texts)[1:], HERE)

    def tried(self, files: Mapping[str, bytes]) -> tuple[tuple[Tried, ...], tuple[str, ...]]:
        """By the C compiler of this machine; without one, machine code of the same model in this process."""
        compiler = c_compiler()
        if compiler is None:
            return (in_process(self.source, self.cases),), ("the source itself: there is no C compiler here",)
        return (compiled(replace(HERE, compiler=compiler), files, _parts(files, HERE, ".c")),), ()

    def sizes(self, files: Mapping[str, bytes]) -> dict[str, int]:
        """In bytes."""
        return _sizes(self.source, files)


@dataclass(frozen=True, eq=False)
class _Object:
    """An object file."""

    source: Source
    cases: Sequence[Case]
    target: Target

    def files(self) -> dict[str, bytes]:
        """By their names."""
        own, name, target = self.source, self.source.model.name, self.target
        code, layout = native_object(own.model, target)
        weights = own.packed(layout, target.name)
        files = {
            f"{name}.h": own.header(weights, object_stack(own.model, target)).encode(),
            f"{name}.o": code,
            f"{name}_weights.o": data_object(f"{name}_trained", weights.bytes, target),
            f"{name}.weights": weights.bytes,
        }
        return files | _around(own, self.cases, [f"{name}.o", f"{name}_weights.o"], toolchain(target))

    def tried(self, files: Mapping[str, bytes]) -> tuple[tuple[Tried, ...], tuple[str, ...]]:
        """By a C compiler for its processor, and where that is another, by an emulator; else in this process."""
        target = self.target
        tools = toolchain(target)
        if tools is None:
            return (), (f"nothing here runs {target.name}",)
        if not tools.runner:
            tools = replace(tools, compiler=c_compiler() or tools.compiler)
        if tools.missing and not tools.runner and target is host_object_target():
            return (in_process(self.source, self.cases),), ()
        if tools.missing:
            return (), (f"{tools.missing}, which a program for {target.name} needs, is not installed",)
        if tools.room is not None and sum(map(len, files.values())) > tools.room:
            return (), (f"{tools.title} has room for {tools.room:,} bytes of a program for {target.name}",)
        return (compiled(tools, files, _parts(files, tools, ".c", ".o")),), ()

    def sizes(self, files: Mapping[str, bytes]) -> dict[str, int]:
        """In bytes."""
        return {"object": len(files[f"{self.source.model.name}.o"])} | _sizes(self.source, files)


def _web(source: Source, cases: Sequence[Case], target: Target) -> Web:
    return Web(source, cases, target)


MAKERS: dict[str, Callable[[Source, Sequence[Case], Any], _C | _Object | Web]] = {
    "c": lambda source, cases, target: _C(source, cases),
    "object": _Object,
    "wasm": _web,
}
"""What makes the files of a form."""


def _around(source: Source, cases: Sequence[Case], parts: list[str], tools: Toolchain | None) -> dict[str, bytes]:
    """What comes with code in every form: text, a check, an example, a wrapper for Python, a Makefile."""
    name, texts, example = source.model.name, source.texts(), source.example()
    files = {} if texts is None else {f"{name}_text.c": texts}
    files |= {"check.c": source.check(cases)} | ({} if example is None else {"example.c": example})
    parts = parts + ([] if texts is None else [f"{name}_text.c"])
    files["Makefile"] = makefile(name, parts, tools or Toolchain(), has_example=example is not None)
    files |= {f"{name}.py": source.library(), **(tools.files if tools else {})}
    return {file: text.encode() for file, text in files.items()} | dict(source.meaning.beside)


def _parts(files: Mapping[str, bytes], tools: Toolchain, *suffixes: str) -> list[str]:
    """What a compiler makes a check of, beside what its tools bring."""
    return [file for file in files if file.endswith(suffixes) and file not in ("example.c", *tools.sources)]


def _sizes(source: Source, files: Mapping[str, bytes]) -> dict[str, int]:
    model = source.model
    state = {} if model.is_two_way else {"state": 4 * sum(model.states.values())}
    return {"weights": len(files[f"{model.name}.weights"]), **state}


def c_compiler() -> str | None:
    """Of this machine."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def compiled(tools: Toolchain, files: Mapping[str, bytes], parts: list[str]) -> Tried:
    """The check, compiled and run."""
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        flags = [*FLAGS.split(), *tools.flags.split(), *WARNINGS]
        made = _ran([tools.compiler, *flags, *parts, *tools.sources, "-o", "check"], folder)
        if made.returncode:
            raise BackendError(
                f"The C compiler refuses the source of selfloop, which is a bug: {_first_error(made.stderr)}"
            )
        ran = _ran([*tools.runner.split(), str(Path(folder) / "check")], folder)
    by = Path(tools.compiler).name
    return _said(f"{by} and {tools.title}" if tools.runner else by, ran.stdout, is_timed=not tools.runner)


def _ran(command: list[str], folder: str) -> "subprocess.CompletedProcess[str]":
    """A program with nothing to read; one that hangs is stopped."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"it took more than {PATIENCE} seconds")


def _said(by: str, said: str, is_timed: bool = True) -> Tried:
    """What a check has printed; the time of an emulator says nothing."""
    (difference,) = re.findall(r"difference ([\d.e+-]+|nan|inf)", said) or ["inf"]
    (time,) = re.findall(r"step ([\d.]+) us", said) or [None]
    return Tried(by, float(difference), None if time is None or not is_timed else float(time))


def in_process(source: Source, cases: Sequence[Case]) -> Tried:
    """The machine code of this processor, called from here."""
    model, name = source.model, source.model.name
    code, layout = loaded(model)
    weights = np.frombuffer(source.packed(layout, host_target().name).bytes, np.uint8)
    functions = {
        verb: ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * count, *([ctypes.c_int32] if verb == "run" else []))(
            code.address(f"{name}_{verb}")
        )
        for verb, count in (("run", 4), *(() if model.is_two_way else (("reset", 2),)))
    }
    worst = 0.0
    for case in cases:
        steps, y = len(case.x), np.full_like(case.y, np.nan)
        room = np.full(max(1, steps * model.room, sum(model.states.values())), np.nan, np.float32)
        x = np.ascontiguousarray(case.x, DTYPES[model.reads])
        if not model.is_two_way:
            functions["reset"](_address(weights), _address(room))
        functions["run"](_address(weights), _address(room), _address(x), _address(y), steps)
        difference = float(np.abs(y - case.y).max()) / case.scale
        worst = difference if np.isnan(difference) else max(worst, difference)
    return Tried("LLVM in this process", worst)


def _address(array: NDArray[np.generic]) -> int:
    return int(array.ctypes.data)


def _first_error(said: str) -> str:
    """The first error of a C compiler, or the first line of what it said."""
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if "error:" in line), lines[0])
