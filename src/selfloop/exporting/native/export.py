"""A model as C or as an object file, tried before it is handed over."""

import copy
import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfloop.compiler import Target, host_target
from selfloop.compiler.native import FORMS, data_object, host_object_target, loaded, native_object, wasm_target
from selfloop.data import Tokenizer
from selfloop.errors import ArgumentError, BackendError
from selfloop.exporting.exported import Exported, Tried, tolerated, write_files
from selfloop.exporting.native.describe import Described, Trained, described, stack_of
from selfloop.exporting.native.emulated import FLAGS, NATIVE, Toolchain, toolchain
from selfloop.exporting.native.files import Source, Words, makefile
from selfloop.exporting.native.packing import rounded
from selfloop.exporting.web.export import Web
from selfloop.layers import Recurrent
from selfloop.models import ManyToOne

Floats = NDArray[np.float32]

CHECKED = 8
"""Steps of random input that the check runs."""

WARNINGS = ("-Wall", "-Wextra", "-Werror")
"""Of the C compiler that tries what was made."""

HERE = Toolchain(flags=NATIVE)
"""This machine's own."""

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
    targets: tuple[Target, ...] = (),
    about: str = "",
    words: Words | None = None,
    tokenizer: Tokenizer | None = None,
    inputs: Tensor | None = None,
) -> Exported:
    """Write a model as C source, as object files or as a module of WebAssembly.

    Args:
        module: see `described`.
        folder: new or empty.
        to: ``c``, ``object`` or ``wasm``.
        name: what all names begin with.
        form: of the weights.
        targets: of object files or of a module; if none, this processor's, and engines with SIMD.
        about: the model's input in words, for the header.
        words: what the numbers of its answers stand for.
        tokenizer: from text to what the model reads, for a page.
        inputs: to try it on, (T, numbers), or (T,) of tokens; random if None.

    Raises:
        ArgumentError: there is no native code for a part of the model, or it is not finite.
        BackendError: what was made does not give selfloop's numbers.
    """
    module = copy.deepcopy(module).to("cpu", torch.float32).eval()
    own = described(module, name, form)
    source = Source(own, _title(module), f"{about}\n\n{stack_of(module).cell}".strip(), words)
    check_size(source, to, targets)
    x = _random(own) if inputs is None else inputs
    truth = _Truth.of(module, source, x)
    maker = MAKERS[to](source, truth, targets, tokenizer)
    files = maker.files()
    tried, not_tried = maker.tried(files)
    for one in tried:
        most = tolerated(truth.own_difference)
        if not one.difference <= most:
            raise BackendError(
                f"What was made of {source.title} differs from selfloop by {one.difference:.1e} of the largest output, "
                f"as {one.by} runs it, and at most {most:.1e} is rounding, so nothing was written. Please report it."
            )
    written = write_files(folder, files)
    return Exported(written, tried, not_tried, maker.sizes(files))


def check_size(source: Source, to: str, targets: Sequence[Target] = ()) -> None:
    """Raise ArgumentError where weights have more elements than an index of the code can number, or a 32-bit processor
    address.
    """
    layout = source.layout
    codes = FORMS[layout.form] * layout.codes
    for unit, size, by in (
        ("numbers", max(layout.floats, layout.codes), ["C source"] if to == "c" else []),
        ("bytes", 4 * layout.floats + codes, [t.name for t in targets if t.index_bits == 32]),
    ):
        if by and size >= INDEXED:
            raise ArgumentError(
                f"{source.title} has {size:,} {unit} of weights, and {by[0]} has indices of 32 bits, for less than "
                f"{INDEXED:,}. Export an object file for a 64-bit processor, or a smaller model."
            )


def _title(module: Trained) -> str:
    return str(module) if isinstance(module, Recurrent) else f"{type(module).__name__} of {module.rnn}"


def _random(own: Described) -> Tensor:
    """Input to try a model on."""
    generator = torch.Generator().manual_seed(0)
    if own.model.vocabulary:
        return torch.randint(own.model.vocabulary, (CHECKED,), generator=generator)
    return torch.randn(CHECKED, own.model.numbers, generator=generator)


@dataclass(frozen=True, eq=False)
class _Truth:
    """What selfloop gives.

    Attributes:
        x: the input.
        y: the answers of the interpreter in float64.
        own_difference: of the interpreter in float32 from it, relative to the largest.
    """

    x: NDArray[np.generic]
    y: Floats
    own_difference: float

    @classmethod
    @torch.no_grad()
    def of(cls, module: Trained, source: Source, x: Tensor) -> "_Truth":
        """Of a model whose weights are rounded as those of the export."""
        near = copy.deepcopy(module)
        rounded(source.layout, described(near, source.model.name, source.model.form).weights)
        stack_of(near).backend = "interpret"
        own = _answers(near, x).double()
        y = _answers(near.double(), x if source.model.vocabulary else x.double())
        if not bool(y.isfinite().all()):
            raise ArgumentError(
                f"The outputs of {source.title} on its input are not all finite, so it cannot be tried."
            )
        difference = float((own - y).abs().max() / y.abs().max().clamp(min=1e-30))
        numbers = x.numpy() if source.model.vocabulary else x.float().numpy()
        return cls(numbers, y.float().numpy(), difference)


def _answers(module: Trained, x: Tensor) -> Tensor:
    """(answers, outputs) of one sequence."""
    if isinstance(module, Recurrent):
        first, *further = module._input_sizes.items()
        parts = x.split([size for _, size in (first, *further)], dim=-1)
        given = {name: part for (name, _), part in zip(further, parts[1:], strict=True)}
        y: Tensor = Recurrent.forward(module, parts[0], **given)[0]
        return y
    if isinstance(module, ManyToOne):
        answer: Tensor = module(x[:, None], torch.tensor([len(x)]))
        return answer
    logits: Tensor = module(x[:, None])[0][:, 0]
    return logits


