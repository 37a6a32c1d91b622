"""`--resume auto`: one command that begins a run, goes on with it, and leaves a finished one as it is."""

import json
import shutil

import pytest
import torch
from unit.training.test_lock import another

import selfloop as sl
from selfloop.app import training
from selfloop.errors import ArgumentError, ConfigError, RunError
from selfloop.training.checkpoint import read_tensors
from selfloop.training.run import FORMAT

SMALL = {"hidden_size": 8, "embedding_size": 4, "batch_size": 4, "window": 8, "quiet": True, "steps": 20}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "play.txt").write_text("the cat sat on the mat\n" * 100)


class StopsAt:
    def __init__(self, step):
        self.step = step

    def reported(self, report):
        pass

    def validated(self, metrics, best):
        pass

    def stop(self):
        self.step -= 1
        return self.step == 0


def auto(run="mine", source="play.txt", **options):
    return sl.train("lm", source, run=run, resume="auto", **{**SMALL, **options})


def contents(folder):
    """All files, but that of the lock and the caches."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path): path.read_bytes() for path in files if "cache" not in path.parts}


def assert_as_undisturbed(tmp_path, run="mine"):
    sl.train("lm", "play.txt", run="undisturbed", **SMALL)
    mine, theirs = (read_tensors(tmp_path / name / "resume" / "last.safetensors")[0] for name in (run, "undisturbed"))
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
    steps = [
        [json.loads(line)["step"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in (run, "undisturbed")
    ]
    assert steps[0] == steps[1]


def test_it_begins_goes_on_and_ends_with_the_same_bits(tmp_path):
    with pytest.raises(RunError, match="weights"):  # stopped before the first validation
        auto(listener=StopsAt(1), validations=2)
    assert not (tmp_path / "mine" / "results.json").exists()
    shutil.rmtree(tmp_path / "mine")
    auto(listener=StopsAt(7))
    auto(listener=StopsAt(9))
    assert auto().results["steps"] == 20
    assert_as_undisturbed(tmp_path)


@pytest.mark.parametrize("left", [".config.json.1f2e.tmp", "model-before.safetensors", "curves.png"])
def test_it_begins_where_it_was_killed_while_it_began(tmp_path, left, monkeypatch):
    """Before the configuration was whole, or while what was reported before was taken away."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / left).write_bytes(b"{")
    if "tmp" not in left:
        monkeypatch.setattr(training.Run, "_write_config", lambda *_: pytest.fail("killed"))
        (tmp_path / "mine" / "config.json").write_text(json.dumps({"format": FORMAT, "task": "lm"}))
        with pytest.raises(pytest.fail.Exception):
            auto()
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
    assert auto().results["steps"] == 20


def test_what_is_finished_is_left_as_it_is(tmp_path):
    first = auto()
    before = contents(tmp_path / "mine")
    again = auto()
    assert again.results == first.results
    assert contents(tmp_path / "mine") == before


def test_what_is_finished_and_not_scored_is_scored(tmp_path):
    first = auto()
    (tmp_path / "mine" / "results.json").unlink()
    assert auto().results["valid"] == first.results["valid"]


def test_data_may_move(tmp_path):
    auto(listener=StopsAt(7))
    (tmp_path / "play.txt").rename(tmp_path / "moved.txt")
    auto(source="moved.txt")
    (tmp_path / "moved.txt").rename(tmp_path / "play.txt")
    assert_as_undisturbed(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 16}, "mine was begun with other settings: model.hidden_size was 8, and is 16 now"),
        ({"steps": 40}, "mine was begun with other settings: training.steps was 20, and is 40 now"),
        ({"source": None}, "mine was begun with other settings: data.source was"),
        ({"source": "other.txt"}, "The training text of mine changed"),
    ],
)
@pytest.mark.parametrize("stop_at", [7, 99])
def test_other_settings_or_data_are_refused_and_nothing_is_lost(tmp_path, options, message, stop_at):
    (tmp_path / "other.txt").write_text("the cat sat on a red mat\n" * 100)
    auto(listener=StopsAt(stop_at))
    before = contents(tmp_path / "mine")
    source = options.get("source", "play.txt")
    given = {name: value for name, value in options.items() if name != "source"}
    with pytest.raises(RunError, match=message):
        sl.train("lm", *([source] if source else []), run="mine", resume="auto", **{**SMALL, **given})
    assert contents(tmp_path / "mine") == before


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_again(tmp_path):
    auto(listener=StopsAt(12))
    shutil.rmtree(tmp_path / "mine" / "resume")
    weights = (tmp_path / "mine" / "model.safetensors").read_bytes()
    auto()
    assert (tmp_path / "mine" / "model-before.safetensors").read_bytes() == weights
    assert_as_undisturbed(tmp_path)


