import json

import numpy as np
import pytest

PNG = b"\x89PNG"


@pytest.fixture
def play(selfloop, tmp_path, made_once):
    (tmp_path / "play.txt").write_text("to be or not to be, that is the question\n" * 60)
    small = ("--set", "model.hidden_size=8", "--set", "model.num_layers=2", "--steps", "2")

    def train(path):
        assert selfloop("train", "lm", tmp_path / "play.txt", "--run", path, *small).status == 0

    return made_once(train, tmp_path / "run")


def facts_of(selfloop, *words):
    said = selfloop("inspect", *words, "--json")
    assert said.status == 0, said.err
    return json.loads(said.out)


def test_gates_and_memory_of_a_language_model(play, selfloop, tmp_path):
    said = selfloop("inspect", play, "--steps", "20")
    assert said.status == 0, said.err
    for words in ("remembers for", "c of layer 2", "shut, below 0.1", "f of layer 1", "The model uses", "characters"):
        assert words in said.out, words
    assert (play / "gates.png").read_bytes().startswith(PNG) and (play / "memory.png").read_bytes().startswith(PNG)
    with np.load(play / "gates.npz") as data:
        assert data["f_l1"].shape == (20, 8) and len(data["texts"]) == 20
    text = tmp_path / "other.txt"
    text.write_text("that is not the question\nto be or not\n" * 40)
    facts = facts_of(selfloop, play, text, "--steps", "9", "--out", tmp_path / "new" / "folder")
    assert sorted(facts) == ["gates", "memory"]
    layer = facts["gates"]["layers"]["layer 2"]
    assert 0 < layer["time_constants"]["c"]["median"] <= layer["time_constants"]["c"]["90%"]
    assert set(layer["saturation"]) == {"i", "f", "o"} and set(layer["saturation"]["f"]) == {"shut", "open"}
    assert facts["memory"]["spans"][-1] == 9 and facts["memory"]["uses"] in facts["memory"]["spans"]
    pictures = [*facts["gates"]["pictures"], *facts["memory"]["pictures"]]
    assert str(tmp_path / "new" / "folder" / "gates.png") in pictures
    assert {f"{name.rsplit('.', 1)[0]}.npz" for name in pictures} == {
        str(path) for path in (tmp_path / "new" / "folder").glob("*.npz")
    }


def test_one_of_them_alone(play, selfloop):
    assert list(facts_of(selfloop, play, "--gates", "--steps", "9")) == ["gates"]
    assert not (play / "memory.png").exists()
    assert list(facts_of(selfloop, play, "--memory", "--steps", "9")) == ["memory"]
    with np.load(play / "memory.npz") as data:
        assert {"gradient_after_1", "gradient_before_0", "time_constants_c_l1"} <= set(data)


def test_the_gradient_flow_of_a_language_model(play, selfloop, tmp_path):
    said = selfloop("inspect", play, "--gradient-flow", "--steps", "20")
    assert said.status == 0, said.err
    assert "layer 2, before training" in said.out and "layer 1, after" in said.out
    assert (play / "gradient_flow.png").read_bytes().startswith(PNG)
    facts = facts_of(selfloop, play, "--gradient-flow", "--steps", "20", "--out", tmp_path)["gradient_flow"]
    assert facts["pictures"] == [str(tmp_path / "gradient_flow.png")] and facts["lags"] == list(range(20))
    top = facts["relative_norms"]["layer 2"]
    assert len(top["before"]) == len(top["after"]) == 20
    assert top["before"][0] >= 1 > top["before"][-1] > 0


def test_a_classifier(selfloop, tmp_path):
    small = ("--set", "model.hidden_size=8", "--steps", "2")
    assert selfloop("train", "classify", "--run", tmp_path / "run", *small).status == 0
    facts = facts_of(selfloop, tmp_path / "run", "--gradient-flow", "--memory", "--gates")
    assert facts["gradient_flow"]["lags"] == list(range(64))
    assert facts["memory"]["spans"][-1] == 64 and facts["memory"]["unit"] == "step"
    assert "c" in facts["gates"]["layers"]["layer 1"]["time_constants"]