@dataclass(frozen=True, eq=False)
class _C:
    """C source."""

    source: Source
    truth: _Truth

    def files(self) -> dict[str, bytes]:
        """By their names."""
        own, name = self.source, self.source.model.name
        texts = {
            f"{name}.h": own.header(own.weights),
            f"{name}.c": own.source(),
            f"{name}_weights.c": own.trained(),
            "check.c": own.check(self.truth.x, self.truth.y, self.truth.own_difference),
            "Makefile": makefile(name, [f"{name}.c", f"{name}_weights.c"], HERE),
        }
        return {file: text.encode() for file, text in texts.items()} | {f"{name}.weights": own.weights.bytes}

    def tried(self, files: Mapping[str, bytes]) -> tuple[tuple[Tried, ...], tuple[str, ...]]:
        """By the C compiler of this machine."""
        compiler = c_compiler()
        if compiler is None:
            return (), ("there is no C compiler here",)
        return (compiled(replace(HERE, compiler=compiler), files, [f for f in files if f.endswith(".c")]),), ()

    def sizes(self, files: Mapping[str, bytes]) -> dict[str, int]:
        """In bytes."""
        return _sizes(self.source, files)


@dataclass(frozen=True, eq=False)
class _Objects:
    """Object files, one for each target."""

    source: Source
    truth: _Truth
    targets: tuple[Target, ...]

    def files(self) -> dict[str, bytes]:
        """By their names."""
        own, name = self.source, self.source.model.name
        found: dict[str, bytes] = {}
        for target in self.targets:
            code, layout = native_object(own.model, target)
            weights = own.packed(layout, target.name)
            found[f"{name}.o"] = code
            found[f"{name}_weights.o"] = data_object(f"{name}_trained", weights.bytes, target)
            found[f"{name}.weights"] = weights.bytes
        check = own.check(self.truth.x, self.truth.y, self.truth.own_difference)
        texts = {f"{name}.h": own.header(weights), "check.c": check}
        tools = toolchain(target)
        texts["Makefile"] = makefile(name, [f"{name}.o", f"{name}_weights.o"], tools or Toolchain())
        texts |= tools.files if tools else {}
        return {file: text.encode() for file, text in texts.items()} | found

    def tried(self, files: Mapping[str, bytes]) -> tuple[tuple[Tried, ...], tuple[str, ...]]:
        """By a C compiler for its processor, and where that is another, by an emulator; else in this process."""
        (target,), name = self.targets, self.source.model.name
        tools = toolchain(target)
        if tools is None:
            return (), (f"nothing here runs {target.name}",)
        if not tools.runner:
            tools = replace(tools, compiler=c_compiler() or tools.compiler)
        if tools.missing and not tools.runner and target is host_object_target():
            return (in_process(self.source, self.truth),), ()
        if tools.missing:
            return (), (f"{tools.missing}, which a program for {target.name} needs, is not installed",)
        if tools.room is not None and sum(map(len, files.values())) > tools.room:
            return (), (f"{tools.title} has room for {tools.room:,} bytes of a program for {target.name}",)
        return (compiled(tools, files, ["check.c", f"{name}.o", f"{name}_weights.o"]),), ()

    def sizes(self, files: Mapping[str, bytes]) -> dict[str, int]:
        """In bytes."""
        return {"object": len(files[f"{self.source.model.name}.o"])} | _sizes(self.source, files)


def _web(source: Source, truth: _Truth, targets: tuple[Target, ...], tokenizer: Tokenizer | None) -> Web:
    (target,) = targets or (wasm_target("simd"),)
    return Web(source, truth.x, truth.y, truth.own_difference, target, tokenizer)


MAKERS: dict[str, Callable[[Source, _Truth, tuple[Target, ...], Tokenizer | None], _C | _Objects | Web]] = {
    "c": lambda source, truth, targets, tokenizer: _C(source, truth),
    "object": lambda source, truth, targets, tokenizer: _Objects(source, truth, targets or (host_object_target(),)),
    "wasm": _web,
}
"""What makes the files of a kind."""


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


def in_process(source: Source, truth: _Truth) -> Tried:
    """The machine code of this processor, called from here."""
    model, name = source.model, source.model.name
    code, layout = loaded(model)
    weights = np.frombuffer(source.packed(layout, host_target().name).bytes, np.uint8)
    steps, y = len(truth.x), np.full_like(truth.y, np.nan)
    room = np.full(max(1, steps * model.room, sum(model.states.values())), np.nan, np.float32)
    x = np.ascontiguousarray(truth.x, np.int32 if model.vocabulary else np.float32)
    functions = {
        verb: ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * count, *([ctypes.c_int32] if verb == "run" else []))(
            code.address(f"{name}_{verb}")
        )
        for verb, count in (("run", 4), *(() if model.is_two_way else (("reset", 2),)))
    }
    if not model.is_two_way:
        functions["reset"](_address(weights), _address(room))
    functions["run"](_address(weights), _address(room), _address(x), _address(y), steps)
    largest = max(float(np.abs(truth.y).max()), 1e-30)
    return Tried("LLVM in this process", float(np.abs(y - truth.y).max()) / largest)


def _address(array: NDArray[np.generic]) -> int:
    return int(array.ctypes.data)


def _first_error(said: str) -> str:
    """The first error of a C compiler, or the first line of what it said."""
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if "error:" in line), lines[0])
