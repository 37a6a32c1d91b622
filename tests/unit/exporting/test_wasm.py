"""Models as WebAssembly: in wasmtime and in Node they give selfloop's numbers."""

import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from catalogue import CELLS
from exported_models import EVERY, varied
from small_runs import make

import selfloop as sl
from selfloop import SelfloopError, cells, models
from selfloop.compiler import named_target
from selfloop.compiler.native import WASM_TARGETS, linked, native_object, wasm_module
from selfloop.data import Tokenizer
from selfloop.data.text.vocabulary import Vocabulary
from selfloop.data.text.words import split_words
from selfloop.errors import BackendError
from selfloop.exporting import Tried
from selfloop.exporting.native.characters import SURROGATES, kinds
from selfloop.exporting.native.describe import described
from selfloop.exporting.native.export import export_native, target_of
from selfloop.exporting.native.texts import Meaning, Words
from selfloop.exporting.web import export as web
from selfloop.tasks.inputs import Inputs

NODE = shutil.which("node")
in_node = pytest.mark.skipif(NODE is None, reason="there is no Node here")
RUNNER = Path(__file__).with_name("run_modules.mjs")
SOME = {"all": "int8", "lm": "int8", "tied lm": "bf16", "numbers, both ways": "bf16", "attention, forward": "int8"}
TEXT = "To be, or not to be:\nthat is the question – né à 😀\n"


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Nothing is timed for long, and Node is started by those tests that ask it."""
    monkeypatch.setattr(web, "MILLISECONDS", 1)
    monkeypatch.setattr(shutil, "which", lambda name: None)


def stack_of(entry):
    torch.manual_seed(0)
    return entry.layer(5, 20, dtype=torch.float32, num_layers=2 if entry.can_stack else 1)


MODELS = {
    **{str(entry): (lambda entry=entry: stack_of(entry), "f32", "simd") for entry in CELLS},
    **{f"model: {name}": (lambda make=make: varied(make()), "f32", "simd") for name, make in EVERY.items()},
    **{f"{form}: {name}": (lambda name=name: varied(EVERY[name]()), form, "simd") for name, form in SOME.items()},
    **{f"{t}: lm": (lambda: varied(EVERY["lm"]()), "f32", t) for t in ("relaxed-simd", "plain")},
}


@pytest.fixture(scope="session")
def modules(tmp_path_factory):
    """Folders of modules, made when they are asked for."""
    made = {}

    def find(name):
        if name not in made:
            make, form, target = MODELS[name]
            folder = tmp_path_factory.mktemp("module") / "made"
            made[name] = sl.export(make(), folder, to="wasm", weights=form, target=target), folder
        return made[name]

    return find


@pytest.mark.parametrize("name", MODELS)
def test_wasmtime_gives_selfloops_numbers(name, modules):
    made, folder = modules(name)
    assert [one.by for one in made.tried] == ["wasmtime"]
    assert made.not_tried == ("there is no Node here",)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in made.files)


@pytest.fixture(scope="session")
def found_by_node(modules):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "MILLISECONDS", 1)
        patch.setattr(shutil, "which", lambda name: None)
        folders = {name: str(modules(name)[1]) for name in MODELS}
    ran = subprocess.run(
        [NODE, *web.RELAXED, RUNNER], input=json.dumps(folders), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@in_node
@pytest.mark.parametrize("name", MODELS)
def test_node_gives_selfloops_numbers(name, found_by_node, modules):
    (wasmtime,) = modules(name)[0].tried
    assert found_by_node[name]["difference"] <= max(1e-5, 2 * wasmtime.difference)


def test_a_module_needs_nothing_and_exports_the_interface():
    import wasmtime

    own = described(EVERY["lm"]().eval(), "mine", "f32")
    code, _ = wasm_module(own.model, WASM_TARGETS["simd"])
    module = wasmtime.Module(wasmtime.Engine(), code)
    assert module.imports == []
    functions = ["check", "load", "reset", "run", "sample", "save", "step"]
    assert sorted(e.name for e in module.exports) == ["__heap_base", "memory", *(f"mine_{f}" for f in functions)]


def test_code_is_small():
    for size in (16, 64, 128):
        own = described(sl.LSTM(size, size).eval(), "model", "f32")
        assert len(wasm_module(own.model, WASM_TARGETS["simd"])[0]) < 5_000


def test_a_call_may_need_more_than_a_page(tmp_path):
    """New states of 80 kB lie on the stack."""

    @sl.cell
    def wide(x, h, *, W=sl.param("h x"), u=sl.param("h")):
        return sl.tanh(W @ x + u * h)

    made = sl.export(sl.Recurrent(wide, 2, 20_000), tmp_path / "made", to="wasm")
    assert made.tried


def object_of(module):
    return native_object(described(module.eval(), "model", "f32").model, named_target("wasm32"))[0]


def test_what_a_linker_does_not_know_is_refused():
    code = object_of(sl.LSTM(3, 4))
    with pytest.raises(BackendError, match="no object file of WebAssembly"):
        linked(b"\x7fELF" + code, 64)
    with pytest.raises(BackendError, match="ends in the middle"):
        linked(code[:-5], 64)
    with pytest.raises(BackendError, match="needs '__stack_painter' of 'env', which a module on its own does not have"):
        linked(code.replace(b"__stack_pointer", b"__stack_painter"), 64)
    with pytest.raises(BackendError, match="with data cannot be made a module"):
        linked(code + b"\x0b\x01\x00", 64)
    with pytest.raises(BackendError, match=r"in version 2\. This one has version 7"):
        linked(code.replace(b"linking\x02", b"linking\x07"), 64)
    at = code.index(b"reloc.CODE") + len("reloc.CODE") + 2
    with pytest.raises(BackendError, match="A relocation of kind 3 cannot be applied"):
        linked(code[:at] + b"\x03" + code[at + 1 :], 64)


def test_what_is_wrong_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "by_wasmtime", lambda *given: Tried("wasmtime", 0.5))
    with pytest.raises(SelfloopError, match="differs from selfloop by 5"):
        sl.export(sl.LSTM(3, 4), tmp_path / "made", to="wasm")
    assert not (tmp_path / "made").exists()


def test_without_an_engine_the_module_is_written_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "find_spec", lambda name: None)
    made = sl.export(sl.LSTM(3, 4), tmp_path / "made", to="wasm")
    assert made.difference is None
    assert made.not_tried == ("wasmtime is not installed", "there is no Node here")


def test_a_target_that_there_is_not_is_said(tmp_path):
    with pytest.raises(
        SelfloopError, match=r"one of simd, relaxed-simd, plain. Got 'simt' instead; did you mean 'simd'"
    ):
        sl.export(sl.LSTM(3, 4), tmp_path / "made", to="wasm", target="simt")


def run_node(folder, script):
    """What a script prints that has the module of a folder as `m`."""
    (folder / "test.mjs").write_text(
        f'import * as m from "./model.mjs";\nconst say = (v) => console.log(JSON.stringify(v));\n{script}'
    )
    ran = subprocess.run([NODE, folder / "test.mjs"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@in_node
def test_sessions_save_load_and_go_on(tmp_path):
    sl.export(varied(sl.GRU(3, 7, 2)), tmp_path / "made", to="wasm")
    sl.export(sl.GRU(3, 7, 2), tmp_path / "other", to="wasm")
    got = run_node(
        tmp_path / "made",
        """
        const model = await m.Model.load();
        const [a, b] = [model.session(), model.session()];
        const x = [1, -0.5, 2];
        a.step(x);
        const saved = a.save();
        const expected = a.step(x);
        b.load(saved);
        say([Array.from(b.step(x)), Array.from(expected)]);
        a.reset();
        const steps = [...x, ...x];
        say([Array.from(a.run(steps)), Array.from(model.run(steps))]);
        say([Array.from(a.step(x)), Array.from(model.run([...steps, ...x]).slice(-7))]);
        const other = await m.Model.load({
          code: new URL("../other/model.wasm", import.meta.url),
          weights: new URL("../other/model.weights", import.meta.url),
        });
        for (const wrong of [
          () => other.session().load(saved), () => b.load(saved.slice(1)), () => a.step([1]), () => model.run([1, 2]),
          () => a.sample(), () => [...model.write()],
        ])
          try { wrong(); say("nothing"); } catch (error) { say(error.message); }
        """,
    )
    for one, two in got[:3]:
        assert one == two
    assert len(got[0][0]) == 7
    assert got[3:] == [
        "The state was saved with other weights or by another model.",
        "The state was saved with other weights or by another model.",
        "A step reads 3 numbers. It was given 1.",
        "A step reads 3 numbers, and 2 are no whole number of steps.",
        "This model does not answer with tokens.",
        "This model writes no text.",
    ]


@in_node
def test_weights_of_another_model_are_refused(tmp_path):
    sl.export(sl.LSTM(3, 7), tmp_path / "made", to="wasm")
    sl.export(sl.LSTM(3, 8), tmp_path / "other", to="wasm")
    got = run_node(
        tmp_path / "made",
        """
        import { readFileSync } from "node:fs";
        const own = readFileSync(new URL("./model.weights", import.meta.url));
        const other = new URL("../other/model.weights", import.meta.url);
        const changed = Uint8Array.from(own, (byte, place) => (place === 100 ? byte ^ 1 : byte));
        for (const weights of [other, own.subarray(0, 80), new Uint8Array(9), changed, own])
          await m.Model.load({ weights }).then(() => say("loaded"), (error) => say(error.message));
        """,
    )
    assert got == [
        "The weights are of another model than the code: take model.weights of one export.",
        "The weights are cut short: there are 80 bytes. Load model.weights again.",
        "The weights are cut short: there are 9 bytes. Load model.weights again.",
        "The weights have changed since they were written: load model.weights again.",
        "loaded",
    ]


@in_node
def test_memory_grows_for_many_sessions_and_long_runs(tmp_path):
    sl.export(varied(EVERY["both directions"]()), tmp_path / "both", to="wasm")
    sl.export(varied(sl.GRU(3, 70)), tmp_path / "made", to="wasm")
    (sizes,) = run_node(
        tmp_path / "both",
        """
        const model = await m.Model.load();
        const long = new Float32Array(12 * 20000).map((_, k) => Math.sin(k));
        const short = model.run(long.subarray(0, 24));
        const y = model.run(long);
        const again = model.run(long.subarray(0, 24));
        say([y.length, y.every(Number.isFinite), short.length, again.every((v, k) => v === short[k])]);
        """,
    )
    assert sizes == [12 * 20000, True, 24, True]
    (same,) = run_node(
        tmp_path / "made",
        """
        const model = await m.Model.load();
        const all = Array.from({ length: 500 }, () => model.session());
        const first = all.map((session) => session.step([1, 2, 3]));
        const second = all.map((session) => session.step([1, 2, 3], new Float32Array(70)));
        all.forEach((session) => session.close());
        const again = [first[0], model.session().step([1, 2, 3])];
        say([first, second, again].map((ys) => ys.every((y) => y.every((v, k) => v === ys[0][k]))));
        """,
    )
    assert same == [True, True, True]


def to_wasm(model, folder, meaning):
    target = target_of(None, "wasm")
    export_native(model, folder, to="wasm", name="model", form="f32", target=target, meaning=meaning)


def language_model(kind, folder, **options):
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(kind, [TEXT * 3, "a word, two words"], **options)
    model = varied(models.LanguageModel(tokenizer.vocab_size, cells.gru, embedding_size=4, hidden_size=8)).eval()
    to_wasm(model, folder, Meaning(tokenizer=tokenizer))
    return tokenizer, model


@in_node
@pytest.mark.parametrize("kind", ["char", "byte", "word", "bpe"])
def test_text_is_cut_into_tokens_as_the_tokenizer_does(kind, tmp_path):
    tokenizer, _ = language_model(kind, tmp_path / "made", **({"vocab_size": 280} if kind == "bpe" else {}))
    texts = [TEXT, "", "word", "  two  words\n\n", "it's 12 o'clock, isn't it?", "né 😀 ÿ", "\tto\u00a0be \u2003 or"]
    script = """
        const { text } = await m.Model.load();
        for (const one of TEXTS) say([text.encode(one), text.decode(text.encode(one))]);
        """.replace("TEXTS", json.dumps(texts))
    for text, (tokens, back) in zip(texts, run_node(tmp_path / "made", script), strict=True):
        assert tokens == tokenizer.encode(text)
        assert back == tokenizer.decode(tokens)


ODD = "the can't'S'LLn'tN'T .,:-_·@2²İΣσςΟΔΑǅſẞŉ\u0345\u00ad\u1680\x1c\x85\u3000𝐀😀你\0"
KNOWN = Vocabulary.of([["the", "cat", "n't", "can", "οδος", "οδοσ", "né", "i̇x", "@cat"] * 2])


@in_node
@pytest.mark.parametrize("split", [str.split, split_words], ids=["at white space", "with marks split off"])
def test_words_are_read_as_the_vocabulary_does(split, tmp_path):
    """Lower case, shapes and marks of all of Unicode, as Python has them."""
    meaning = Meaning(vocabulary=KNOWN, splits_marks=split is split_words)
    to_wasm(EVERY["words, a label each"](), tmp_path / "made", meaning)
    draw = random.Random(0)
    texts = ["", " ", "The οδοσ ΟΔΟΣ.", "né" * 11, "a" * 21, "don't isn't, it's 'twas 'S"]
    texts += ["".join(draw.choices(ODD, k=draw.randrange(1, 40))) for _ in range(400)]
    texts += ["".join(chr(draw.randrange(1, 0xD800)) for _ in range(30)) for _ in range(100)]
    points = sorted({p for first, _ in kinds() for p in (first - 1, first)} - {-1, *SURROGATES})
    texts += ["".join(f"aΣ{chr(p)}Σ " for p in points[k : k + 500]) for k in range(0, len(points), 500)]
    (tmp_path / "made" / "texts.json").write_text(json.dumps(texts))
    script = """
        import { readFileSync } from "node:fs";
        const model = await m.Model.load();
        for (const text of JSON.parse(readFileSync(new URL("./texts.json", import.meta.url))))
          say([model.words.split(text), model.read(text)]);
        """
    for text, (words, rows) in zip(texts, run_node(tmp_path / "made", script), strict=True):
        assert words == split(text)
        assert rows == KNOWN.encode(split(text) or [""]).reshape(-1).tolist(), text


@in_node
def test_a_labeller_labels_words(tmp_path):
    inputs = Inputs("words", (), ("a", "b", "c"), vocabulary=KNOWN)
    (tmp_path / "tags.tsv").write_text("The\ta\ncan't\tb\nné\tc\n\n" * 30, encoding="utf-8")
    make("label", tmp_path / "run", inputs=inputs, data={"source": str(tmp_path / "tags.tsv")}, scale=5)
    sl.export(tmp_path / "run", tmp_path / "made", to="wasm")
    lines = ["The cat can't sit", "ΟΔΟΣ οδος né", "x"]
    script = """
        const model = await m.Model.load();
        for (const line of LINES) {
          const y = model.run(model.read(line));
          const rows = Array.from({ length: y.length / 3 }, (_, k) => Array.from(y.slice(3 * k, 3 * k + 3)));
          say(rows.map((row) => m.facts.labels[row.indexOf(Math.max(...row))]));
        }
        """.replace("LINES", json.dumps(lines))
    assert run_node(tmp_path / "made", script) == [list(one.labels) for one in sl.load(tmp_path / "run").predict(lines)]


@in_node
def test_text_is_written_as_the_model_says(tmp_path):
    """Greedily, against selfloop's own step; and drawn, the same with the same seed."""
    tokenizer, model = language_model("char", tmp_path / "made")
    script = """
        const model = await m.Model.load();
        const write = (options) => [...model.write({ prompt: "to be", tokens: 40, ...options })].join("");
        const options = [{ temperature: 0 }, { seed: 3 }, { seed: 3 }, { seed: 4 }, { topK: 1 }];
        say(options.map(write));
        """
    ((greedy, drawn, again, other, likeliest),) = run_node(tmp_path / "made", script)
    tokens = [tokenizer.start_id, *tokenizer.encode("to be")]
    with torch.no_grad():
        for _ in range(40):
            tokens.append(int(model(torch.tensor(tokens)[:, None])[0][-1, 0].argmax()))
    assert greedy == likeliest == tokenizer.decode(tokens[6:])
    assert drawn == again != other
    assert len(drawn) >= 40


