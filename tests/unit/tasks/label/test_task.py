import json

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from selfloop.config import parse
from selfloop.data.examples import Examples
from selfloop.decoding.tags import are_begun
from selfloop.errors import ArgumentError, ConfigError, DataError
from selfloop.options import LabelConfig
from selfloop.tasks import load
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.label import Labeller, Labelling
from selfloop.training import Run, train


def walks(kind, count=60):
    """Sequences of unequal lengths whose labels tell where the step before led."""
    draw = np.random.default_rng(0)
    for _ in range(count):
        ups = draw.integers(0, 2, draw.integers(3, 9)).tolist()
        labels = ["start", *("up" if up else "down" for up in ups[:-1])]
        if kind == "words":
            yield {"words": ["rises" if up else "falls" for up in ups], "labels": labels}
        else:
            yield {"series": [[float(up), 1.0] for up in ups], "labels": labels}


@pytest.fixture
def make_task(tmp_path):
    def make(kind="series", lines=None, model=None, **data):
        source = tmp_path / "walks.jsonl"
        source.write_text("".join(json.dumps(line) + "\n" for line in lines or walks(kind)))
        options = {"embedding_size": 8, "hidden_size": 12, "input_dropout": 0.0, "output_dropout": 0.0}
        values = {
            "data": {"source": str(source), **data},
            "model": {**options, **(model or {})},
            "training": {"steps": 200, "batch_size": 16, "learning_rate": 0.03, "validations": 2},
        }
        return Labelling(parse(LabelConfig, values, "test"))

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
        run = Run.create(tmp_path / "run", "label", task.config.model_dump(mode="json"))
        task.save(run)
        train(task, run, task.config.training, Accelerator(cpu=True), silent)
        run.load_model(task.model)  # the best weights
        trainings[repr(options)] = task, run
        return task, run

    return make


