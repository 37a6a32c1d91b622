"""A model as a WebAssembly module, tried before it is handed over."""

import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from importlib import import_module
from importlib.resources import files as resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfloop.compiler import Target
from selfloop.compiler.native import HEAD, PAGE, wasm_module
from selfloop.errors import BackendError
from selfloop.exporting.exported import Tried
from selfloop.exporting.native.files import DTYPES, Case, Source, rounding
from selfloop.exporting.web.texts import tokenizer_facts, words_facts

MILLISECONDS = 50
"""For which a step is timed."""

LONG = 256
"""Steps of a call that is timed."""

_SET = "import v8 from 'v8'; v8.setFlagsFromString('--experimental-wasm-relaxed-simd')"
RELAXED = ("--import", f"data:text/javascript,{_SET}")
"""Options of Node before version 21, whose engine has relaxed SIMD behind a flag."""


@dataclass(frozen=True, eq=False)
class Web:
    """Files of a module.

    Attributes:
        source: the model.
        cases: sequences to try it on, of which the first is timed.
        target: what the engine must have.
    """

    source: Source
    cases: Sequence[Case]
    target: Target

    @cached_property
    def _code(self) -> tuple[bytes, bytes]:
        """The module, and its weights."""
        code, layout = wasm_module(self.source.model, self.target)
        return code, self.source.packed(layout, self.target.name).bytes

    def files(self) -> dict[str, bytes]:
        """By their names."""
        name = self.source.model.name
        code, weights = self._code
        texts = {file: self._filled(template) for file, template in TEMPLATES.items()}
        return {
            f"{name}.wasm": code,
            f"{name}.weights": weights,
            **{file.format(name=name): text.encode() for file, text in texts.items()},
        }

    @property
    def facts(self) -> dict[str, Any]:
        """What the module of JavaScript and the page are told."""
        model, meaning = self.source.model, self.source.meaning
        words = meaning.words
        return {
            "title": self.source.title,
            "reads": model.reads,
            "input": model.numbers,
            "output": model.output_size,
            "vocabulary": model.vocabulary,
            "state": 0 if model.is_two_way else sum(model.states.values()),
            "room": model.room,
            "isPooled": model.pooling is not None,
            "samples": model.samples,
            "hasReadout": bool(model.readouts),
            "labels": None if words is None or words.title != "labels" else [text.decode() for text in words.texts],
            "tokenizer": None if meaning.tokenizer is None else tokenizer_facts(meaning.tokenizer),
            "words": None
            if meaning.vocabulary is None
            else words_facts(meaning.vocabulary, splits_marks=meaning.splits_marks),
        }

    def _filled(self, template: str) -> str:
        name = self.source.model.name
        values = {
            "NAME": name,
            "TITLE": escape(self.source.title, quote=False) if template.endswith(".html") else self.source.title,
            "MODULE": f"{name}.mjs",
            "CODE": f"{name}.wasm",
            "WEIGHTS": f"{name}.weights",
            "FACTS": _lines(self.facts),
            "HEAD": str(HEAD),
            "EXAMPLE": json.dumps(
                _short(next((case.x for case in self.cases if case.is_real), self.cases[0].x)[:SHOWN])
            ),
            "SIZES": json.dumps({"code": len(self._code[0]), "weights": len(self._code[1])}),
            "CASES": ",\n".join(
                json.dumps({"x": case.x.reshape(-1).tolist(), "y": case.y.reshape(-1).tolist()}) for case in self.cases
            ),
            "MILLISECONDS": str(MILLISECONDS),
            "TOLERANCE": repr(rounding(self.cases)),
        }
        text = resources("selfloop.exporting.web").joinpath(template).read_text("utf-8")
        return re.sub(r"\{\{([A-Z]+)\}\}", lambda found: values[found[1]], text)

    def tried(self, files: Mapping[str, bytes]) -> tuple[tuple[Tried, ...], tuple[str, ...]]:
        """By wasmtime and by Node, where there are such."""
        node, tried, not_tried = shutil.which("node"), [], []
        if find_spec("wasmtime") is None:
            not_tried.append("wasmtime is not installed")
        else:
            tried.append(by_wasmtime(self))
        if node is None:
            not_tried.append("there is no Node here")
        else:
            tried.append(by_node(node, self, files))
        return tuple(tried), tuple(not_tried)

    def sizes(self, files: Mapping[str, bytes]) -> dict[str, int]:
        """In bytes."""
        name, state = self.source.model.name, 4 * self.facts["state"]
        texts = len(files[f"{name}.mjs"]) + len(files["index.html"])
        return {
            "code": len(files[f"{name}.wasm"]),
            "page": texts,
            "weights": len(files[f"{name}.weights"]),
            **({"state": state} if state else {}),
        }