@in_node
def test_typescript_is_told_what_there_is(tmp_path):
    """Every name of the module stands in its declarations, and the reverse."""
    language_model("char", tmp_path / "made")
    script = """
        const model = await m.Model.load();
        const words = new m.Words({ known: [], kinds: [], longer: [] });
        const objects = { Model: model, Session: model.session(), Text: model.text, Words: words };
        const always = ["constructor", "prototype", "length", "name"];
        const names = (one) => Object.getOwnPropertyNames(one).filter((name) => !always.includes(name));
        const members = ([kind, one]) => [kind, [...names(m[kind]), ...names(m[kind].prototype), ...names(one)].sort()];
        const found = Object.fromEntries(Object.entries(objects).map(members));
        say([Object.keys(m).sort(), found, Object.keys(m.facts).sort()]);
        """
    ((exported, members, facts),) = run_node(tmp_path / "made", script)
    declared = (tmp_path / "made" / "model.d.mts").read_text()
    assert sorted(re.findall(r"^export declare (?:class|const) (\w+)", declared, re.M)) == exported
    bodies = dict(re.findall(r"^export (?:declare class|interface) (\w+) \{\n(.*?)^\}", declared, re.M | re.S))
    name = re.compile(r"^  (?:static |readonly |get |set )*(\w+)[:(?]", re.M)
    found = {kind: sorted({*name.findall(body)} - {"constructor"}) for kind, body in bodies.items()}
    assert found.pop("Facts") == facts
    assert found == members


def test_a_page_needs_nothing_from_elsewhere(tmp_path):
    numbers = models.NumberEncoder(3)
    numbers.fit([1.0, 2.0, 3.0], [0.5, 1.0, 2.0])
    model = models.ManyToOne(numbers, cells.lstm, 2, hidden_size=4, pooling="mean")
    words = Words("labels", [b"</script>", "é".encode()])
    to_wasm(model, tmp_path / "made", Meaning(words=words))
    for file in ("index.html", "model.mjs"):
        text = (tmp_path / "made" / file).read_text()
        assert not re.search(r"\{\{[A-Z]+\}\}", text)
        assert set(re.findall(r"(?:src|href|from|import)\s*\(?=?\s*[\"']([^\"']+)", text)) <= {"data:,", "./model.mjs"}
        assert not re.search(r"https?://(?!localhost)", text)
    assert "</script>" in (tmp_path / "made" / "model.mjs").read_text()
    assert (tmp_path / "made" / "index.html").read_text().count("</script>") == 1
