"""A recurrent stack as C99: one file with the step, its weights, a header, and a check of both."""

import copy
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from selfloop.atomic import replacing
from selfloop.compiler import LANES, Panel, StepSource, c_functions, c_step
from selfloop.errors import ArgumentError, BackendError
from selfloop.exporting.templates import CHECK, HEADER, MAKEFILE, SOURCE, WEIGHTS
from selfloop.kernels.interpret import made_once
from selfloop.layers import Recurrent

Floats = NDArray[np.float32]

CHECKED = 8
"""Steps of random input that the check runs."""

TOLERANCE = 1e-5
"""How far the check may be from selfloop's own numbers, relative to the largest."""

FLAGS = ("-std=c99", "-O3", "-Wall", "-Wextra", "-Werror")
"""Of the C compiler that tries what was made."""


@dataclass(frozen=True)
class Exported:
    """What `export` has made.

    Attributes:
        files: that were written.
        weights: bytes of the weights.
        state: bytes of a session's state.
        difference: the largest between the compiled source and selfloop, relative to the largest output; None where
            there is no C compiler to try it with.
    """

    files: tuple[Path, ...]
    weights: int
    state: int
    difference: float | None

    def __str__(self) -> str:
        sizes = f"weights {self.weights:,} bytes, state {self.state:,} bytes"
        tried = "not tried, since there is no C compiler here" if self.difference is None else f"{self.difference:.1e}"
        return f"{', '.join(path.name for path in self.files)}: {sizes}; largest difference from selfloop {tried}"


