import json

import pytest
import torch
from torch import nn

from selfloop.errors import RunError
from selfloop.training import Run
from selfloop.training.checkpoint import write_tensors
from selfloop.training.run import load_into, weights


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "runs" / "mine", "lm", {"training": {"steps": 3}})


def test_a_run_knows_its_configuration(run):
    assert Run.open(run.path).config() == {
        "selfloop": "0.1.0",
        "format": 3,
        "task": "lm",
        "training": {"steps": 3},
    }


def test_what_is_there_is_not_overwritten(run):
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(
        RunError, match=r"mine exists already and is not overwritten\. Continue it with --resume .*mine, or"
    ):
        Run.create(run.path, "lm", {})
    assert (run.path / "config.json").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_said(run):
    with pytest.raises(RunError, match=r"inner cannot be made: Not a directory\. Choose another folder with --run\.$"):
        Run.create(run.path / "config.json" / "inner", "lm", {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"mine has no config.json, so it is not a run\. Give the folder"),
        (b"", r"config.json is damaged \(Expecting value"),
        (b"{", r"config.json is damaged \(Expecting property name"),
        (b"\xff\xfe", r"config.json is damaged \('utf-8' codec"),
        (b"[1]", r"config.json is damaged \(it holds a list\)\. Restore it from a copy\.$"),
        (
            b"{}",
            r"mine is a run of format None, and this selfloop 0.1.0 reads format 3\. Use the version that wrote it",
        ),
        (b'{"format": 2}', r"mine is a run of format 2, and"),
    ],
)
def test_a_configuration_that_was_changed_is_refused(run, content, message):
    file = run.path / "config.json"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(RunError, match=message):
        Run.open(run.path)


@pytest.mark.parametrize("path", ["nowhere", "mine/config.json"])
def test_what_is_no_folder_is_no_run(run, path):
    with pytest.raises(RunError, match=r"(does not exist|has no config.json, so it is not a run)\. Give the folder"):
        Run.open(run.path.parent / path)


def test_the_best_weights_come_back_with_their_facts(run):
    torch.manual_seed(1)
    run.save_model(saved := nn.Linear(2, 3), {"loss": 1.5})
    assert run.load_model(fresh := nn.Linear(2, 3)) == {"loss": 1.5}
    assert torch.equal(saved.weight, fresh.weight)


@pytest.mark.parametrize(
    ("model", "difference"),
    [
        (nn.Linear(2, 4), r"'bias' should have shape \(4,\) and has \(3,\)"),
        (nn.Linear(2, 3, bias=False), r"'bias' should have shape none and has \(3,\)"),
        (nn.Sequential(nn.Linear(2, 3)), r"'0.bias' should have shape \(3,\) and has none"),
    ],
)
def test_weights_that_do_not_fit_are_named(run, model, difference):
    run.save_model(nn.Linear(2, 3), {})
    with pytest.raises(
        RunError, match=rf"model.safetensors does not fit the model in config.json: {difference}\. One of"
    ):
        run.load_model(model)


def test_weights_that_are_not_there_yet_are_said(run):
    with pytest.raises(
        RunError, match=r"model.safetensors is missing: a run has weights from its first validation on\."
    ):
        run.load_model(nn.Linear(2, 3))


def test_a_tied_table_is_kept_once_and_stays_tied(run):
    model = nn.ModuleList([nn.Embedding(4, 2), nn.Linear(2, 4)])
    model[1].weight = model[0].weight
    assert list(weights(model)) == ["0.weight", "1.bias"]
    load_into(model, {"0.weight": torch.ones(4, 2), "1.bias": torch.zeros(4)}, run.path)
    assert model[1].weight is model[0].weight
    assert model[1].weight.sum() == 8


