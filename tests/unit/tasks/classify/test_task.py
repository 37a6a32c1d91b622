import json

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from selfloop.config import parse
from selfloop.data.examples import BadItems, Examples
from selfloop.errors import ArgumentError, ConfigError, DataError
from selfloop.options import ClassifyConfig
from selfloop.tasks import load
from selfloop.tasks.classify import Classification, Classifier
from selfloop.training import Run, train


@pytest.fixture
def make_task(tmp_path):
    """Series whose class is the sign of their first step, of unequal lengths; or texts."""

    def make(steps=120, model=None, loss=None, text=False, rare=1, **data):
        draw = np.random.default_rng(0)
        lines = []
        for number in range(120):
            up = number % (2 * rare) == 0
            series = draw.normal(scale=0.1, size=(int(draw.integers(2, 9)), 2)) + 7
            series[0, 0] += 1 if up else -1
            value = ("b" if up else "a") + "xyz" * int(draw.integers(1, 4)) if text else series.tolist()
            lines.append(json.dumps({"values": value, "label": "up" if up else "down"}))
        source = tmp_path / "walks.jsonl"
        source.write_text("\n".join(lines) + "\n")
        values = {
            "data": {"source": str(source), **data},
            "model": {"embedding_size": 4, "hidden_size": 8, "output_dropout": 0.0, **(model or {})},
            "loss": loss or {},
            "training": {"steps": steps, "batch_size": 16, "learning_rate": 0.03, "validations": 2},
        }
        return Classification(parse(ClassifyConfig, values, "test"))

    return make


@pytest.fixture(scope="module")
def trainings():
    """What was trained before, by its options: tests look at it, and leave it as it is."""
    return {}


@pytest.fixture
def trained(make_task, tmp_path, silent, trainings):
    def make(**options):
        if repr(options) in trainings:
            return trainings[repr(options)]
        task = make_task(**options)
        run = Run.create(tmp_path / "run", "classify", task.config.model_dump(mode="json"))
        task.save(run)
        train(task, run, task.config.training, Accelerator(cpu=True), silent)
        run.load_model(task.model)  # the best weights
        trainings[repr(options)] = task, run
        return task, run

    return make


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"text": True},
        {"model": {"pooling": "attention", "bidirectional": True, "cell": "gru"}},
        {"model": {"pooling": "mean", "num_layers": 2}},
    ],
    ids=str,
)
def test_what_the_first_step_says_is_learnt_and_told_by_a_loaded_run(trained, options):
    task, run = trained(**options)
    loaded = load(run.path)
    assert isinstance(loaded, Classifier)
    parts = loaded.parts()
    score = loaded.score(parts["valid"])
    assert (score.accuracy, score.count) == (1.0, 12)
    assert score.metrics() == pytest.approx(task.opened().score(task.parts()["valid"]).metrics())
    assert [row["support"] for row in score.details()] == [6, 6]


def test_equal_runs_make_equal_weights_to_the_byte(make_task, tmp_path, silent):
    weights = []
    for name in ("one", "other"):
        task = make_task(steps=10)
        run = Run.create(tmp_path / name, "classify", task.config.model_dump(mode="json"))
        task.save(run)
        train(task, run, task.config.training, Accelerator(cpu=True), silent)
        weights.append((run.path / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_predictions_stand_in_the_order_of_the_examples(trained):
    _, run = trained(text=True)
    loaded = load(run.path)
    found = loaded.predict(["axyzxyz", "bxyz", "b" + 9 * "xyz", "axyz"])
    assert [p.label for p in found] == ["down", "up", "up", "down"]
    for p in found:
        assert sum(p.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert max(p.probabilities, key=p.probabilities.get) == p.label


def test_the_loss_is_the_cross_entropy_of_the_batch(make_task):
    task = make_task()
    task.model.eval()
    loss, targets, carry = task.loss(task.model, 3, slice(None), None)
    rows = task._batches.rows(0, 3)
    train = task.dataset.train
    part = Examples([train.inputs[r] for r in rows], [train.labels[r] for r in rows], [train.places[r] for r in rows])
    assert (targets, carry) == (16, None)
    assert loss.item() == pytest.approx(task.opened().score(part).loss, rel=1e-5)


def test_shares_of_a_batch_make_up_its_loss(make_task):
    task = make_task()
    task.model.eval()
    whole, _, _ = task.loss(task.model, 0, slice(None), None)
    halves = [task.loss(task.model, 0, share, None)[0] for share in (slice(0, 8), slice(8, 16))]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "(MemoryError): choose smaller sizes for it."),
        (OverflowError("int too large"), "(int too large): choose smaller sizes for it."),
        (RuntimeError("CUDA out of memory. Tried\nto"), "(CUDA out of memory. Tried): choose smaller sizes for it."),
        (RuntimeError("DefaultCPUAllocator: no"), "(DefaultCPUAllocator: no): choose smaller sizes for it."),
        (RuntimeError("Storage size calculation overflowed"), "calculation overflowed): choose smaller sizes for it."),
        (RuntimeError("mat1 and mat2 do not fit."), "(mat1 and mat2 do not fit)."),
        (RecursionError("recursion is too deep"), "(recursion is too deep)."),
        (NotImplementedError(), "(NotImplementedError)."),
    ],
    ids=repr,
)
def test_smaller_sizes_are_advised_where_a_model_is_too_large(make_task, monkeypatch, error, said):
    """Of an error of one's own cell the reason alone is told."""

    def build(*_):
        raise error

    monkeypatch.setattr(Classifier, "build", build)
    with pytest.raises(ConfigError, match="The model cannot be made ") as caught:
        make_task()
    assert str(caught.value).endswith(said)


