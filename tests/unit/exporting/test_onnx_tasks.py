"""A run of each task as ONNX files: they give selfloop's numbers, and their runner, without selfloop, its answers."""

import copy
import csv
import json
import runpy
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from small_runs import make

import selfloop as sl
from selfloop.data import Tokenizer
from selfloop.data.text.vocabulary import Vocabulary
from selfloop.decoding import Sampling
from selfloop.errors import BackendError
from selfloop.exporting.onnx.tasks import export, proof
from selfloop.exporting.onnx.tasks.export import export_run
from selfloop.exporting.onnx.tasks.program import program
from selfloop.exporting.onnx.tasks.weights import round_weights
from selfloop.tasks.caption.captioner import Sight
from selfloop.tasks.caption.choose_vision import choose_vision
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.translate.languages import Languages

ALONE = (
    "import runpy, sys\n"
    "for name in ('torch', 'selfloop', 'onnx', 'onnxscript'): sys.modules[name] = None\n"  # to import it is an error
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def exported(folder, kept):
    """Makes a run with these options and exports it, once for all tests; gives the model and what was made."""

    def make_and_export(name, task, **options):
        if not (folder / name).exists():
            make(task, folder / name, scale=3.0, **options)
            opened = sl.load(folder / name)
            kept[name] = opened, export_run(opened, folder / f"{name}-onnx")
            assert kept[name][1].difference < proof.TOLERANCE
        return kept[name]

    return make_and_export


def run(made, *words, given=""):
    """What the runner of a folder prints, where torch and selfloop cannot be imported."""
    command = [sys.executable, "-W", "error", "-c", ALONE, str(made.files[0].parent / "run.py"), *map(str, words)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def facts(made, *words, given=""):
    """The same as JSON, a line each."""
    return [json.loads(line) for line in run(made, "--json", *words, given=given).splitlines()]


def real_calls(made):
    """Of each file, the calls that it was tried with on data of the run."""
    return [int(one.by.split("validation data ")[1].split(",")[0]) for one in made.tried]


def files(made):
    return sorted(path.name for path in made.files[0].parent.iterdir())


LINE = "the cat sat on the mat, and the dog sat on the log: né 你好\n"


def test_a_language_model_writes_as_selfloop_does(exported, folder):
    (folder / "play.txt").write_text(LINE * 40)
    opened, made = exported(
        "lm",
        "lm",
        inputs=Tokenizer.train("char", [LINE]),
        model={"num_layers": 2, "cell": "gru", "tied": True},
        data={"source": str(folder / "play.txt")},
    )
    assert files(made) == ["export.json", "model.onnx", "run.py", "step.onnx", "tokenizer.json"]
    assert made.not_tried == () and real_calls(made) == [1, 4]
    model = onnx.load(made.files[0].parent / "step.onnx")
    assert [one.name for one in model.graph.input] == ["tokens", "state.h.0", "state.h.1"]
    assert [one.name for one in model.graph.output] == ["logits", "new_state.h.0", "new_state.h.1"]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["task"] == "lm" and json.loads(metadata["states"]) == {"state.h.0": [6], "state.h.1": [6]}
    assert metadata["run"] == json.loads((made.files[0].parent / "export.json").read_text())["run"]
    (want,) = opened.write(["the né "], max_tokens=30, sampling=Sampling(temperature=0.0))
    assert run(made, "--prompt", "the né ", "--temperature", 0, "--max-tokens", 30) == f"the né {want}\n"
    assert len(set(want)) > 5
    drawn = [run(made, "--seed", seed, "--top-k", 5, "--max-tokens", 20) for seed in (7, 7, 8)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_runner_puts_the_spaces_of_words_where_selfloop_does(exported, folder):
    _, made = exported("lm", "lm", inputs=Tokenizer.train("char", [LINE]))
    runner = runpy.run_path(str(made.files[0].parent / "run.py"))
    words = Tokenizer.train("word", ["to be or not to be\n"])
    words.save(made.files[0].parent / "words.tokens")
    run = make("lm", folder / "words", inputs=words)
    opened = sl.load(run.path)
    tokens = runner["Tokens"]({"tokenizer": "words.tokens", "token": "word", "start": words.start_id})
    drawn = words.encode("or not\nto be unheard be")
    for prompt in ("", "to be", "to be ", "to be\n", "unheard of"):
        assert "".join(tokens.stream(prompt, drawn)) == "".join(opened._after(prompt, drawn))


SENTENCES = [["It", "wasn't", "GOOD", "at", "all", "!"], ["good"], ["a", "very", "extraordinarilylongword", "😀"]]


def test_a_classifier_of_sentences_that_spells_reads_both_ways_and_attends(exported, folder):
    with (folder / "reviews.csv").open("w", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        table.writerows([[" ".join(SENTENCES[k % 3]), ["no", "yes", "maybe"][k % 3]] for k in range(30)])
    opened, made = exported(
        "reviews",
        "classify",
        inputs=Inputs("text", (), ("maybe", "no", "yes"), vocabulary=Vocabulary.of([["good", "it", "good", "it"]])),
        model={"bidirectional": True, "pooling": "attention", "cell": "peephole_lstm"},
        data={"source": str(folder / "reviews.csv")},
    )
    assert files(made) == ["export.json", "labels.json", "model.onnx", "run.py", "words.json"]
    texts = [" ".join(words) for words in SENTENCES]
    for found, want in zip(facts(made, *texts), opened.predict(texts), strict=True):
        assert (found["input"], found["label"]) == (want.text, want.label)
        assert found["probabilities"] == pytest.approx(want.probabilities, abs=1e-5)
    lines = run(made, given="".join(f"{text}\n\n" for text in texts))
    assert lines.split() == [one.label for one in opened.predict(texts)]


def test_a_classifier_of_images_reads_arrays_tables_and_files_alike(exported, folder, capsys):
    """Its data are elsewhere: it is tried with random numbers, and says so."""
    opened, made = exported(
        "digits",
        "classify",
        inputs=Inputs("series", (8,), ("0", "1", "2"), image=(8, 8)),
        data={"scan": "rows", "source": str(folder / "gone.npz")},
        model={"cell": "min_gru", "pooling": "max"},
    )
    assert "gone.npz" in made.not_tried[0] and real_calls(made) == [0]
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(np.dstack([pixels] * 3).repeat(2, 0).repeat(2, 1)).save(folder / "large.png")
    np.save(folder / "small.npy", pixels)
    (folder / "small.csv").write_text("\n".join(",".join(map(str, row)) for row in pixels) + "\n")
    found = facts(made, *(folder / name for name in ("large.png", "small.npy", "small.csv")))
    want = opened.predict([folder / "large.png", pixels, pixels])
    for one, other in zip(found, want, strict=True):
        assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-5)
    runner = runpy.run_path(str(made.files[0].parent / "run.py"))
    np.save(folder / "nan.npy", np.full((2, 8), np.nan))
    (folder / "words.csv").write_text("1,2\na,b\n")
    refused = {
        "gone.npy": "gone.npy is not a file",
        "words.csv": "is no table of numbers",
        "nan.npy": "holds NaN or infinity",
        "play.txt": "reads .npy, .csv and .tsv",
        "photo.png": "cannot be read as an image",
        "wide.csv": "must hold steps of 8 numbers. It holds an array (1, 3)",
    }
    (folder / "play.txt").write_text("x")
    (folder / "photo.png").write_bytes(b"no image")
    (folder / "wide.csv").write_text("1,2,3\n")
    for name, message in refused.items():
        with pytest.raises(SystemExit) as stopped:
            runner["steps_of"](str(folder / name))
        said = capsys.readouterr().err
        assert stopped.value.code == 2 and said.startswith("run.py: ") and message in said and said.count("\n") == 1


def test_a_labeller_of_words_gives_tags_whose_spans_begin(exported, folder):
    tags = ("B-city", "I-city", "O")
    lines = [f"{word}\t{tags[k % 3]}" for sentence in SENTENCES * 6 for k, word in enumerate([*sentence, ""])]
    (folder / "tags.tsv").write_text("\n".join(line if line[0] != "\t" else "" for line in lines) + "\n")
    opened, made = exported(
        "tags",
        "label",
        inputs=Inputs("words", (), tags, vocabulary=Vocabulary.of([["good", "it"] * 2]), spans=True),
        data={"source": str(folder / "tags.tsv")},
        model={"num_layers": 2},
    )
    assert made.not_tried == () and "step.onnx" not in files(made)
    texts = [" ".join(words) for words in SENTENCES]
    for found, want in zip(facts(made, *texts), opened.predict(texts), strict=True):
        assert found["labels"] == want.labels
        assert found["probabilities"] == pytest.approx(want.probabilities, abs=2e-4)
    assert run(made, *texts) == "".join(f"{one.line()}\n" for one in opened.predict(texts))
    done = subprocess.run(
        [sys.executable, made.files[0].parent / "run.py", "--stream"],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "") and "reads in both directions" in done.stderr


def test_a_labeller_in_one_direction_labels_steps_as_they_come(folder, capsys):
    own = "from selfloop import cell, param, tanh\n\n\n@cell\ndef mine(x, h, *, W=param('h x'), U=param('h h')):\n"
    (folder / "own.py").write_text(f"{own}    h = tanh(W @ x + U @ h)\n    return h\n")
    name = f"{folder / 'own.py'}:mine"
    draw = np.random.default_rng(1)
    with (folder / "walks.jsonl").open("w") as file:
        for steps in range(4, 24):
            walk = draw.standard_normal((steps, 2)).round(3).tolist()
            file.write(json.dumps({"series": walk, "labels": [["a", "b"][x > 0] for x, _ in walk]}) + "\n")
    make(
        "label",
        folder / "walks",
        inputs=Inputs("series", (2,), ("a", "b")),
        data={"source": str(folder / "walks.jsonl")},
        model={"bidirectional": False, "num_layers": 2, "cell": name},
        scale=3.0,
    )
    opened = sl.load(folder / "walks", cell=name)
    made = export_run(opened, folder / "walks-onnx")
    assert made.difference < proof.TOLERANCE and [
        "5 calls" in str(one) or "3 calls, 1 with" in str(one) for one in made.tried
    ]
    walk = draw.standard_normal((9, 2), np.float32)
    np.save(folder / "walk.npy", walk)
    (want,) = opened.predict([walk])
    (found,) = facts(made, folder / "walk.npy")
    assert found["labels"] == want.labels
    streamed = run(made, "--stream", given="".join(f"{x},{y}\n" for x, y in walk))
    assert streamed.split() == want.labels == list(opened.stream(walk))
    runner = runpy.run_path(str(made.files[0].parent / "run.py"))
    for line, message in (("1,x", "a line must hold numbers. Got '1,x'."), ("1,2,3", "must hold steps of 2 numbers")):
        with pytest.raises(SystemExit):
            list(runner["label_stream"](["0.5,1\n", "\n", line]))
        assert message in capsys.readouterr().err


def test_a_labeller_of_frames(exported, folder):
    opened, made = exported(
        "frames",
        "label",
        inputs=Inputs("frames", (16, 12), ("off", "on")),
        data={"source": str(folder / "gone.jsonl")},
        model={"bidirectional": False},
    )
    clip = np.random.default_rng(0).integers(0, 256, (5, 16, 12), np.uint8)
    np.save(folder / "clip.npy", clip)
    (found,) = facts(made, folder / "clip.npy")
    (want,) = opened.predict([clip])
    assert found["labels"] == want.labels
    assert found["probabilities"] == pytest.approx(want.probabilities, abs=2e-4)


PAIRS = [("the cat sat", "die Katze saß"), ("On the mat", "auf der Matte"), ("two dogs", "zwei Hunde 😀")] * 8


@pytest.mark.parametrize(
    ("kind", "shared", "model"),
    [
        ("bpe", True, {"input_feeding": True, "cell": "gru", "tied": True}),
        ("char", False, {"attention": "none", "num_layers": 2}),
    ],
)
def test_a_translator_finds_what_selfloops_beam_finds(exported, folder, kind, shared, model):
    sources, targets = zip(*PAIRS, strict=True)
    for name, lines in (("en", sources), ("de", targets)):
        (folder / f"pairs.{name}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    opened, made = exported(
        kind,
        "translate",
        inputs=Languages.learn(sources, targets, kind=kind, shared=shared, lowercase=True),
        data={
            **{"source": str(folder / "pairs.en"), "target": str(folder / "pairs.de"), "tokenizer": kind},
            **{"shared_vocabulary": shared, "lowercase": True, "max_length": 12},
        },
        model=model,
    )
    tokenizers = ["tokenizer.json"] if shared else ["source.json", "target.json"]
    assert files(made) == sorted(["decoder_step.onnx", "encoder.onnx", "export.json", "run.py", *tokenizers])
    texts = ["The  cat sat", "zwei", ""]
    for beam, penalty in ((5, 1.0), (1, 0.0))[: 1 + shared]:
        found = facts(made, "--beam", beam, "--length-penalty", penalty, given="\n".join(texts) + "\n")
        for one, other in zip(found, opened.predict(texts, beam=beam, length_penalty=penalty), strict=True):
            assert one["translation"] == other.translation
            assert one["log_probability"] == pytest.approx(other.log_probability, abs=1e-4)


OWN_ENCODER = """
import torch


def frozen():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 5, 4, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    return torch.nn.Sequential(*layers).requires_grad_(False)
"""


@pytest.mark.parametrize(
    ("encoder", "model"),
    [("small", {"condition": "attend", "attention": "dot"}), ("own", {"condition": "input"})],
)
def test_a_captioner_says_what_selfloop_says(folder, encoder, model):
    photos = folder / "photos"
    photos.mkdir(exist_ok=True)
    (folder / "own_encoder.py").write_text(OWN_ENCODER)
    draw = np.random.default_rng(0)
    for number in range(6):
        shape = (30, 20 + number, 4) if number == 0 else (30, 20 + number, 3)
        Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(photos / f"{number}.png")
    names = ["red", "green", "blue"]
    lines = [f"{number}.png,a {names[number % 3]} one" for number in range(6)]
    (photos / "captions.csv").write_text("\n".join(["image,caption", *lines]) + "\n")
    name = encoder if encoder == "small" else f"{folder / 'own_encoder.py'}:frozen"
    vision = choose_vision(name, (32, 24))
    path = folder / f"{encoder}-{model['condition']}"
    make(
        "caption",
        path,
        inputs=Sight(vision, Tokenizer.train("word", ["a red one\n", "a green one\n", "a blue one\n"])),
        data={"source": str(photos), "size": (32, 24)},
        model={**model, "encoder": name},
        scale=1.5,
    )
    opened = sl.load(path, encoder=name if encoder == "own" else None)
    made = export_run(opened, folder / f"{path.name}-onnx")
    assert made.difference < proof.TOLERANCE and made.not_tried == ()
    found = facts(made, *(photos / f"{number}.png" for number in range(6)))
    precision = 1e-4 if encoder == "small" else 5e-3  # what a frozen encoder has seen is kept in float16
    for one, other in zip(found, opened.predict([photos / f"{number}.png" for number in range(6)]), strict=True):
        assert one["caption"] == other.caption
        assert one["log_probability"] == pytest.approx(other.log_probability, abs=precision)


@pytest.mark.parametrize(("kind", "share", "dtype"), [("bf16", 0.55, "BFLOAT16"), ("int8", 0.35, "INT8")])
def test_shorter_weights_are_rounded_once_and_cost_what_is_said(folder, kind, share, dtype):
    with (folder / "steps.jsonl").open("w") as file:
        for x in np.random.default_rng(0).standard_normal((40, 5)).round(3).tolist():
            file.write(json.dumps({"series": x, "label": "up" if x[-1] > x[0] else "down"}) + "\n")
    if not (folder / "steps").exists():
        model = {"hidden_size": 64, "bidirectional": True, "pooling": "attention"}
        inputs = Inputs("series", (1,), ("down", "up"))
        make("classify", folder / "steps", inputs=inputs, data={"source": str(folder / "steps.jsonl")}, model=model)
    opened = sl.load(folder / "steps")
    before = {name: tensor.clone() for name, tensor in opened.model.state_dict().items()}
    made = export_run(opened, folder / f"steps-{kind}", kind)
    whole = sum(4 * tensor.numel() for tensor in before.values())
    assert made.sizes["model.onnx"] < share * whole
    assert made.difference < proof.TOLERANCE
    assert made.cost.form == kind and made.cost.count == 4 and set(made.cost.exact) == {"loss", "accuracy", "macro_f1"}
    assert (
        made.cost.rounded["loss"] != made.cost.exact["loss"]
        and made.cost.exact == opened.score(opened.parts()["valid"]).metrics()
    )
    assert f"{kind} in the place of float32, over 4 targets of the validation data: loss" in str(made)
    assert all(torch.equal(before[name], tensor) for name, tensor in opened.model.state_dict().items())
    kept = onnx.load(folder / f"steps-{kind}" / "model.onnx").graph.initializer
    shortened = [one for one in kept if one.data_type == getattr(onnx.TensorProto, dtype)]
    assert {len(one.dims) for one in shortened} == {2, 3} and all(one.name.endswith(f".{kind}") for one in shortened)
    about = json.loads((folder / f"steps-{kind}" / "export.json").read_text())
    assert about["run"] == export.digest(opened.model)
    walk = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    (found,) = proof.session_of(folder / f"steps-{kind}" / "model.onnx").run(
        None, {"inputs": walk[:, None], "lengths": np.array([5])}
    )
    with torch.no_grad():
        want = opened.model(torch.from_numpy(walk)[:, None])
    torch.testing.assert_close(torch.from_numpy(found), want, atol=2e-2, rtol=0)
    assert not torch.equal(torch.from_numpy(found), want)


def test_rounding_to_int8_keeps_zeros_and_the_largest_of_each_row():
    linear = torch.nn.Linear(5, 3)
    linear.weight.data[1] = 0
    before, bias = linear.weight.clone(), linear.bias.clone()
    round_weights(linear, "int8")
    scale = before.abs().amax(1, keepdim=True) / 127
    assert (linear.weight - before).abs().le(0.501 * scale).all() and linear.weight[1].eq(0).all()
    torch.testing.assert_close(linear.weight.abs().amax(1), before.abs().amax(1), rtol=1e-4, atol=0)
    assert torch.equal(linear.bias, bias)
    again = linear.weight.clone()
    round_weights(linear, "int8")
    assert torch.equal(linear.weight, again)


def test_what_gives_other_numbers_is_not_handed_over(folder, monkeypatch):
    if not (folder / "other").exists():
        make("classify", folder / "other")
    opened = sl.load(folder / "other")

    def other(part):
        part = copy.deepcopy(part)
        part.model.readout.bias.data[0] += 1e-3
        return program(part)

    monkeypatch.setattr(export, "program", other)
    with pytest.raises(BackendError, match=r"model.onnx of .* differs from selfloop by .* so nothing was written"):
        export_run(opened, folder / "refused")
    assert not (folder / "refused").exists() and not list(folder.glob(".*.tmp"))
