"""Several trainings: by folds, and by seeds."""

import csv
import json
import shutil
import statistics

import pytest
import torch
from unit.app.test_resume_auto import contents

import selfloop as sl
from selfloop.errors import ConfigError, DataError, RunError
from selfloop.tasks.score import ClassScore
from selfloop.tasks.trials import Trials
from selfloop.training.checkpoint import read_tensors

SMALL = {"hidden_size": 8, "embedding_size": 4, "batch_size": 8, "learning_rate": 0.03, "quiet": True}


def write_words(folder):
    rows = [
        f"{letter * (1 + n % 7)}{n},{label}" for label, letter in (("first", "a"), ("second", "b")) for n in range(12)
    ]
    (folder / "words.csv").write_text("\n".join(["text,label", *rows]) + "\n")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_words(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three folds, trained without a stop."""
    folder = tmp_path_factory.mktemp("folds")
    write_words(folder)
    return sl.train("classify", folder / "words.csv", steps=4, folds=3, run=folder / "cv", **SMALL)


def results(path):
    return json.loads((path / "results.json").read_text())


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def weights(run):
    return read_tensors(run / "model.safetensors")[0]


class StopsIn:
    """Stops the run of several that begins as the given one."""

    def __init__(self, trial):
        self.trial, self.begun = trial, 0

    def reported(self, report):
        pass

    def validated(self, metrics, best):
        self.begun += metrics["step"] == 1

    def stop(self):
        return self.begun >= self.trial


def test_folds_train_once_for_each_and_keep_mean_spread_and_what_each_said(whole):
    assert isinstance(whole, Trials)
    kept, path = results(whole.path), whole.path
    assert kept == whole.results and kept["finished"] and kept["folds"] == 3
    each = [results(path)["valid"]["accuracy"] for path in whole.runs]
    accuracy = kept["valid"]["accuracy"]
    assert accuracy == {"mean": statistics.fmean(each), "spread": statistics.stdev(each), "each": each}
    rows = rows_of(path / "valid_predictions.csv")
    assert [*rows[0]] == ["fold", "input", "text", "label", "probability", "true_label", "correct"]
    assert sorted(int(row["input"].rpartition(" ")[2]) for row in rows) == list(range(2, 26))
    assert statistics.fmean(row["correct"] == "True" for row in rows) == pytest.approx(statistics.fmean(each))
    assert f"accuracy {accuracy['mean']:.2%} ± {accuracy['spread']:.2%}" in repr(whole)
    models = list(whole.models())
    assert [model.results["valid"]["accuracy"] for model in models] == each
    for number, model in enumerate(models, 1):  # a run of a fold is scored on its own fold
        valid = model.parts()["valid"]
        assert {*valid.places} == {row["input"] for row in rows if row["fold"] == str(number)}
    with pytest.raises(RunError, match=r"cv holds several trainings, .* such as .*cv/fold-1\.$"):
        sl.load(path)


def test_one_fold_alone_is_the_run_that_it_is_among_the_others(whole, tmp_path):
    alone = sl.train("classify", "words.csv", steps=4, folds=3, fold=2, run="alone", **SMALL)
    assert type(alone).__name__ == "Classifier"
    one, other = weights(tmp_path / "alone"), weights(whole.runs[1])
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_seeds_train_on_the_same_data(tmp_path):
    found = sl.train("classify", "words.csv", steps=4, seeds=2, seed=5, run="twice", **SMALL)
    assert [path.name for path in found.runs] == ["seed-5", "seed-6"]
    one, other = map(results, found.runs)
    assert one["data"] == other["data"]
    first, second = map(weights, found.runs)
    assert not all(torch.equal(first[name], second[name]) for name in first if first[name].shape == second[name].shape)
    sl.train("classify", "words.csv", steps=4, seed=5, run="once", **SMALL)
    assert all(torch.equal(value, weights(tmp_path / "once")[name]) for name, value in first.items())
    assert not (tmp_path / "twice" / "valid_predictions.csv").exists()


@pytest.mark.parametrize("by", ["accuracy", "loss"])
def test_of_several_seeds_the_best_is_by_what_chooses_the_weights_and_that_is_said(by, tmp_path, selfloop, monkeypatch):
    """It was by the loss."""
    monkeypatch.setenv("COLUMNS", "160")
    figures = {5: {"loss": 0.9, "accuracy": 0.8}, 6: {"loss": 0.1, "accuracy": 0.4}, 7: {"loss": 0.5, "accuracy": 0.8}}
    score = ClassScore.metrics
    monkeypatch.setattr(ClassScore, "metrics", lambda self: {**score(self), **figures[torch.initial_seed()]})
    options = ("--steps", 1, "--hidden", 4, "--seeds", 3, "--seed", 5, "--set", f"training.best={by}", "--run", "three")
    said = selfloop("train", "classify", "words.csv", *options)
    assert said.status == 0, said.err
    best = {"accuracy": "seed-7", "loss": "seed-6"}[by]
    assert f"The best of them, by {by} on the validation data, is {best}.\n" in said.err
    assert f"next: selfloop predict three/{best} FILE" in said.err
    kept = results(tmp_path / "three")
    assert (kept["best_run"], kept["best_by"]) == (best, by)


def test_stopped_it_goes_on_where_it_was_and_ends_as_if_it_had_not_been(whole, tmp_path):
    stopped = sl.train("classify", "words.csv", steps=4, folds=3, run="cv", listener=StopsIn(2), **SMALL)
    assert not stopped.results["finished"] and [path.name for path in stopped.runs] == ["fold-1", "fold-2"]
    assert not (tmp_path / "cv" / "results.json").exists()
    begun = tmp_path / "cv" / "fold-3"  # as where it is killed before its first checkpoint
    begun.mkdir()
    shutil.copy(tmp_path / "cv" / "fold-2" / "config.json", begun)
    found = sl.resume("cv", quiet=True)
    assert found.results["valid"] == whole.results["valid"]
    for one, other in zip(found.runs, whole.runs, strict=True):
        assert all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())
    with pytest.raises(RunError, match=r"^cv is finished: all its 3 trainings are\."):
        sl.resume("cv", quiet=True)
    with pytest.raises(RunError, match=r"^cv holds 3 trainings: train one of them longer, such as cv/fold-1\.$"):
        sl.resume("cv", quiet=True, minutes=1)


def test_folds_with_word_vectors_go_on_from_their_folder(tmp_path):
    words = [row["text"] for row in rows_of(tmp_path / "words.csv")]
    (tmp_path / "three.vec").write_text("".join(f"{word} 1 2 3\n" for word in words))
    options = {name: value for name, value in SMALL.items() if name != "embedding_size"}
    stopped = sl.train(
        "classify", "words.csv", steps=4, folds=2, vectors="three.vec", run="cv", **options, listener=StopsIn(2)
    )
    assert not stopped.results["finished"]
    assert sl.resume("cv", quiet=True).results["finished"]


def test_what_is_finished_is_kept_also_without_its_checkpoints(tmp_path):
    """It was removed, and trained anew."""
    sl.train("classify", "words.csv", steps=4, folds=3, run="cv", listener=StopsIn(2), **SMALL)
    shutil.rmtree(tmp_path / "cv" / "fold-1" / "resume")
    before = (tmp_path / "cv" / "fold-1" / "model.safetensors").stat().st_mtime_ns
    assert sl.resume("cv", quiet=True).results["finished"]
    assert (tmp_path / "cv" / "fold-1" / "model.safetensors").stat().st_mtime_ns == before


def test_what_is_no_training_is_not_removed(tmp_path):
    sl.train("classify", "words.csv", steps=4, folds=3, run="cv", listener=StopsIn(2), **SMALL)
    (tmp_path / "cv" / "fold-3").mkdir()
    (tmp_path / "cv" / "fold-3" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"fold-3 has no checkpoint, and is not overwritten"):
        sl.resume("cv", quiet=True)
    assert (tmp_path / "cv" / "fold-3" / "notes.txt").read_text() == "mine"


def test_the_command_line_shows_each_and_the_mean(selfloop, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    options = ("--steps", 4, "--hidden", 8, "--embedding-size", 4, "--run", "cv")
    said = selfloop("train", "classify", "words.csv", "--folds", 2, *options)
    assert said.status == 0, said.err
    shown = said.err
    assert "budget  2 trainings of 4 updates each" in shown
    assert "fold-1 of 2  validation" in shown and "fold-2 of 2  validation" in shown
    assert "The mean of 2, ± their standard deviation:" in shown and "too few" not in shown
    assert "without --folds" in shown and "update        1" not in shown


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"folds": 1}, ConfigError, "sets 'data.folds' wrongly: it must be greater than or equal to 2. Got 1 instead."),
        ({"seeds": 0}, ConfigError, "sets 'training.seeds' wrongly: it must be greater than or equal to 2. Got 0 inst"),
        ({"folds": 25}, DataError, "words.csv has 24 different inputs, too few for 25 folds: ask for fewer."),
        ({"folds": 2, "seeds": 2}, ConfigError, "A run is trained by --folds or by --seeds: give one of them."),
        ({"folds": 2, "valid": "words.csv"}, ConfigError, "and --valid names other data; keep one of them."),
        ({"fold": 1}, ConfigError, "--fold must be one of the --folds, of which there are none."),
        ({"folds": 2, "fold": 3}, ConfigError, "--fold must be one of the --folds, of which there are 2."),
    ],
)
def test_what_cannot_be_is_one_sentence_and_makes_nothing(options, error, said, tmp_path):
    with pytest.raises(error) as raised:
        sl.train("classify", "words.csv", steps=4, **options, **SMALL)
    assert said in str(raised.value) and "\n" not in str(raised.value)
    assert not (tmp_path / "runs").exists()


def test_a_language_model_has_seeds_and_no_folds(tmp_path):
    (tmp_path / "play.txt").write_text("the cat sat on the mat\n" * 100)
    with pytest.raises(ConfigError, match="There is no field 'folds'"):
        sl.train("lm", "play.txt", steps=4, folds=2, **SMALL)
    found = sl.train("lm", "play.txt", steps=4, seeds=2, run="twice", window=8, **SMALL)
    assert found.results["valid"]["loss"]["spread"] > 0


def test_scoring_that_is_stopped_in_a_fold_is_made_by_resuming_all(selfloop, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")

    def stop(*_, **__):
        raise KeyboardInterrupt

    options = ("--steps", 4, "--hidden", 8, "--embedding-size", 4, "--run", "cv")
    with monkeypatch.context() as patched:
        patched.setattr("selfloop.tasks.classify.Classifier.score", stop)
        said = selfloop("train", "classify", "words.csv", "--folds", 2, *options)
    assert said.status != 0 and "next: selfloop train classify --resume cv\n" in said.err
    assert not (tmp_path / "cv" / "fold-1" / "results.json").exists()
    said = selfloop("train", "classify", "--resume", "cv", "--json")
    assert said.status == 0, said.err
    assert json.loads(said.out) == results(tmp_path / "cv") and len(results(tmp_path / "cv")["runs"]) == 2


def auto(**options):
    return sl.train(
        "classify", options.pop("source", "words.csv"), steps=4, run="cv", resume="auto", **options, **SMALL
    )


def add_a_row(folder):
    with (folder / "words.csv").open("a") as file:
        file.write("aaa99,first\n")


@pytest.mark.parametrize("several", [{"folds": 3}, {"seeds": 2}])
@pytest.mark.parametrize("stopped", [True, False])
def test_trainings_do_not_go_on_with_other_data(several, stopped, tmp_path):
    """Those that were finished were kept, and others trained on other data."""
    auto(listener=StopsIn(2) if stopped else None, **several)
    if stopped:
        shutil.rmtree(sorted((tmp_path / "cv").glob("*-*"))[1])  # as where it is stopped between two of them
    before = contents(tmp_path / "cv")
    add_a_row(tmp_path)
    with pytest.raises(
        RunError, match=r"^The (training|validation) examples of cv/(fold-1|seed-1) changed since it wa"
    ):
        auto(**several)
    if stopped:
        with pytest.raises(RunError, match=r"^The (training|validation) examples of cv/(fold-1|seed-1) changed since"):
            sl.resume("cv", quiet=True)
    assert contents(tmp_path / "cv") == before


@pytest.mark.parametrize("stopped", [True, False])
def test_data_of_several_trainings_may_move(whole, stopped, tmp_path):
    auto(folds=3, listener=StopsIn(2) if stopped else None)
    (tmp_path / "words.csv").rename(tmp_path / "moved.csv")
    assert auto(folds=3, source="moved.csv").results["valid"] == whole.results["valid"]
    with pytest.raises(DataError, match=r"words\.csv"):
        auto(folds=3)