def test_an_empty_folder_is_begun_in(tmp_path):
    (tmp_path / "mine").mkdir()
    auto()
    assert_as_undisturbed(tmp_path)


@pytest.mark.parametrize("kind", ["notes", "another program's", "finished", "a file"])
def test_a_folder_that_holds_something_else_is_refused_and_untouched(tmp_path, kind):
    mine = tmp_path / "mine"
    if kind == "finished":
        auto()
        shutil.rmtree(mine / "resume")
    elif kind == "a file":
        mine.write_text("notes")
    else:
        mine.mkdir()
        (mine / "model.safetensors").write_text("weights")
        if kind == "another program's":
            (mine / "config.json").write_text('{"architectures": ["Other"]}')
    before = contents(tmp_path)
    with pytest.raises(RunError, match=r"mine exists already, has no checkpoint|mine is a run of format None"):
        auto()
    assert contents(tmp_path) == before


def test_a_run_of_another_task_is_refused(tmp_path):
    (tmp_path / "words.csv").write_text("text,label\n" + "aa,a\nbb,b\n" * 20)
    auto(listener=StopsAt(7))
    with pytest.raises(RunError, match="mine is a run of the task 'lm', not 'classify'"):
        sl.train("classify", "words.csv", run="mine", resume="auto", quiet=True, steps=2)
    shutil.rmtree(tmp_path / "mine" / "resume")
    with pytest.raises(RunError, match=r"mine is a run of 'lm', and not of classify. Choose another name with --run"):
        sl.train("classify", "words.csv", run="mine", resume="auto", quiet=True, steps=2)


def test_it_needs_a_folder():
    with pytest.raises(
        ConfigError, match=r"--resume auto goes on with the run in the folder that --run names. Got none"
    ):
        auto(run=None)
    with pytest.raises(
        ArgumentError, match=r"The 'resume' of train must be 'auto', or not be given. Got 'mine' instead"
    ):
        sl.train("lm", "play.txt", run="mine", resume="mine", **SMALL)


def test_it_waits_for_the_process_that_it_replaces_and_no_longer(tmp_path, monkeypatch):
    auto(listener=StopsAt(7))
    with another(tmp_path / "mine") as other:
        assert other.stdout.readline() == "locked\n"
        monkeypatch.setattr(training, "PATIENCE", 0.3)
        with pytest.raises(RunError, match="mine is being trained by process"):
            auto()
        monkeypatch.setattr(training, "PATIENCE", 60.0)
        other.stdin.close()  # it ends a moment later
        auto()
    assert_as_undisturbed(tmp_path)


def test_several_trainings_go_on_and_are_left_when_they_are_finished(tmp_path):
    auto(seeds=2, listener=StopsAt(29))
    found = auto(seeds=2)
    assert found.finished and len(found.runs) == 2
    before = contents(tmp_path / "mine")
    assert auto(seeds=2).results == found.results
    assert contents(tmp_path / "mine") == before
    with pytest.raises(RunError, match=r"mine was begun with other settings: training.seeds was 2, and is 3 now"):
        auto(seeds=3)
    with pytest.raises(RunError, match="mine exists already, has no checkpoint to go on from"):
        auto()


def test_the_command_line_says_the_same(tmp_path, selfloop):
    options = ("--hidden", 8, "--embedding-size", 4, "--batch-size", 4, "--window", 8, "--steps", 20, "--run", "mine")
    for _ in range(2):
        ended = selfloop("train", "lm", "play.txt", *options, "--resume", "auto", "--json")
        assert ended.status == 0 and json.loads(ended.out)["steps"] == 20
    ended = selfloop("train", "lm", "play.txt", *options, "--lr", 0.5, "--resume", "auto")
    assert ended.status == 2
    assert "was begun with other settings: training.learning_rate was" in ended.err
