"""Trained runs as native code: what C programs write, read and print is what selfloop says."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import make

import selfloop as sl
from selfloop import cells, models
from selfloop.data import Tokenizer
from selfloop.data.text.vocabulary import Vocabulary
from selfloop.data.text.words import split_words
from selfloop.errors import ArgumentError, BackendError
from selfloop.exporting.native import export as native
from selfloop.exporting.native import tasks
from selfloop.exporting.native.characters import SURROGATES, kinds
from selfloop.exporting.native.texts import c_string
from selfloop.tasks import load
from selfloop.tasks.inputs import Inputs

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
compiled = pytest.mark.skipif(COMPILER is None or shutil.which("make") is None, reason="there is no C compiler here")

STRICT = "-Wall -Wextra -Werror -pedantic -Wconversion -Wshadow -Wdouble-promotion -Wstrict-prototypes -Wundef"
"""What careful programs are compiled with."""

TEXT = ["the cat sat on the mat, né 你好\ncan't the cat?\n"] * 40
WORDS = Vocabulary.of([["the", "cat", "n't", "can", "οδος", "οδοσ", "né", "i̇x", "@cat"] * 2])


@pytest.fixture(scope="session", autouse=True)
def _quickly():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "FLAGS", "-std=c99 -O1")
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of each kind, with the files that they were trained on."""
    torch.manual_seed(1)  # weights that give both labels
    folder = tmp_path_factory.mktemp("runs")
    (folder / "play.txt").write_text("".join(TEXT), encoding="utf-8")
    for kind in ("char", "byte", "word", "bpe"):
        tokenizer = Tokenizer.train(kind, TEXT, 300 if kind == "bpe" else None)
        make("lm", folder / kind, inputs=tokenizer, data={"source": str(folder / "play.txt")}, scale=5)
    sentence = "The\ta\ncan't\tb\nné\tc\n\n"
    (folder / "tags.tsv").write_text(sentence * 30, encoding="utf-8")
    tags = Inputs("words", (), ("a", "b", "c"), vocabulary=WORDS)
    make("label", folder / "tags", inputs=tags, data={"source": str(folder / "tags.tsv")}, scale=5)
    rows = [f"the cat {number} can't sit,{'abc'[number % 3]}" for number in range(60)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    texts = Inputs("text", (), ("a", "b", "c"), vocabulary=WORDS)
    make("classify", folder / "reviews", inputs=texts, data={"source": str(folder / "reviews.csv")}, scale=5)
    names = Inputs("text", (), ("a", "b", "c"), tokenizer=Tokenizer.train("char", TEXT))
    make("classify", folder / "names", inputs=names, data={"source": str(folder / "reviews.csv")}, scale=5)
    pieces = Inputs("text", (), ("a", "b", "c"), tokenizer=Tokenizer.train("bpe", TEXT, 300))
    make("classify", folder / "pieces", inputs=pieces, data={"source": str(folder / "reviews.csv")}, scale=5)
    draw = np.random.default_rng(0)
    np.savez(
        folder / "series.npz",
        x=draw.normal(size=(40, 9, 3)).astype(np.float32),
        y=np.array(["a b", "c"])[np.arange(40) % 2],
    )
    series = Inputs("series", (3,), ("a b", "c"))
    make("classify", folder / "series", inputs=series, data={"source": str(folder / "series.npz")}, scale=5)
    return folder


def built(folder):
    """The example is compiled, and has no warnings."""
    subprocess.run(["make", "-s", "example", f"CFLAGS=-std=c99 -O1 {STRICT}"], cwd=folder, check=True)


def said(folder, *arguments, given=None, is_text=True):
    """What the example prints."""
    built(folder)
    done = subprocess.run(
        [folder / "example", *map(str, arguments)], input=given, capture_output=True, text=is_text, check=True
    )
    return done.stdout


def failed(folder, given, status=1):
    """What the example says on stderr."""
    built(folder)
    done = subprocess.run([folder / "example"], input=given.encode(), capture_output=True, check=False)
    assert done.returncode == status
    return done.stderr.decode()


def pcg(seed):
    """PCG RXS M XS 32 (O'Neill 2014), as numbers in [0, 1) of 24 bits."""
    while True:
        seed = (seed * 747796405 + 2891336453) % 2**32
        word = ((seed >> ((seed >> 28) + 4)) ^ seed) * 277803737 % 2**32
        yield (((word >> 22) ^ word) >> 8) * 2.0**-24


@torch.no_grad()
def drawn(model, tokens, count, temperature, seed):
    """Tokens after others, drawn with these random numbers by torch."""
    logits, state = model(torch.tensor(tokens)[:, None])
    logits, numbers, found = logits[-1], pcg(seed), []
    for _ in range(count):
        weights = ((logits[0] - logits.max()) / temperature).exp().double()
        token = int((weights.cumsum(0) <= next(numbers) * weights.sum()).sum())
        found.append(token)
        logits, state = model.step(torch.tensor([token]), state)
    return found


@compiled
@pytest.mark.parametrize(("kind", "to"), [("char", "c"), ("byte", "object"), ("word", "c"), ("bpe", "object")])
def test_a_program_writes_what_torch_writes_with_the_same_random_numbers(kind, to, runs, tmp_path):
    sl.export(runs / kind, tmp_path / "made", to=to, name="play")
    model = load(runs / kind)
    tokenizer, prompt = model.tokenizer, "the cat né"
    begun = tokenizer.encode(prompt)
    tokens = drawn(model.model, [tokenizer.start_id, *begun], 60, 0.8, seed=7)
    given = begun if kind == "bpe" else [prompt]
    written = subprocess.run(["make", "-s", "example"], cwd=tmp_path / "made", check=True) and subprocess.run(
        [tmp_path / "made" / "example", "0.8", "7", "60", *map(str, given)], capture_output=True, check=True
    )
    assert written.stdout.decode(errors="replace") == tokenizer.decode([*begun, *tokens]) + "\n"
    assert (tmp_path / "made" / "tokenizer.json").exists() == (kind == "bpe")


@compiled
@pytest.mark.parametrize("kind", ["char", "byte", "word"])
def test_tokens_that_hold_a_byte_0_are_written_whole(kind, called, tmp_path):
    """Which ends a string of C."""
    text = "a\0b b\n"
    tokenizer = Tokenizer.train(kind, [text] * 9)
    make("lm", tmp_path / "run", inputs=tokenizer, scale=5)
    sl.export(tmp_path / "run", tmp_path / "made")
    model = load(tmp_path / "run").model
    tokens = drawn(model, [tokenizer.start_id], 300, 1.5, seed=3)
    written = said(tmp_path / "made", 1.5, 3, 300, is_text=False)
    assert written.count(b"\0") == tokenizer.decode(tokens).count("\0") > 0
    assert written.decode(errors="replace") == tokenizer.decode(tokens) + "\n"
    words = called(tmp_path / "made").Model().words
    spaces = " " if kind == "word" else ""
    assert b"".join(words[token] for token in tokenizer.encode(text)) == text.replace(spaces, "").encode()


def test_a_label_that_c_would_cut_short_is_refused(tmp_path):
    make("classify", tmp_path / "run", inputs=Inputs("series", (3,), ("a", "a\0b")))
    with pytest.raises(ArgumentError, match=r"The label 'a\\x00b' holds the character 0, where a text ends in C"):
        sl.export(tmp_path / "run", tmp_path / "made")
    assert not (tmp_path / "made").exists()


@compiled
@pytest.mark.parametrize("kind", ["char", "byte", "word"])
def test_c_cuts_a_text_into_the_tokens_of_the_run(kind, runs, called, tmp_path):
    sl.export(runs / kind, tmp_path / "made", to="c")
    library = called(tmp_path / "made").Model()
    tokenizer = load(runs / kind).tokenizer

    @given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
    def are_equal(text):
        for one in (text, f"the {text} mat\n\n {text}\u2003né"):
            assert library.read(one).tolist() == tokenizer.encode(one)

    are_equal()


LETTERS = "the can't'S'LLn'tN'T .,:-_·@2²İΣσςΟΔΑǅſẞŉ\u0345\u00ad\u1680\x1c\x85\u3000𝐀😀你"


@compiled
@pytest.mark.parametrize(
    ("run", "split"), [("tags", str.split), ("reviews", split_words)], ids=["at white space", "with marks split off"]
)
def test_c_reads_words_as_the_vocabulary_does(run, split, runs, called, tmp_path):
    """Lower case, shapes and marks of all of Unicode, as Python has them."""
    sl.export(runs / run, tmp_path / "made", to="c")
    library = called(tmp_path / "made").Model()

    @given(st.text(st.sampled_from(LETTERS) | st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
    def are_equal(text):
        for one in (text, f"The οδοσ {text} ΟΔΟΣ", text * 9):
            assert (library.read(one) == WORDS.encode(split(one) or [""])).all(), one

    are_equal()
    changes = {point for first, _ in kinds() for point in (first - 1, first)}
    points = sorted((changes | {*range(1, 0x110000, 997)}) - {-1, 0, *SURROGATES})
    for start in range(0, len(points), 1000):  # at a place in a word where it matters
        text = "".join(f"aΣ{chr(point)}Σ " for point in points[start : start + 1000])
        assert (library.read(text) == WORDS.encode(split(text))).all(), hex(points[start])


@compiled
def test_bytes_that_are_not_utf_8_are_read_as_unknown_characters(runs, called, tmp_path):
    sl.export(runs / "char", tmp_path / "made", to="c")
    model = called(tmp_path / "made").Model()
    tokenizer = load(runs / "char").tokenizer
    for given_bytes in (b"t\xff", b"t\xc3", b"t\xe4\xbd", b"t\xf0\x9f\x98", b"t\xc0\x80", b"t\xed\xa0\x80", b"t\x80"):
        tokens = np.full(9, -1, np.int32)
        count = model._call("read", ctypes.c_char_p(given_bytes), tokens, ctypes.c_int32(9))
        unknown = [tokenizer.unknown_id] * (count - 1)
        assert tokens[:count].tolist() == [*tokenizer.encode("t"), *unknown]
        assert count == 1 + len(given_bytes[1:].decode(errors="replace")) or given_bytes[1] in (0xE4, 0xF0)


@sl.cell
def echo(x=sl.given("7"), h=sl.state("7")):
    h = x
    return h


@pytest.mark.parametrize("buckets", [1, 7, 20_000, 65_536])
def test_machine_code_hashes_words_as_torch_does(buckets):
    """Of code points up to the largest: sums of 64 bits wrap, and are below zero."""
    encoder = models.WordEncoder(5, 7, buckets)
    model = models.ManyToMany(encoder, echo, 7, hidden_size=1, backend="interpret").eval()
    words = torch.randint(0, 0x110000, (400, 41))
    words[torch.rand(400, 41) < 0.05] = 0
    words[:, 0] = torch.arange(400) % 6 % 5
    for row in words[:300]:  # most are words, with zeros after the last letter alone
        row[1 + int(row[1]) % 21 : 21] = 0
        row[21 + int(row[2]) % 21 :] = 0
    source = native.Source(native.described(model, "model", "f32"), "words", "")
    cases = native.cases_of(model, source, [words])
    assert native.in_process(source, cases).difference < 1e-5


@compiled
@pytest.mark.parametrize(("run", "to"), [("tags", "c"), ("reviews", "object"), ("names", "object")])
def test_a_program_prints_the_labels_of_texts(run, to, runs, tmp_path):
    sl.export(runs / run, tmp_path / "made", to=to)
    lines = ["the cat can't sit", "ΟΔΟΣ οδος né", "x"]
    found = load(runs / run).predict(lines)
    labels = [label for one in found for label in (one.labels if run == "tags" else [one.label])]
    assert said(tmp_path / "made", given="\n".join(lines) + "\n").split("\n") == [*labels, ""]


@compiled
def test_a_program_labels_texts_that_python_has_cut_into_tokens(runs, tmp_path):
    """Byte-pair encoding has no code in C."""
    sl.export(runs / "pieces", tmp_path / "made", to="object")
    opened = load(runs / "pieces")
    texts = ["the cat sat", "né 你好", "can't the mat?", "sat sat"]
    rows = [" ".join(map(str, opened.inputs.tokenizer.encode(text))) for text in texts]
    labels = [one.label for one in opened.predict(texts)]
    assert said(tmp_path / "made", given="\n".join(rows)).splitlines() == labels
    last = len(opened.inputs.tokenizer.vocabulary) - 1
    for wrong in ("1 2 x", str(last + 1), "-1"):
        assert failed(tmp_path / "made", f"1 2\n{wrong}\n") == f"Line 2 must hold tokens, numbers from 0 to {last}.\n"


@compiled
def test_a_program_reads_lines_of_any_system_and_says_what_it_leaves_out(runs, tmp_path):
    sl.export(runs / "names", tmp_path / "made", to="object")
    lines = ["the cat can't sit", "x", "né"]
    labels = [one.label for one in load(runs / "names").predict(lines)]
    assert said(tmp_path / "made", given="\r\n".join(["", *lines, " "])).splitlines() == labels
    long = "the cat sat " * 100
    assert failed(tmp_path / "made", f"x\n{long}\n", 0) == "Of line 2, 1024 of 1200 tokens are read.\n"
    assert failed(tmp_path / "made", f"x\n{long * 20}\n") == "Line 2 is longer than 16383 bytes.\n"


@compiled
@pytest.mark.parametrize("two_way", [False, True])
def test_a_line_that_is_no_step_is_named(two_way, tmp_path):
    """A number that is missing must not move the others."""
    sl.export(sl.GRU(3, 2, bidirectional=two_way), tmp_path / "made", to="object")
    assert len(said(tmp_path / "made", given="1,2,3\n\n4; 5;6\r\n7 8 9\n1e3,-0x1p-2,.5,\n").splitlines()) == 4
    for wrong in ("1,,3", "1,2", "1,2,3,4", "1,nan,3", "1,inf,3", "a,b,c", "1,2,3 m"):
        said_ = failed(tmp_path / "made", f"1,2,3\n{wrong}\n4,5,6\n")
        assert said_ == "Line 2 must hold 3 numbers, with commas between them.\n"
    assert failed(tmp_path / "made", "\n") == "There is not one step of 3 numbers.\n"


@compiled
def test_a_program_prints_the_label_of_numbers(runs, tmp_path):
    made = sl.export(runs / "series", tmp_path / "made", to="object", weights="bf16")
    opened = load(runs / "series")
    x = np.random.default_rng(1).normal(size=(20, 7, 3)).astype(np.float32)
    labels = [one.label for one in opened.predict(list(x))]
    assert {*labels} == {"a b", "c"}
    tables = ["\n".join(", ".join(f"{number:.9g}" for number in row) for row in one) for one in x]
    assert [said(tmp_path / "made", given=table) for table in tables] == [f"{label}\n" for label in labels]
    header = (tmp_path / "made" / "model.h").read_text()
    assert "A step is 3 numbers, in the order and the units of the training data, series.npz." in header
    assert made.cost.form == "bf16" and set(made.cost.exact) == {"loss", "accuracy", "macro_f1"}
    assert [one.real for one in made.tried] == [tasks.REAL]


def test_a_page_is_tried_on_the_data_of_the_run_and_begins_with_them(runs, tmp_path):
    made = sl.export(runs / "series", tmp_path / "made", to="wasm")
    assert made.tried and {one.real for one in made.tried} == {tasks.REAL} and made.difference < 1e-5
    check, page = ((tmp_path / "made" / name).read_text() for name in ("check.mjs", "index.html"))
    opened = load(runs / "series")
    x = opened.inputs.arrays(opened.parts()["valid"])[0]
    assert check.count('"y"') == 1 + tasks.REAL  # random numbers, too
    assert f"const example = [{', '.join(str(float(f'{value:.4g}')) for value in x.reshape(-1))}];" in page


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_an_answer_that_is_no_number_fails_the_check_of_a_page(tmp_path):
    sl.export(sl.LSTM(3, 4), tmp_path / "made", to="wasm")
    check = tmp_path / "made" / "check.mjs"
    check.write_text(re.sub(r'"y": \[[^,]+', '"y": [NaN', check.read_text()))
    done = subprocess.run(["node", check], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout.startswith("difference Infinity of the largest output")


def test_shorter_weights_are_judged_by_the_validation_data(runs, tmp_path):
    opened = load(runs / "char")
    made = sl.export(opened, tmp_path / "made", to="object", weights="int8")
    part = opened.parts()["valid"]
    assert made.cost.exact == opened.score(part, sample=tasks.SCORED).metrics()
    rounded = made.cost.rounded["loss"] - made.cost.exact["loss"]
    assert made.cost.loss == rounded and 0 < abs(rounded) < 0.1
    assert "int8 in the place of float32, over" in str(made) and "targets of the validation data: loss" in str(made)
    assert opened.score(part, sample=tasks.SCORED).metrics() == made.cost.exact  # the model is as it was


def test_without_the_data_of_the_run_random_numbers_do_and_that_is_said(runs, tmp_path):
    copied = tmp_path / "play.txt"
    copied.write_text("".join(TEXT), encoding="utf-8")
    make("lm", tmp_path / "run", data={"source": str(copied)})
    copied.unlink()
    made = sl.export(tmp_path / "run", tmp_path / "made", to="object", weights="int8")
    assert made.cost is None and made.difference < 1e-5
    assert "not tried: with the run's data." in str(made)
    assert "what int8 weights cost is not known without the run's data" in str(made)


@pytest.mark.parametrize(
    ("task", "inputs", "words"),
    [
        ("translate", None, "There is no native code for models of translate: export to ONNX, with --to onnx."),
        ("caption", None, "There is no native code for models of caption: export to ONNX, with --to onnx."),
        ("label", Inputs("frames", (8, 8), ("a", "b")), "There is no native code for a FrameEncoder"),
    ],
)
def test_what_has_no_native_code_is_said_in_one_sentence(task, inputs, words, tmp_path):
    make(task, tmp_path / "run", inputs=inputs)
    with pytest.raises(ArgumentError, match=words):
        sl.export(tmp_path / "run", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_options_that_a_form_does_not_take_are_refused(runs, tmp_path):
    with pytest.raises(ArgumentError, match=r"A 'name' is for c, object and wasm. Leave it out for onnx."):
        sl.export(runs / "char", tmp_path / "made", to="onnx", name="play")
    with pytest.raises(BackendError, match="There is no target 'cortex-m8'"):
        sl.export(runs / "char", tmp_path / "made", to="object", target="cortex-m8")
    assert not (tmp_path / "made").exists()


def test_weights_that_are_not_finite_are_refused(runs, tmp_path):
    opened = load(runs / "char")
    with torch.no_grad():
        opened.model.readout.weight[0, 0] = torch.nan
    for form in ("f32", "int8"):
        with pytest.raises(ArgumentError, match="are not all finite"):
            sl.export(opened, tmp_path / "made", to="object", weights=form)


@compiled
def test_python_calls_a_stack_by_steps_and_sessions_share_its_weights(called, tmp_path):
    rnn = sl.Recurrent(cells.gru, 3, 5, 2)
    sl.export(rnn, tmp_path / "made", name="ear")
    module = called(tmp_path / "made", "ear")
    one, other = module.Model(), module.Model()
    x = np.random.default_rng(0).standard_normal((9, 3), dtype=np.float32)
    expected = rnn(torch.from_numpy(x))[0].detach().numpy()
    np.testing.assert_allclose(one.run(x), expected, rtol=1e-4, atol=1e-5)
    for t in range(4):
        np.testing.assert_allclose(other.step(x[t].astype(np.float64)), expected[t], rtol=1e-4, atol=1e-5)
    saved = other.save()
    last = other.step(x[4])
    other.reset()
    np.testing.assert_allclose(other.step(x[0]), expected[0], rtol=1e-4, atol=1e-5)
    other.load(saved)
    assert (other.step(x[4]) == last).all()


@compiled
def test_python_maps_a_file_of_weights(called, tmp_path):
    for name in ("one", "other"):
        sl.export(sl.LSTM(3, 5), tmp_path / name, name="ear")
    sl.export(sl.LSTM(3, 6), tmp_path / "larger", name="ear")
    module = called(tmp_path / "one", "ear")
    x = np.ones((4, 3), np.float32)
    theirs = called(tmp_path / "other", "ear").Model().run(x)
    assert (module.Model(weights=tmp_path / "other" / "ear.weights").run(x) == theirs).all()
    assert (module.Model().run(x) != theirs).any()
    with pytest.raises(ValueError, match="holds weights of another model"):
        module.Model(weights=tmp_path / "larger" / "ear.weights")
    changed = bytearray((tmp_path / "one" / "ear.weights").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "changed.weights").write_bytes(changed)
    with pytest.raises(ValueError, match="has changed since it was written"):
        module.Model(weights=tmp_path / "changed.weights")
    short = tmp_path / "short.weights"
    short.write_bytes((tmp_path / "one" / "ear.weights").read_bytes()[:-4])
    with pytest.raises(ValueError, match="is too short"):
        module.Model(weights=short)
    short.write_bytes(b"")
    with pytest.raises(ValueError, match=r"short.weights is too short: give a file ear.weights of this model."):
        module.Model(weights=short)


@compiled
def test_python_says_what_is_wrong_in_one_sentence(called, runs, tmp_path):
    sl.export(sl.GRU(3, 5, bidirectional=True), tmp_path / "both")
    both = called(tmp_path / "both").Model()
    with pytest.raises(ValueError, match="reads in two directions, and cannot step"):
        both.step(np.ones(3))
    with pytest.raises(ValueError, match="has no state to save"):
        both.save()
    with pytest.raises(ValueError, match=r"takes an array \(T, 3\) of numbers. Got one of float64, \(2, 4\)"):
        both.run(np.ones((2, 4)))
    with pytest.raises(ValueError, match="draws no tokens"):
        both.sample(np.ones(10), np.ones(1, np.uint32))
    with pytest.raises(ValueError, match="has no code that reads text"):
        both.read("text")
    sl.export(runs / "char", tmp_path / "play", name="play")
    with pytest.raises(FileNotFoundError, match=r"is not there\. Run make libplay.so in "):
        called(tmp_path / "play", "play", is_made=False).Model()
    play = called(tmp_path / "play", "play").Model()
    with pytest.raises(ValueError, match="must be a whole number from 0 to"):
        play.step(1000)
    with pytest.raises(ValueError, match="must be from 0 to"):
        play.run([1, 1000])
    with pytest.raises(ValueError, match="belongs to other weights"):
        play.load(bytes(len(play.save())))
    with pytest.raises(ValueError, match="A saved state of play has"):
        play.load(b"short")
    with pytest.raises(ValueError, match="must be an array of one uint32"):
        play.sample(play.step(1), 3)
    with pytest.raises(ValueError, match="must be at least 0"):
        play.sample(play.step(1), np.ones(1, np.uint32), temperature=-1)
    logits, counts = play.step(1), (0, len(play.words), 2**31, 2**40)
    drawn = {tuple(play.sample(logits, np.array([seed], np.uint32), top_k=k) for seed in range(20)) for k in counts}
    assert len(drawn) == 1 and len({*drawn.pop()}) > 1  # all tokens can be drawn
    with pytest.raises(ValueError, match=r"A text must not hold the character 0, where it ends in C."):
        play.read("a\0b")
    assert play.words[play.sample(play.step(1), np.ones(1, np.uint32))] in {text.encode() for text in TEXT[0]} | {
        b"<unk>"
    }


@compiled
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler here")
@pytest.mark.parametrize("run", ["char", "tags", "series"])
def test_a_program_in_cpp_uses_it(run, runs, tmp_path):
    folder = tmp_path / "made"
    sl.export(runs / run, folder, to="object")
    words = "model_tokens" if run == "char" else "model_labels"
    (folder / "main.cpp").write_text(
        f'#include "model.h"\n#include <cstdio>\nint main() {{ std::puts({words}[1]); '
        "return static_cast<int>(model_check(model_trained.head, sizeof model_trained)); }\n"
    )
    subprocess.run([COMPILER, "-std=c99", "-c", "model_text.c"], cwd=folder, check=True)
    parts = ["main.cpp", "model.o", "model_weights.o", "model_text.o"]
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["g++", *flags, *parts, "-o", "main"], cwd=folder, check=True)
    done = subprocess.run([folder / "main"], capture_output=True, text=True, check=True)
    assert done.stdout == {"char": "\n\n", "tags": "b\n", "series": "c\n"}[run]


@compiled
def test_a_bare_stack_has_an_example_too(tmp_path):
    for name, rnn in (("one way", sl.GRU(2, 3)), ("both ways", sl.GRU(2, 3, bidirectional=True))):
        sl.export(rnn, tmp_path / name)
        y = rnn(torch.tensor([[1.0, -2.0], [0.5, 0.0]]))[0].detach()
        rows = [
            [float(cell) for cell in row.split(",")] for row in said(tmp_path / name, given="1,-2\n0.5,0\n").split()
        ]
        np.testing.assert_allclose(rows, y, rtol=1e-4, atol=1e-5)
        failed = subprocess.run(
            [tmp_path / name / "example"], input="a,b\n", capture_output=True, text=True, check=False
        )
        assert (failed.returncode, failed.stderr) == (1, "Line 1 must hold 2 numbers, with commas between them.\n")


@pytest.mark.parametrize("text", ['a\\b"c\n', "né?f1", "??/", "@name @{name}", "\x00\x7f\xff7"])
def test_strings_of_c_are_those_of_python(text):
    content = text.encode()
    written = c_string(content)
    assert written.isascii() and "?" not in written and "@" not in written
    parts = "".join(part for part in written.split('""'))
    assert eval(f"b{parts}") == content