TEMPLATES = {
    "{name}.mjs": "module.mjs",
    "{name}.d.mts": "module.d.mts",
    "index.html": "page.html",
    "check.mjs": "check.mjs",
}
"""Files, and what they are made of."""


SHOWN = 64
"""Steps of the input that a page begins with."""


def _lines(facts: Mapping[str, Any]) -> str:
    """As JavaScript, a fact a line."""
    rows = [
        f"  {name}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))},\n" for name, value in facts.items()
    ]
    return f"{{\n{''.join(rows)}}}"


def _short(x: NDArray[np.generic]) -> list[float]:
    """Numbers that can be read."""
    return [float(f"{value:.4g}") if isinstance(value, float) else value for value in x.reshape(-1).tolist()]


def by_wasmtime(web: Web) -> Tried:
    """The module, run by wasmtime in this process."""
    wasmtime: Any = import_module("wasmtime")
    model = web.source.model
    name, (code, weights) = model.name, web._code
    store = wasmtime.Store()
    exports: Any = wasmtime.Instance(store, wasmtime.Module(store.engine, code), []).exports(store)
    memory, run = exports["memory"], exports[f"{name}_run"]
    inputs = [np.ascontiguousarray(case.x, DTYPES[model.reads]) for case in web.cases]
    long = np.concatenate([inputs[0]] * -(-LONG // len(inputs[0])))
    most = max(len(long), *map(len, inputs))
    session = 4 * max(most * model.room, web.facts["state"])
    places = [exports["__heap_base"].value(store)]
    for size in (len(weights), session, most * long[0].nbytes, 4 * most * model.output_size):
        places.append(places[-1] + -(-size // 64) * 64)
    w, state, given, y, end = places
    memory.grow(store, -(-end // PAGE))
    memory.write(store, weights, w)
    if exports[f"{name}_check"](store, w, len(weights)) != 0:
        raise BackendError("The module refuses its own weights, which is a bug. Please report it.")
    worst = 0.0
    for case, x in zip(web.cases, inputs, strict=True):
        memory.write(store, x.tobytes(), given)
        if not model.is_two_way:
            exports[f"{name}_reset"](store, w, state)
        run(store, w, state, given, y, len(x))
        got = np.frombuffer(bytes(memory.read(store, y, y + case.y.nbytes)), np.float32).reshape(case.y.shape)
        difference = float(np.abs(got - case.y).max()) / case.scale
        worst = difference if np.isnan(difference) else max(worst, difference)
    memory.write(store, long.tobytes(), given)
    start, best = time.perf_counter(), float("inf")
    while (before := time.perf_counter()) - start < MILLISECONDS / 1000:
        run(store, w, state, given, y, len(long))
        best = min(best, time.perf_counter() - before)
    return Tried("wasmtime", worst, best * 1e6 / len(long))


def by_node(node: str, web: Web, files: Mapping[str, bytes]) -> Tried:
    """The module of JavaScript, run by Node."""
    flags = RELAXED if "relaxed-simd" in web.target.features else ()
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        ran = subprocess.run(
            [node, *flags, "check.mjs"], cwd=folder, capture_output=True, text=True, check=False, timeout=600
        )
    found = re.search(r"difference (\S+) of.*\nstep ([\d.]+) us", ran.stdout)
    if found is None:
        said = (ran.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BackendError(f"Node cannot run the module of selfloop, which is a bug: {said}")
    difference = float(found[1]) if found[1] not in ("Infinity", "NaN") else float("inf")
    return Tried("Node", difference, float(found[2]))