def export(rnn: Recurrent, out: str | Path, *, name: str = "model") -> Exported:
    """Write a stack as C99 that any compiler takes: no allocation, no library, all memory the caller's.

    The folder gets ``NAME.h`` with the interface, ``NAME.c`` with the step, ``NAME_weights.c`` with the weights,
    ``check.c`` with inputs and outputs to try them on, and a Makefile: ``make check``. Several sessions share the
    weights, each with a state of its own::

        model_state state;
        model_reset(&state);
        for (;;) { model_step(&model_trained, &state, x, y); }

    Args:
        rnn: a stack of any cell that the compiler takes, in one direction; its step in evaluation, in float32.
        out: a folder, new or empty.
        name: of the files, and what all names in them begin with.

    Returns:
        The files, their sizes, and how far the compiled source is from selfloop.

    Raises:
        ArgumentError: the stack cannot be exported, the name is no name of C, or the folder is not empty.
        BackendError: what was made does not give selfloop's numbers.

    Example:
        >>> import tempfile
        >>> from selfloop import LSTM
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = export(LSTM(3, 8), f"{folder}/lstm")
        >>> [path.name for path in made.files]
        ['model.h', 'model.c', 'model_weights.c', 'check.c', 'Makefile']
        >>> made.state
        64
    """
    folder = Path(out)
    _check(rnn, folder, name)
    stack = _Stack.of(rnn, name)
    x, y = _truth(rnn)
    files = {
        f"{name}.h": stack.header(),
        f"{name}.c": stack.source(),
        f"{name}_weights.c": stack.trained(),
        "check.c": stack.check(x, y),
        "Makefile": MAKEFILE.format(name=name),
    }
    difference = _tried(files)
    if difference is not None and difference > TOLERANCE:
        raise BackendError(
            f"The C source of {rnn} differs from selfloop by {difference:.1e} of the largest output, and at most "
            f"{TOLERANCE} is rounding, so nothing was written. Please report this cell."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            with replacing(folder / file) as writer:
                writer.write(text.encode())
    except OSError as error:
        raise ArgumentError(f"The folder '{folder}' cannot be written: {error.strerror}.") from None
    return Exported(tuple(folder / file for file in files), 4 * len(stack.weights), 4 * stack.state_floats, difference)


def _check(rnn: Recurrent, folder: Path, name: str) -> None:
    if not isinstance(rnn, Recurrent):
        raise ArgumentError(f"The 'rnn' of export must be a Recurrent, LSTM, GRU or RNN. Got {type(rnn).__name__}.")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
        raise ArgumentError(
            f"The 'name' of export must be a name of C in lower case, such as 'model'. Got {name!r} instead."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArgumentError(f"The folder '{folder}' is not empty, and export overwrites nothing. Give a new one.")
    title = type(rnn).__name__
    for flag in ("bidirectional", "residual", "layer_norm", "learn_state"):
        if getattr(rnn, flag):
            raise ArgumentError(f"A {title} with {flag}=True cannot be exported to C yet.")
    if len(rnn.cell.inputs) > 1:
        raise ArgumentError(f"The cell '{rnn.cell.name}' takes further inputs, which cannot be exported to C yet.")
    matrix = rnn.cell.graph.varying_matrix
    if matrix is not None:
        raise ArgumentError(f"The cell '{rnn.cell.name}' has a matrix that differs from step to step, {matrix}.")


@torch.no_grad()
def _truth(rnn: Recurrent) -> tuple[Floats, Floats]:
    """Random input, and what the interpreter makes of it in float64."""
    x = torch.randn(CHECKED, rnn.input_size, generator=torch.Generator().manual_seed(0))
    exact = copy.deepcopy(rnn).to("cpu", torch.float64).eval()
    exact.backend = "interpret"
    y, _ = Recurrent.forward(exact, x.double())
    if not bool(y.isfinite().all()):
        raise ArgumentError(f"The outputs of {rnn} on random input are not all finite, so its C cannot be checked.")
    return x.numpy(), y.float().numpy()


@dataclass(frozen=True)
class _Stack:
    """A stack as C.

    Attributes:
        name: what names begin with.
        title: of the stack, for comments.
        equations: of the cell.
        sizes: of input and output.
        states: for each layer the size of each state.
        layers: the step of each, in C.
        starts: where the weights of each layer begin, in floats.
        weights: all of them, in the order in which steps read them.
    """

    name: str
    title: str
    equations: str
    sizes: tuple[int, int]
    states: Sequence[Mapping[str, int]]
    layers: Sequence[StepSource]
    starts: Sequence[int]
    weights: Floats

    @classmethod
    def of(cls, rnn: Recurrent, name: str) -> "_Stack":
        graph = rnn.cell.graph.expected
        layers, weights, starts, states = [], [], [0], []
        for layer, one in enumerate(rnn._pass_of.values()):
            source = c_step(f"{name}_layer{layer}", graph, one.sizes)
            with torch.no_grad():
                own = made_once(rnn.cell.graph, rnn._cell_weights(one.suffix), rnn.sizes)
            layers.append(source)
            weights.append(packed(source, {n: w.detach().float().cpu().numpy() for n, w in own.items()}))
            starts.append(starts[-1] + len(weights[-1]))
            shapes = [rnn._state_shapes[k][1] for k, _ in one.rows]
            states.append(dict(zip(graph.states, shapes, strict=True)))
        return cls(
            name=name,
            title=str(rnn),
            equations=str(rnn.cell),
            sizes=(rnn.input_size, rnn.output_size),
            states=states,
            layers=layers,
            starts=starts[:-1],
            weights=np.concatenate(
                [*weights, np.zeros(int(not any(map(len, weights))), np.float32)]
            ),  # C has no empty array
        )

    @property
    def state_floats(self) -> int:
        """Of a session."""
        return sum(size for own in self.states for size in own.values())

    @property
    def hash(self) -> str:
        """Of the steps and the weights, as C writes it."""
        digest = hashlib.blake2b(self.weights.tobytes(), digest_size=8)
        for layer in self.layers:
            digest.update(layer.text.encode())
        return f"0x{digest.hexdigest()}ull"

    def header(self) -> str:
        """The interface."""
        fields = "\n".join(
            f"    float {state}_l{layer}[{size}];"
            for layer, own in enumerate(self.states)
            for state, size in own.items()
        )
        return HEADER.format(
            name=self.name,
            NAME=self.name.upper(),
            title=self.title,
            equations=_comment(self.equations),
            input=self.sizes[0],
            output=self.sizes[1],
            weights=len(self.weights),
            hash=self.hash,
            fields=fields,
        )

    def source(self) -> str:
        """The steps of all layers, and the interface around them."""
        steps = "\n".join(layer.text for layer in self.layers)
        return SOURCE.format(
            name=self.name,
            NAME=self.name.upper(),
            functions=c_functions(self.layers),
            steps=steps,
            calls="\n".join(self._call(layer) for layer in range(len(self.layers))),
            floats=self.state_floats,
            last=f"{next(iter(self.states[-1]))}_l{len(self.layers) - 1}",
        )

    def _call(self, layer: int) -> str:
        """One layer: its step from the state to a new one, which takes its place."""
        own = self.states[layer]
        x = "x" if layer == 0 else f"s->{next(iter(self.states[layer - 1]))}_l{layer - 1}"
        room = "".join(f"        float new_{state}[{size}];\n" for state, size in own.items())
        old = "".join(f", s->{state}_l{layer}" for state in own)
        new = "".join(f", new_{state}" for state in own)
        kept = "".join(f"        {self.name}_keep(s->{n}_l{layer}, new_{n}, {size});\n" for n, size in own.items())
        start = self.starts[layer]
        return f"    {{\n{room}        {self.name}_layer{layer}(w->w + {start}, {x}{old}{new});\n{kept}    }}"

    def trained(self) -> str:
        """The weights as a constant array."""
        rows = (self.weights[start : start + 8] for start in range(0, len(self.weights), 8))
        lines = "\n".join("    " + ", ".join(map(_c_float, row)) + "," for row in rows)
        return WEIGHTS.format(name=self.name, lines=lines)

    def check(self, x: Floats, y: Floats) -> str:
        """Inputs and outputs, and a program that compares them."""
        return CHECK.format(
            name=self.name,
            NAME=self.name.upper(),
            steps=len(x),
            x=_rows(x),
            y=_rows(y),
            scale=_c_float(np.abs(y).max()),
            tolerance=TOLERANCE,
        )


def packed(source: StepSource, weights: Mapping[str, Floats]) -> Floats:
    """The weights of a layer in the order in which its step reads them."""
    found = np.zeros(source.size, np.float32)
    for name, (start, size) in source.vectors.items():
        found[start : start + size] = weights[name].reshape(-1)
    for panel in source.panels:
        found[panel.start : panel.start + panel.size] = _panel(panel, weights).reshape(-1)
    return found


def _panel(panel: Panel, weights: Mapping[str, Floats]) -> Floats:
    blocks = -(-panel.rows // LANES)
    found = np.zeros((len(panel.products), sum(panel.lengths), blocks * LANES), np.float32)
    for number, terms in enumerate(panel.products):
        column = 0
        for matrix, length in zip(terms, panel.lengths, strict=True):
            rows, columns = slice(matrix.row, matrix.row + panel.rows), slice(matrix.column, matrix.column + length)
            found[number, column : column + length, : panel.rows] = weights[matrix.name][rows, columns].T
            column += length
    return found.reshape(len(panel.products), -1, blocks, LANES).transpose(2, 1, 0, 3)


def _tried(files: Mapping[str, str]) -> float | None:
    """How far the compiled source is from selfloop; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for file, text in files.items():
            (Path(folder) / file).write_text(text)
        sources = [file for file in files if file.endswith(".c")]
        made = subprocess.run(
            [compiler, *FLAGS, *sources, "-o", "check"], cwd=folder, capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise BackendError(
                f"The C compiler refuses the source of selfloop, which is a bug: {_first_error(made.stderr)}"
            )
        ran = subprocess.run([str(Path(folder) / "check")], cwd=folder, capture_output=True, text=True, check=False)
    (difference,) = re.findall(r"difference ([\d.e+-]+|nan|inf)", ran.stdout) or ["inf"]
    return float(difference)


def _first_error(said: str) -> str:
    """The first error of a C compiler, or the first line of what it said."""
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if "error:" in line), lines[0])


def _c_float(value: float) -> str:
    text = f"{float(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _rows(array: Floats) -> str:
    return ",\n".join("    {" + ", ".join(_c_float(v) for v in row) + "}" for row in array)


def _comment(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.splitlines())