def spoil(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_of_two_checkpoints_the_one_before_is_offered_and_works(run):
    for step in (1, 2):
        run.save_checkpoint({"a": torch.full((3,), float(step))}, {"step": step})
    run.save_model(nn.Linear(2, 3), {})
    last, previous = (run.path / "resume" / f"{name}.safetensors" for name in ("last", "previous"))
    assert run.load_checkpoint()[1] == {"step": 2}
    spoil(last)
    with pytest.raises(RunError) as caught:
        run.load_checkpoint()
    assert str(caught.value) == (
        f"{last} is damaged (its checksum does not match). Rename {previous} to last.safetensors to go on from the "
        f"checkpoint before. The best weights so far are in {run.path / 'model.safetensors'}."
    )
    last.unlink()
    with pytest.raises(
        RunError, match=r"last.safetensors is missing\. Rename .*previous.safetensors to last.safetensors"
    ):
        run.load_checkpoint()
    previous.rename(last)
    tensors, facts = run.load_checkpoint()
    assert facts == {"step": 1}
    assert tensors["a"].tolist() == [1, 1, 1]


def test_a_damaged_checkpoint_alone_offers_nothing_more(run):
    run.save_checkpoint({"a": torch.ones(3)}, {})
    spoil(run.path / "resume" / "last.safetensors")
    with pytest.raises(RunError, match=r"is damaged \(its checksum does not match\)\.$"):
        run.load_checkpoint()


def test_without_a_checkpoint_there_is_nothing_to_resume(run):
    with pytest.raises(
        RunError, match=r"mine has no checkpoint to resume from: it stopped before its first\. Train it anew"
    ):
        run.load_checkpoint()


def test_what_killed_writers_left_is_removed(run):
    run.save_checkpoint({"a": torch.ones(3)}, {})
    for folder in (run.path, run.path / "resume"):
        (folder / ".last.safetensors.123.tmp").write_bytes(b"half")
    (run.path / ".gradient_flow.png.123.tmp").write_bytes(b"half")  # somebody draws, who needs no lock for it
    with run.locked(writes=False):
        run.load_checkpoint()
    assert len(list(run.path.rglob(".*.tmp"))) == 3, "one that only reads has removed what others may be writing"
    with run.locked():
        assert [path.name for path in run.path.rglob(".*.tmp")] == [".gradient_flow.png.123.tmp"]
    assert json.loads((run.path / "config.json").read_text())


@pytest.fixture
def whole(run):
    (run.path / "inputs.json").write_text('{"classes": ["a", "b"]}')
    run.save_model(nn.Linear(2, 3), {"loss": 1.5})
    run.save_checkpoint({"a": torch.ones(3)}, {"step": 1})
    return run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda path: path.write_text('{"classes": ["a", "c"]}'),
            r"inputs.json is damaged \(its hash does not match\)",
        ),
        (lambda path: path.unlink(), "inputs.json is missing. Restore it from a copy"),
        (lambda path: [path.unlink(), path.mkdir()], "inputs.json is missing. Restore it from a copy"),
    ],
)
def test_a_file_that_the_weights_mean_nothing_without_must_be_the_same(whole, change, message):
    change(whole.path / "inputs.json")
    for read in (lambda: Run.open(whole.path).load_model(nn.Linear(2, 3)), Run.open(whole.path).load_checkpoint):
        with pytest.raises(RunError, match=message):
            read()


@pytest.mark.parametrize(
    ("text", "other", "message"),
    [
        ('"steps": 3', '"steps": 8', "training.steps was 3 and is 8. Put it back, or restore"),
        ('"steps": 3', '"steps": null', "training.steps was 3 and is None"),
        ('"steps": 3', '"seed": 3', "training.steps was 3 and is None"),
        ('"steps": 3', '"steps": 3, "seed": 3', "training.seed was None and is 3"),
    ],
)
def test_a_configuration_that_is_not_that_of_the_weights_is_refused(whole, text, other, message):
    file = whole.path / "config.json"
    file.write_text(file.read_text().replace(text, other))
    for read in (lambda: Run.open(whole.path).load_model(nn.Linear(2, 3)), Run.open(whole.path).load_checkpoint):
        with pytest.raises(RunError, match=f"config.json was changed since the run was begun: {message}"):
            read()


def test_a_file_that_is_added_to_a_run_that_stopped_is_no_part_of_it_when_it_goes_on(tmp_path):
    run = Run.create(tmp_path / "run", "lm", {})
    run.save_checkpoint({}, {})
    (run.path / "eval.json").write_text("{}")
    again = Run.open(run.path)
    again.load_checkpoint()
    again.save_model(nn.Linear(2, 3), {})
    (run.path / "eval.json").unlink()
    Run.open(run.path).load_model(nn.Linear(2, 3))


def test_data_may_move_and_files_may_be_added(tmp_path):
    run = Run.create(tmp_path / "moved", "lm", {"data": {"source": "/old/place/play.txt"}})
    run.save_model(nn.Linear(2, 3), {})
    file = run.path / "config.json"
    file.write_text(file.read_text().replace("/old/place", "elsewhere"))
    (run.path / "notes.json").write_text("{}")
    Run.open(run.path).load_model(nn.Linear(2, 3))


@pytest.mark.parametrize("facts", [{}, {"manifest": ["config.json"]}])
def test_weights_without_a_manifest_or_with_a_strange_one_are_refused(whole, facts):
    write_tensors(whole.path / "model.safetensors", weights(nn.Linear(2, 3)), facts)
    with pytest.raises(RunError, match=r"mine holds weights with a damaged manifest\. Restore it"):
        Run.open(whole.path).load_model(nn.Linear(2, 3))
