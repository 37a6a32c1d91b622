import json

import pytest


@pytest.fixture
def play(selfloop, tmp_path, made_once):
    (tmp_path / "play.txt").write_text("to be or not to be, that is the question\n" * 60)
    small = ("--set", "model.hidden_size=8", "--set", "model.num_layers=2", "--steps", "2")

    def train(path):
        assert selfloop("train", "lm", tmp_path / "play.txt", "--run", path, *small).status == 0

    return made_once(train, tmp_path / "run")


def test_the_gradient_flow_of_a_language_model(play, selfloop, tmp_path):
    said = selfloop("inspect", play, "--gradient-flow", "--steps", "20")
    assert said.status == 0, said.err
    assert "layer 2, before training" in said.out and "layer 1, after" in said.out
    assert (play / "gradient_flow.png").read_bytes().startswith(b"\x89PNG")
    plot = tmp_path / "flow.svg"
    facts = json.loads(selfloop("inspect", play, "--gradient-flow", "--steps", "20", "--plot", plot, "--json").out)
    assert facts["lags"] == list(range(20))
    top = facts["relative_norms"]["layer 2"]
    assert len(top["before"]) == len(top["after"]) == 20
    assert top["before"][0] >= 1 > top["before"][-1] > 0


def test_the_gradient_flow_of_a_classifier(selfloop, tmp_path):
    small = ("--set", "model.hidden_size=8", "--steps", "2")
    assert selfloop("train", "classify", "--run", tmp_path / "run", *small).status == 0
    facts = json.loads(selfloop("inspect", tmp_path / "run", "--gradient-flow", "--json").out)
    assert facts["lags"] == list(range(64))


def test_the_gradient_flow_of_a_labeller_that_reads_forwards(selfloop, tmp_path):
    small = ("--set", "model.hidden_size=8", "--set", "model.embedding_size=4", "--steps", "1")
    for name, way in (("forwards", ["--no-bidirectional"]), ("both", [])):
        assert selfloop("train", "label", "--run", tmp_path / name, *way, *small).status == 0
    facts = json.loads(selfloop("inspect", tmp_path / "forwards", "--gradient-flow", "--steps", "9", "--json").out)
    assert facts["lags"] == list(range(9))
    said = selfloop("inspect", tmp_path / "both", "--gradient-flow")
    assert said.status == 2 and "must read forwards alone" in " ".join(said.err.split())


def test_what_cannot_be_looked_into_is_said_in_one_sentence(play, selfloop, tmp_path):
    for words, message in (
        ((play,), "Say what to look at: selfloop inspect RUN --gradient-flow"),
        ((play, "--gradient-flow", "--steps", "100000"), "tokens, and 100,000 steps are asked for. Ask for fewer"),
        ((tmp_path / "gone", "--gradient-flow"), "gone"),
    ):
        said = selfloop("inspect", *words)
        assert said.status == 2 and message in " ".join(said.err.split()), said.err
        assert "Traceback" not in said.err