def test_a_labeller_forwards_and_in_both_directions(selfloop, tmp_path):
    small = ("--set", "model.hidden_size=8", "--set", "model.embedding_size=4", "--steps", "1")
    for name, way in (("forwards", ["--no-bidirectional"]), ("both", [])):
        assert selfloop("train", "label", "--run", tmp_path / name, *way, *small).status == 0
    facts = facts_of(selfloop, tmp_path / "forwards", "--gradient-flow", "--steps", "9")["gradient_flow"]
    assert facts["lags"] == list(range(9))
    said = selfloop("inspect", tmp_path / "both", "--gradient-flow")
    assert said.status == 2 and "Train one with --no-bidirectional" in " ".join(said.err.split())
    said = selfloop("inspect", tmp_path / "both", "--steps", "12")
    assert said.status == 0 and "the stack reads both ways" in said.out and "c of layer 1, backwards" in said.out


@pytest.fixture
def greetings(tmp_path):
    """Two files of lines that say the same."""
    for language, name in (("en", "man"), ("nl", "jan")):
        (tmp_path / f"all.{language}").write_text("".join(f"hello {name} {number}\n" for number in range(40)))
    return tmp_path / "all.en", tmp_path / "all.nl"


@pytest.mark.parametrize("task", ["translate", "caption"])
def test_a_writer(task, selfloop, tmp_path, greetings):
    small = ("--set", "model.hidden_size=8", "--set", "model.embedding_size=6", "--steps", "1")
    data = greetings if task == "translate" else ()
    assert selfloop("train", task, *data, "--run", tmp_path / "run", *small).status == 0
    facts = facts_of(selfloop, tmp_path / "run", "--steps", "12")
    assert facts["memory"]["unit"] == "token" and facts["gates"]["layers"]["layer 1"]["saturation"]["f"]["open"] >= 0


def test_without_its_word_vectors_the_model_before_training_is_left_out_and_that_is_said(selfloop, tmp_path):
    """What was shown had random vectors in their place."""
    rows = "".join(f"a {word} film,{word}\n" for word in ("good", "bad") * 20)
    (tmp_path / "films.csv").write_text("text,label\n" + rows)
    (tmp_path / "small.vec").write_text("film 1 2\ngood -1 0\n")
    small = ("--vectors", tmp_path / "small.vec", "--hidden", "8", "--steps", "1", "--run", tmp_path / "run")
    assert selfloop("train", "classify", tmp_path / "films.csv", *small).status == 0
    said = selfloop("inspect", tmp_path / "run", "--gradient-flow")
    assert "layer 1, before training" in said.out and "not shown" not in said.out
    (tmp_path / "small.vec").unlink()
    for option in ("--gradient-flow", "--memory"):
        said = selfloop("inspect", tmp_path / "run", option)
        assert said.status == 0, said.err
        assert "The model before its training is not shown. The word vectors" in said.out
        assert "layer 1, before training" not in said.out
    flow = facts_of(selfloop, tmp_path / "run", "--gradient-flow")["gradient_flow"]
    assert list(flow["relative_norms"]["layer 1"]) == ["after"]


def test_a_writer_that_is_fed_what_it_wrote(selfloop, tmp_path, greetings):
    small = ("--set", "model.hidden_size=8", "--set", "model.input_feeding=true", "--steps", "1")
    said = selfloop("train", "translate", *greetings, "--run", tmp_path / "run", *small)
    assert said.status == 0, said.err
    assert list(facts_of(selfloop, tmp_path / "run", "--steps", "12")) == ["gates"]
    said = selfloop("inspect", tmp_path / "run", "--memory")
    assert said.status == 2 and "input feeding cannot be cut" in " ".join(said.err.split())


def test_what_cannot_be_looked_into_is_said_in_one_sentence(play, selfloop, tmp_path):
    (tmp_path / "file").touch()
    for words, message in (
        ((play, "--gates", "--steps", "100000"), "are needed to look at 100,000 steps. Ask for fewer"),
        ((play, tmp_path / "file"), "The text has 0 tokens, and 232 are needed"),
        ((play, "--gates", "--steps", "9", "--out", tmp_path / "file" / "folder"), "cannot be written"),
        ((tmp_path / "gone", "--gradient-flow"), "gone"),
        ((play, "--memory", "--steps", "1"), "greater than or equal to 2"),
    ):
        said = selfloop("inspect", *words)
        assert said.status == 2 and message in " ".join(said.err.split()), said.err
        assert "Traceback" not in said.err