def test_balanced_weights_make_each_class_count_the_same(make_task):
    task = make_task(rare=5, loss={"class_weights": "balanced"})
    counts = torch.bincount(torch.from_numpy(task._train[1]))
    assert counts.min() < counts.max() / 5
    torch.testing.assert_close(task._weights * counts, torch.full((2,), len(task.dataset.train) / 2))
    torch.testing.assert_close(make_task(rare=5, loss={"class_weights": "sqrt"})._weights, task._weights.sqrt())


def test_series_are_brought_to_mean_zero_and_deviation_one(make_task):
    task = make_task()
    steps = torch.from_numpy(np.concatenate(list(task.dataset.train.inputs)))
    scaled = task.model.encoder(steps[:, None].float())[:, 0]
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(2), atol=1e-4, rtol=0)


def test_the_examples_decide_the_facts(make_task):
    one, same, other = make_task(), make_task(), make_task(text=True)
    assert one.facts() == same.facts() != other.facts()


def test_a_series_of_another_shape_is_named(trained):
    _, run = trained()
    with pytest.raises(DataError, match=r"example 1 has steps of shape \(3,\), and the model was trained on .* \(2,\)"):
        load(run.path).predict([np.zeros((4, 2), np.float32), np.zeros((4, 3), np.float32)])


@pytest.mark.parametrize("scan", ["pixels", "rows"])
def test_images_are_brought_to_the_shape_of_those_that_were_learnt_from(trained, tmp_path, scan):
    bright = {"day": 200, "night": 20}
    for name, value in bright.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (6, 4), value + number).save(tmp_path / "photos" / name / f"{number}.png")
    _, run = trained(source=str(tmp_path / "photos"), scan=scan)
    Image.new("RGB", (60, 50), (210, 200, 190)).save(tmp_path / "large.png")
    loaded = load(run.path)
    read = loaded.read(str(tmp_path / "large.png"), BadItems())
    assert read.inputs[0].shape == ((24, 1) if scan == "pixels" else (4, 6))
    assert (read.inputs[0] == 202).all()  # the luminance, 0.299 R + 0.587 G + 0.114 B, rounded
    assert [found.label for found in loaded.predict(read)] == ["day"]
    assert len(loaded.parts(str(tmp_path / "photos"))["photos"]) == 20


def test_examples_that_training_left_out_are_left_out_of_its_own_data_again(make_task, tmp_path):
    """An image of another size, among those of which some are held out."""
    draw = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(10):
            size = (8, 5) if (label, number) == ("a", 3) else (6, 6)
            image = Image.fromarray(draw.integers(0, 256, size, np.uint8))
            image.save(tmp_path / "images" / label / f"{number}.png")
    task = make_task(source=str(tmp_path / "images"), scan="rows", skip_bad=True)
    again = task.opened().parts()["valid"]
    assert again.places == task.dataset.valid.places
    assert not {*again.places} & {*task.dataset.train.places}


def test_a_sample_judges_about_so_many(trained):
    _, run = trained()
    loaded = load(run.path)
    assert loaded.score(loaded.parts()["valid"], sample=4).count == 4


# ---------------------------------------------------------------------------------- what suits the data, unless chosen

FILMS = [
    f"it is {what} {word} film, {number}" for number in range(20) for what in ("a", "no") for word in ("good", "bad")
]
SURNAMES = [
    f"{first}{last}" for first in ("Ab", "Be", "Cu", "Do", "Em", "Fi") for last in ("el", "er", "in", "ov", "ura")
]


@pytest.fixture
def suited(tmp_path):
    def make(texts, data=None, model=None, **training):
        source = tmp_path / "texts.jsonl"
        rows = [json.dumps({"text": text, "label": "ab"[number % 2]}) for number, text in enumerate(texts)]
        source.write_text("\n".join(rows))
        given = {"data": {"source": str(source), **(data or {})}, "model": model or {}, "training": training}
        return Classification(parse(ClassifyConfig, given, "test"))

    return make


def choices(task):
    model = task.config.model
    return task.config.data.tokenizer, model.pooling, model.input_dropout, model.output_dropout


def test_sentences_are_read_as_words_and_names_as_characters(suited):
    films, names = suited(FILMS), suited(SURNAMES)
    assert choices(films) == ("word", "mean", 0.5, 0.5)
    assert "at most 7 words (" in films.summary()
    assert choices(names) == ("char", "last", 0.0, 0.1)
    assert "5 characters (" in names.summary()


