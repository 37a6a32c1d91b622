"""Runs that a verb cannot open, or that are of another task: one sentence, and exit status 2."""

import json
import shutil

import pytest
from small_runs import make

import selfloop as sl
from selfloop.errors import ArgumentError
from selfloop.tasks.table import TASKS

LONG = "x" * 300
USES = {
    "lm": "generate",
    "classify": "predict",
    "label": "predict",
    "translate": "predict",
    "caption": "predict",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("of all tasks")
    return {task: make(task, folder / task).path for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_a_verb_that_the_task_has_not_names_the_one_it_has(runs, task, selfloop):
    run = runs[task]
    able = {
        ("generate",): ["lm"],
        ("predict", "x"): ["classify", "label", "translate", "caption"],
        ("predict", "--stream", "x"): ["label"],
        ("predict", "--picture", "x.png", "x"): ["label", "caption"],
        ("evaluate", "a", "b"): ["translate"],
    }
    for (verb, *rest), tasks in able.items():
        if task not in tasks:
            said = selfloop(verb, run, *rest).sentence
            assert f"is for runs of {', '.join(tasks[:-1])} and {tasks[-1]}".replace("of  and", "of") in said
            assert f"is of {task}: use selfloop {'evaluate' if verb == 'evaluate' else USES[task]} '{run}'" in said


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "words", ["generate RUN", "predict RUN x", "evaluate RUN", "inspect RUN --gradient-flow", "train TASK --resume RUN"]
)
def test_every_verb_refuses_a_run_whose_configuration_does_harm(runs, task, words, selfloop, tmp_path):
    run = shutil.copytree(runs[task], tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    fills = {"RUN": run, "TASK": task}
    for content in (json.dumps({**config, "model": {**config["model"], "num_layers": 10**7}}), "[" * 200_000):
        (run / "config.json").write_text(content)
        assert str(run) in selfloop(*(fills.get(word, word) for word in words.split())).sentence


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "xpu", "hpu", "meow", "", 3.5])
def test_a_device_that_is_not_there(runs, device):
    for use in (
        lambda: sl.load(runs["lm"], device=device),
        lambda: sl.LSTM(3, 5, device=device),
        lambda: sl.Recurrent(sl.cells.gru, 3, 5, device=device),
    ):
        with pytest.raises(ArgumentError, match="must be one that torch has here") as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        f"generate {LONG}",
        f"evaluate {LONG}",
        f"predict {LONG} x",
        f"inspect {LONG} --gradient-flow",
        f"train lm --resume {LONG}",
        f"train lm --run {LONG}",
        f"train lm {LONG}",
        f"train lm {LONG}/{LONG}",
        f"train lm --config {LONG}",
        f"train lm --cell {LONG}.py:{LONG}",
        f"train classify {LONG}",
        f"train caption --encoder {LONG}.py:{LONG}",
        f"evaluate RUN {LONG}",
        f"inspect RUN --gradient-flow --out {LONG}",
        f"bench --plot {LONG}.png",
    ],
    ids=lambda words: words.replace(LONG, "LONG"),
)
def test_a_name_that_is_too_long(words, runs, selfloop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = selfloop(*(str(runs["lm"]) if word == "RUN" else word for word in words.split())).sentence
    assert "x" * 50 in said


@pytest.mark.parametrize("words", ["predict RUN x --picture FILE.png", "evaluate RUN x --predictions FILE.png"])
@pytest.mark.parametrize("file", ["file/x", "folder", LONG])
def test_what_cannot_be_written_is_refused_before_anything_is_read(words, file, runs, selfloop, tmp_path):
    """It was refused after all predictions."""
    here = tmp_path / "here"  # beside which are the caches
    (here / "folder.png").mkdir(parents=True)
    (here / "file").touch()
    fills = {"RUN": runs["label"], "FILE.png": here / f"{file}.png"}
    said = selfloop(*(fills.get(word, word) for word in words.split())).sentence
    assert "cannot be written" in said and f"{file}.png" in said
    assert sorted(path.name for path in here.rglob("*")) == ["file", "folder.png"]


def test_a_folder_for_pictures_that_cannot_be_made_is_refused_before_anything_is_read(runs, selfloop, tmp_path):
    (tmp_path / "file").touch()
    said = selfloop("inspect", runs["label"], "gone", "--out", tmp_path / "file" / "x").sentence
    assert "gates.png cannot be written (Not a directory): choose another place." in said


@pytest.mark.parametrize("words", ["predict label", "evaluate label", "evaluate translate a.en", "inspect label"])
def test_an_empty_path_is_not_the_folder_at_hand(words, runs, selfloop):
    verb, task, *more = words.split()
    assert selfloop(verb, runs[task], *more, "").sentence.startswith("The path of the data must not be empty")


def test_a_picture_of_no_known_kind_is_refused_before_anything_is_read(runs, selfloop):
    said = selfloop("predict", runs["label"], "x", "--picture", "x.gif").sentence
    assert said == "The picture must end in .png, .svg, .pdf. Got 'x.gif' instead.\n"


@pytest.mark.parametrize("words", ["evaluate RUN --skip-bad", "evaluate RUN --id name", "inspect RUN --skip-bad"])
def test_what_is_of_examples_is_refused_for_a_text(words, runs, selfloop):
    said = selfloop(*(str(runs["lm"]) if word == "RUN" else word for word in words.split())).sentence
    assert "is for examples, and this run reads a text as a whole: leave it out." in said


def test_caches_that_cannot_be_written_are_slower_and_no_error(selfloop, tmp_path, monkeypatch):
    """Neither those of the user's folder, nor that of the kernels."""
    (tmp_path / "play.txt").write_text("to be or not to be\n" * 200)
    monkeypatch.chdir(tmp_path)
    small = "--steps 1 --set model.hidden_size=4 --set training.batch_size=2 --set data.window=4"
    for number, (caches, kernels) in enumerate((("/dev/null/x", "/dev/null/y"), (str(tmp_path / LONG), LONG))):
        monkeypatch.setenv("XDG_CACHE_HOME", caches)
        monkeypatch.setenv("SELFLOOP_CACHE", kernels)
        said = selfloop("train", "lm", "play.txt", *small.split(), "--run", f"a run {number}", "--json")
        assert said.status == 0, said.err
        assert selfloop("doctor").status == 0
    assert selfloop("evaluate", "a run 1").status == 0


def test_the_next_command_is_quoted(selfloop, tmp_path, monkeypatch):
    (tmp_path / "play.txt").write_text("to be or not to be\n" * 200)
    monkeypatch.chdir(tmp_path)
    small = "--steps 1 --set model.hidden_size=4 --set training.batch_size=2 --set data.window=4"
    said = selfloop("train", "lm", "play.txt", *small.split(), "--run", "it's a run")
    assert """next: selfloop generate 'it'"'"'s a run'""" in said.err
    said = selfloop("train", "lm", "play.txt", "--run", "it's a run")
    assert """Continue it with --resume 'it'"'"'s a run', or""" in said.err


def test_a_model_that_does_not_fit_into_memory_is_one_sentence(selfloop, tmp_path, monkeypatch):
    """It ended in a traceback of torch."""
    (tmp_path / "play.txt").write_text("to be or not to be\n" * 200)
    monkeypatch.chdir(tmp_path)
    said = selfloop("train", "lm", "play.txt", "--hidden", 99999999999, "--steps", 1).sentence
    assert said.startswith("The model cannot be made (") and said.endswith("): choose smaller sizes for it.\n")
    assert not (tmp_path / "runs").exists()
