import csv
import io
import json

import pytest


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A folder with a text file a class."""
    folder = tmp_path_factory.mktemp("data") / "words"
    folder.mkdir()
    for label, letter in (("first", "a"), ("second", "b")):
        (folder / f"{label}.txt").write_text("".join(f"{letter * (1 + n % 7)}\n" for n in range(40)))
    return folder


@pytest.fixture
def run(words, selfloop, tmp_path, made_once):
    def train(path):
        small = (
            "--set",
            "model.hidden_size=8",
            "--set",
            "model.embedding_size=4",
            "--set",
            "training.learning_rate=0.03",
        )
        said = selfloop("train", "classify", words, "--run", path, "--steps", "80", *small, "--json")
        assert said.status == 0, said.err
        result = json.loads(said.out)
        assert result["valid"]["accuracy"] == 1.0
        assert (path / "confusion.png").read_bytes().startswith(b"\x89PNG")

    return made_once(train, tmp_path / "run")


def test_stdin_that_is_no_text_is_one_sentence(run, selfloop, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("na\xefve\n".encode("latin-1")), "utf-8"))
    said = selfloop("predict", run)
    assert said.status == 2
    assert "stdin must be utf-8. Got other bytes" in said.err


def test_names_in_brackets_are_shown_as_they_are(words, selfloop, tmp_path):
    """They were taken for colours, or ended in a traceback."""
    (tmp_path / "data").mkdir()
    for name, path in zip(("[inst].txt", "[neutral].txt"), sorted(words.iterdir()), strict=True):
        (tmp_path / "data" / name).write_bytes(path.read_bytes())
    small = ("--hidden-size", "8", "--embedding-size", "4", "--steps", "4")
    assert selfloop("train", "classify", tmp_path / "data", "--run", tmp_path / "run", *small).status == 0
    said = selfloop("evaluate", tmp_path / "run")
    assert said.status == 0, said.err
    assert "[inst]" in said.out and "[neutral]" in said.out


def test_a_file_is_predicted_in_each_form(run, selfloop, tmp_path):
    new = tmp_path / "new.txt"
    new.write_text("aaa\nbb\n")
    lines = [json.loads(line) for line in selfloop("predict", run, new).out.splitlines()]
    assert [line["label"] for line in lines] == ["first", "second"]
    assert lines[0]["input"].endswith("new.txt, line 1")
    assert [line["text"] for line in lines] == ["aaa", "bb"]
    assert lines[0]["probabilities"]["first"] > 0.9
    table = list(csv.DictReader(io.StringIO(selfloop("predict", run, new, "--format", "csv").out)))
    assert [*table[0]] == ["input", "text", "label", "probability"]
    assert [(row["input"], row["text"]) for row in table] == [(f"{new}, line 1", "aaa"), (f"{new}, line 2", "bb")]
    assert [(row["label"], float(row["probability"]) > 0.9) for row in table] == [("first", True), ("second", True)]
    assert selfloop("predict", run, new, "--format", "text").out == "first\nsecond\n"


def test_stdin_is_read_a_text_a_line(run, selfloop, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("bbb\n\naa\n"))
    assert selfloop("predict", run, "--format", "text").out == "second\nfirst\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("bbb\n\naa\n"))
    found = [json.loads(line) for line in selfloop("predict", run).out.splitlines()]
    assert [(one["input"], one["text"]) for one in found] == [("line 1", "bbb"), ("line 3", "aa")]


def test_evaluate_gives_each_class(run, words, selfloop):
    facts = json.loads(selfloop("evaluate", run, words, "--json").out)["words"]
    assert facts["accuracy"] == 1.0
    assert facts["examples"] == 80
    assert [(row["name"], row["support"]) for row in facts["classes"]] == [("first", 40), ("second", 40)]
    shown = selfloop("evaluate", run).out
    assert "accuracy" in shown and "second" in shown


@pytest.mark.parametrize(
    ("words_after", "message"),
    [
        (("{run}", "gone.txt"), "There is no file or folder gone.txt"),
        (("{run}", "--format", "xml"), "The --format must be one of jsonl, csv, text. Got 'xml' instead."),
        (("gone",), "gone does not exist. Give the folder"),
    ],
)
def test_what_cannot_be_predicted_is_said_in_one_sentence(run, selfloop, words_after, message):
    said = selfloop("predict", *(word.format(run=run) for word in words_after))
    assert (said.status, said.out) == (2, "")
    assert message in said.err


def test_a_language_model_does_not_predict(run_folder, selfloop):
    said = selfloop("predict", run_folder, "x.txt")
    assert said.status == 2
    assert "is of lm: use selfloop generate" in said.err