def test_what_is_chosen_stays(suited):
    films = suited(FILMS, {"tokenizer": "char"}, {"pooling": "max", "input_dropout": 0.2})
    assert choices(films) == ("char", "max", 0.2, 0.1)
    assert choices(suited(SURNAMES, {"tokenizer": "word"}, {"output_dropout": 0})) == ("word", "mean", 0.5, 0.0)


def test_words_are_split_from_punctuation_in_predict_as_in_training(suited):
    opened = suited(FILMS).opened()
    split, whole, other = opened.predict(["it is n't good , is it ?", "it isn't good, is it?", "it is not good"])
    assert whole.probabilities == split.probabilities
    assert whole.probabilities != other.probabilities


@pytest.mark.parametrize(("count", "size"), [(40, 8), (80, 16), (200, 32)])
def test_the_size_of_a_batch_follows_the_number_of_examples_to_train_on(suited, count, size):
    assert suited([f"name{number}" for number in range(count)]).config.training.batch_size == size
    assert suited([f"name{number}" for number in range(count)], batch_size=5).config.training.batch_size == 5


def test_the_best_weights_are_those_of_the_best_accuracy_unless_chosen(suited):
    assert suited(SURNAMES).best_by == "accuracy"
    assert suited(SURNAMES, best="loss").best_by == "loss"


# ------------------------------------------------------------------------------------------------ what predict takes


def test_one_text_alone_is_one_example(make_task, tmp_path):
    opened = make_task(text=True).opened()
    (one,) = opened.predict("axyz")
    assert one == opened.predict(["axyz"])[0]
    (tmp_path / "new.txt").write_text("axyz\nbxyz\n")
    read = opened.predict(tmp_path / "new.txt")
    assert [found.place for found in read] == [f"{tmp_path / 'new.txt'}, line {n}" for n in (1, 2)]
    assert read[0].probabilities == pytest.approx(one.probabilities)
    assert opened.predict([]) == []


@pytest.mark.parametrize(
    "given",
    [3, None, {"text": "a"}, [3], ["a", b"b"], np.zeros(3), Image.new("L", (2, 2))],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_text_is_refused_with_what_the_model_reads(make_task, given):
    with pytest.raises(ArgumentError, match=r"The 'examples' of predict must be texts .* Got .* instead"):
        make_task(text=True).opened().predict(given)


def test_one_series_alone_is_one_example_in_every_type(make_task, tmp_path):
    opened = make_task().opened()
    array = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.save(tmp_path / "one.npy", array)
    (expected,) = opened.predict([array])
    for given in (array, torch.from_numpy(array), torch.from_numpy(array).bfloat16(), tmp_path / "one.npy",
                  str(tmp_path / "one.npy"), [torch.from_numpy(array)], [array.tolist()]):  # fmt: skip
        (found,) = opened.predict(given)
        assert found.probabilities == pytest.approx(expected.probabilities)
    assert len(opened.predict(np.stack([array, array, array]))) == 3
    assert [found.place for found in opened.predict([array, tmp_path / "one.npy"])] == [
        "example 0",
        str(tmp_path / "one.npy"),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[[1.0, 2.0]], [[3.0, float("nan")]]], "example 1 holds NaN at step 1, channel 2"),
        (np.full((3, 2), np.inf), "example 0 holds infinity at step 1, channel 1"),
        (np.zeros((2, 3, 2, 2)), r"example 0 must have one dimension \(time\) or two"),
        ([np.zeros((0, 2))], "example 0 is an empty series"),
        ([np.zeros((3, 2)), 3], r"The 'examples' of predict must be series .* Got int instead"),
        ([object()], r"The 'examples' of predict must be series .* Got object instead"),
        (np.array([object()]), "example 0 must hold numbers, not object"),
        ("gone.npy", r"There is no file or folder gone\.npy"),
    ],
)
def test_what_is_no_series_is_refused(make_task, given, message):
    with pytest.raises((DataError, ArgumentError), match=message):
        make_task().opened().predict(given)


@pytest.mark.parametrize("scan", ["pixels", "rows"])
def test_images_are_taken_as_files_as_arrays_and_as_pillow_gives_them(make_task, tmp_path, scan):
    for name, value in {"day": 200, "night": 20}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (6, 4), value + number).save(tmp_path / "photos" / name / f"{number}.png")
    opened = make_task(source=str(tmp_path / "photos"), scan=scan).opened()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    path = tmp_path / "large.png"
    image.save(path)
    (expected,) = opened.predict(opened.read(str(path), BadItems()))
    array = np.asarray(image)
    for given in (path, str(path), image, array, torch.from_numpy(array.copy()), [image], [path], [array]):
        (found,) = opened.predict(given)
        assert found.probabilities == pytest.approx(expected.probabilities)
    small = np.asarray(image.convert("L").resize((6, 4)))
    assert len(opened.predict(np.stack([small, small]))) == 2  # a batch of images
    (whole,), (sequence,) = (
        opened.predict(small.astype(float)),
        opened.predict(small.reshape((-1, *opened.inputs.shape))),
    )
    assert whole.probabilities == pytest.approx(sequence.probabilities)
