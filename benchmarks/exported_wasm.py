"""A step of an LSTM as WebAssembly, in Node and in wasmtime, beside the machine code of this processor; and what a page
of a character model of 1.2 M parameters weighs.

python benchmarks/exported_wasm.py
"""

import ctypes
import gzip
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import selfloop as sl
from selfloop import cells, models
from selfloop.compiler import host_target
from selfloop.compiler.native import loaded
from selfloop.data import Tokenizer
from selfloop.exporting.native import export as native
from selfloop.exporting.native.texts import Meaning
from selfloop.exporting.web import export as web

SIZES, ROUNDS = (16, 64, 128), 7
TARGETS = ("simd", "relaxed-simd", "plain")


def machine_code(rnn: sl.Recurrent, seconds: float = 0.3) -> float:
    """Microseconds of a step of the object's code, called in this process for as many steps as the modules are."""
    own = native.described(rnn.eval(), "model", "f32")
    code, layout = loaded(own.model)
    weights = np.frombuffer(native.Source(own, "", "").packed(layout, host_target().name).bytes, np.uint8)
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_int32)(code.address("model_run"))
    x = np.random.default_rng(0).standard_normal((web.LONG, rnn.input_size), dtype=np.float32)
    arrays = weights, np.zeros(2 * rnn.hidden_size, np.float32), x, np.zeros((web.LONG, rnn.hidden_size), np.float32)
    addresses = [array.ctypes.data for array in arrays]
    start, best = time.perf_counter(), float("inf")
    while (before := time.perf_counter()) - start < seconds:
        run(*addresses, web.LONG)
        best = min(best, time.perf_counter() - before)
    return best * 1e6 / web.LONG


def times(rnn: sl.Recurrent) -> tuple[dict[str, float], dict[str, int]]:
    """Microseconds of a step, the best of some rounds in turns; and bytes of code."""
    best: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            made = {t: sl.export(rnn, Path(folder) / t, to="wasm", target=t) for t in TARGETS}
            made["object"] = sl.export(rnn, Path(folder) / "object", to="object")
        best["object"] = min(best.get("object", float("inf")), machine_code(rnn))
        for target, one in made.items():
            sizes[target] = one.sizes["object" if target == "object" else "code"]
            for tried in one.tried if target != "object" else ():
                key = f"{tried.by} {target}"
                best[key] = min(best.get(key, float("inf")), tried.microseconds or float("inf"))
    return best, sizes


def character_model(folder: Path) -> None:
    """What a visitor of the page loads."""
    alphabet = "".join(map(chr, range(32, 95)))
    tokenizer = Tokenizer.train("char", [alphabet])
    model = models.LanguageModel(tokenizer.vocab_size, cells.lstm, embedding_size=64, hidden_size=512).eval()
    parameters = sum(p.numel() for p in model.parameters())
    meaning, target = Meaning(tokenizer=tokenizer), native.target_of(None, "wasm")
    native.export_native(model, folder, to="wasm", name="model", form="int8", target=target, meaning=meaning)
    print(f"\ncharacter model, LSTM of 512 units, {tokenizer.vocab_size} characters: {parameters:,} parameters, int8")
    print("file               bytes   by gzip")
    total, packed = 0, 0
    for name in ("index.html", "model.mjs", "model.wasm", "model.weights"):
        content = (folder / name).read_bytes()
        small = len(gzip.compress(content))
        total, packed = total + len(content), packed + small
        print(f"{name:13} {len(content):10,} {small:9,}")
    print(f"{'all':13} {total:10,} {packed:9,}")


def main() -> None:
    web.MILLISECONDS = 300
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(
        f"Node {node}, wasmtime; a step of an LSTM, inputs = units, in µs; in brackets the share of the object's speed"
    )
    head = [f"{by} {t}" for by in ("Node", "wasmtime") for t in TARGETS]
    print("units  object " + " ".join(f"{name:>21}" for name in head))
    rows = {size: times(sl.LSTM(size, size)) for size in SIZES}
    for size, (best, _) in rows.items():
        own = best["object"]
        cells_ = [f"{best[name]:.3f} ({own / best[name]:.2f})" for name in head]
        print(f"{size:5} {own:7.3f} " + " ".join(f"{text:>21}" for text in cells_))
    print("\nbytes of code (of the object, with its tables)")
    print("units  object " + " ".join(f"{t:>13}" for t in TARGETS))
    for size, (_, sizes) in rows.items():
        print(f"{size:5} {sizes['object']:7,} " + " ".join(f"{sizes[t]:13,}" for t in TARGETS))
    with tempfile.TemporaryDirectory() as folder:
        character_model(Path(folder) / "page")


if __name__ == "__main__":
    main()