@pytest.mark.parametrize("kind", ["series", "words"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_what_the_step_before_says_is_learnt_and_told_by_a_loaded_run(trained, kind, bidirectional):
    task, run = trained(kind=kind, model={"bidirectional": bidirectional})
    loaded = load(run.path)
    assert isinstance(loaded, Labeller)
    score = loaded.score(loaded.parts()["valid"])
    assert score.metrics() == pytest.approx(task.opened().score(task.parts()["valid"]).metrics())
    assert score.count == sum(len(names) for names in task.dataset.valid.labels)
    assert (score.accuracy, score.metrics()["edit"], score.metrics()["f1_at_50"]) == (1.0, 100.0, 100.0)


def test_streaming_gives_the_labels_of_the_whole_sequence(trained):
    task, run = trained(kind="words", model={"bidirectional": False})
    loaded = load(run.path)
    for words in task.dataset.valid.inputs[:3]:
        assert list(loaded.stream(words)) == list(loaded.predict([words])[0].labels)


def test_a_model_of_both_directions_cannot_stream(make_task):
    with pytest.raises(ArgumentError, match=r"must see the end .* Train one with --no-bidirectional"):
        next(make_task().opened().stream([[0.0, 0.0]]))


def test_steps_without_a_label_are_neither_learnt_nor_judged(make_task):
    lines = list(walks("series"))
    for line in lines:
        line["labels"][0] = None
    task, whole = make_task(lines=lines), make_task()
    assert "start" in whole.inputs.classes and "start" not in task.inputs.classes
    task.model.eval()
    loss, targets, _ = task.loss(task.model, 0, slice(None), None)
    rows = task._batches.rows(0, 0)
    assert targets == sum(len(task.dataset.train.labels[row]) - 1 for row in rows)
    train = task.dataset.train
    score = task.opened().score(train.select(rows.tolist()))
    assert score.count == targets
    assert loss.item() == pytest.approx(score.loss, rel=1e-5)


def test_padding_is_not_learnt(make_task):
    task = make_task()
    task.model.eval()
    losses = [task.loss(task.model, 0, slice(k, k + 1), None)[:2] for k in range(16)]
    whole, targets, _ = task.loss(task.model, 0, slice(None), None)
    assert targets == sum(n for _, n in losses)
    torch.testing.assert_close(whole, sum(loss for loss, _ in losses) / 16)  # of shares the mean is that of the batch
    alone = [task.opened().score(task.dataset.train.select([row])) for row in task._batches.rows(0, 0).tolist()]
    assert [n for _, n in losses] == [score.count for score in alone]
    for (loss, n), score in zip(losses, alone, strict=True):
        assert loss.item() == pytest.approx(score.loss * n * 16 / targets, rel=1e-5)


def test_a_label_to_ignore_is_left_out(make_task):
    assert make_task(ignore="start").inputs.classes == ("down", "up")


def test_sequences_of_which_no_step_is_judged_are_refused(make_task):
    """Where those that are held out are such, the loss was 0 / 0."""
    lines = [{"series": line["series"], "labels": [None] * len(line["labels"])} for line in walks("series", 4)]
    task = make_task()
    examples = make_task(lines=[*walks("series"), *lines]).dataset
    unjudged = Examples(examples.train.inputs[:2], [[None] * len(x) for x in examples.train.inputs[:2]], ["a", "b"])
    with pytest.raises(DataError, match="No step of 2 sequences has a label, so nothing can be learnt"):
        task.opened().score(unjudged)


# ------------------------------------------------------------------------------------------------ what predict takes


def test_a_sentence_is_a_string_or_a_list_of_words(make_task):
    opened = make_task("words").opened()
    (expected,) = opened.predict([["rises", "falls", "rises"]])
    assert len(expected.labels) == 3
    assert list(expected.words) == ["rises", "falls", "rises"]
    logits = opened.answers(opened.inputs.arrays(Examples([expected.words], [], [""])))[0]
    assert expected.probabilities == pytest.approx(logits.softmax(-1).max(-1).values.tolist())
    for given in ("rises falls  rises", ["rises falls rises"], [("rises", "falls", "rises")]):
        assert opened.predict(given) == [expected]
    assert [len(found.labels) for found in opened.predict(["rises falls", ["rises"]])] == [2, 1]


def test_words_alone_could_be_one_sentence_or_several_and_are_refused(make_task):
    with pytest.raises(
        ArgumentError, match=r"\['rises', 'falls'\] may be one sentence .*: give \[\['rises', 'falls'\]\]"
    ):
        make_task("words").opened().predict(["rises", "falls"])


@pytest.mark.parametrize("given", ["", [[]], ["rises falls", " "]])
def test_an_empty_sentence_is_refused(make_task, given):
    with pytest.raises(DataError, match=r"sequence \d holds no words"):
        make_task("words").opened().predict(given)


def test_one_series_alone_is_one_sequence(make_task, tmp_path):
    opened = make_task().opened()
    array = np.array([[0, 1], [1, 1], [1, 1]], np.float32)
    np.save(tmp_path / "one.npy", array)
    (expected,) = opened.predict([array])
    for given in (array, torch.from_numpy(array), tmp_path / "one.npy", str(tmp_path / "one.npy"), [array.tolist()]):
        (found,) = opened.predict(given)
        assert found.labels == expected.labels
    assert len(opened.predict(np.stack([array, array]))) == 2
    for given in (3, ["a b", 3], [{"a": 1}]):
        with pytest.raises((ArgumentError, DataError), match=r"must be series|no file or folder a b"):
            opened.predict(given)


def test_frames_are_brought_to_the_size_of_those_that_were_learnt_from(make_task, tmp_path):
    draw, lines = np.random.default_rng(0), []
    for number in range(12):
        on = draw.integers(0, 2, 5)
        np.save(tmp_path / f"{number}.npy", (on[:, None, None] * np.full((5, 16, 16), 200)).astype(np.uint8))
        lines.append({"video": f"{number}.npy", "labels": ["on" if k else "off" for k in on]})
    opened = make_task(lines=lines, model={"embedding_size": 4}).opened()
    clip = np.load(tmp_path / "0.npy")
    (expected,) = opened.predict([clip])
    for given in (
        clip,
        torch.from_numpy(clip),
        tmp_path / "0.npy",
        np.stack([clip] * 3, -1),
        clip.repeat(2, 1).repeat(2, 2),
    ):
        (found,) = opened.predict(given)
        assert found.labels == expected.labels
    assert len(opened.predict(np.stack([clip, clip]))) == 2
    with pytest.raises(DataError, match=r"sequence 0 holds an array of float64, .* frames must be bytes"):
        opened.predict([clip / 255])


def test_films_that_training_left_out_are_left_out_of_its_own_data_again(make_task, tmp_path):
    """One of another shape, among those of which some are held out."""
    draw, lines = np.random.default_rng(0), []
    for number in range(20):
        shape = (4, 10, 9) if number == 3 else (4, 8, 8)
        np.save(tmp_path / f"{number}.npy", draw.integers(0, 256, shape, np.uint8))
        lines.append({"frames": f"{number}.npy", "labels": ["rest", "move", "rest", "move"]})
    task = make_task(lines=lines, skip_bad=True)
    again = task.opened().parts()["valid"]
    assert again.places == task.dataset.valid.places
    assert not {*again.places} & {*task.dataset.train.places}


def tagged(path, best, *tags):
    """Sentences of words with these tags."""
    path.write_text("".join("".join(f"w{n}{k}\t{tag}\n" for k, tag in enumerate(tags)) + "\n" for n in range(10)))
    return Labelling(parse(LabelConfig, {"data": {"source": str(path)}, "training": {"best": best}}, "test"))


def test_the_best_weights_are_those_of_the_best_spans_or_else_of_the_best_accuracy_unless_chosen(tmp_path):
    path = tmp_path / "tags.tsv"
    assert tagged(path, None, "O", "B-x", "I-x").best_by == "span_f1"
    assert tagged(path, None, "NOUN", "VERB").best_by == "accuracy"
    assert tagged(path, "loss", "O", "B-x", "I-x").best_by == "loss"
    assert tagged(path, "edit", "NOUN", "VERB").best_by == "edit"


def test_spans_are_predicted_with_their_beginning_where_they_have_one_in_training(tmp_path):
    for seed in range(3):
        torch.manual_seed(seed)
        task = tagged(tmp_path / "tags.tsv", None, "O", "B-x", "I-x", "O")
        torch.nn.init.normal_(task.model.readout.weight, std=9)
        score = task.opened().score(task.dataset.train)
        assert are_begun(score.predicted)
        assert are_begun([one.labels for one in score.predictions])
    run = Run.create(tmp_path / "run", "label", {})
    task.inputs.save(run)
    assert task.inputs.spans and Inputs.load(run) == task.inputs
    assert not tagged(tmp_path / "tags.tsv", None, "O", "I-x", "O", "B-x").inputs.spans  # as CoNLL 2003 marks spans
    assert not tagged(tmp_path / "tags.tsv", None, "NOUN", "VERB").inputs.spans


def test_labels_of_spans_weigh_more_where_they_are_rare(tmp_path):
    spans = tagged(tmp_path / "tags.tsv", None, "O", "O", "O", "B-x")
    assert spans.config.loss.class_weights == "sqrt"
    of = dict(zip(spans.inputs.classes, spans._weights.tolist(), strict=True))
    assert of["B-x"] / of["O"] == pytest.approx(3**0.5)
    assert tagged(tmp_path / "tags.tsv", None, "NOUN", "NOUN", "VERB")._weights is None


@pytest.mark.parametrize(
    ("best", "tags", "what"),
    [
        ("edit", ("O", "B-x", "I-x"), "mark spans, and are judged by span_f1"),
        ("span_f1", ("NOUN", "VERB"), r"mark no spans \(B-city, I-city, O\)"),
    ],
)
def test_a_figure_that_the_labels_do_not_have_cannot_choose_the_best_weights(tmp_path, best, tags, what):
    with pytest.raises(ConfigError, match=f"cannot be chosen by {best}: the labels of tags {what}"):
        tagged(tmp_path / "tags.tsv", best, *tags)
