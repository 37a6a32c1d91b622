import csv
import io
import json

import pytest

WORDS = {"one": "een", "two": "twee", "red": "rode", "green": "groene", "dog": "hond", "cat": "kat"}
SMALL = [
    word
    for assignment in (
        "model.hidden_size=8",
        "model.embedding_size=4",
        "training.learning_rate=0.03",
        "data.max_length=9",
    )
    for word in ("--set", assignment)
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two files, line by line."""
    folder = tmp_path_factory.mktemp("data")
    names = [folder / "words.en", folder / "words.nl"]
    for path, words in zip(names, (WORDS.keys(), WORDS.values()), strict=True):
        path.write_text("".join(f"{a} {b}\n" for a in words for b in words))
    return names


@pytest.fixture
def run(files, selfloop, tmp_path, made_once):
    def train(path):
        said = selfloop(
            "train", "translate", *files, "--tokenizer", "word", "--run", path, "--steps", 60, *SMALL, "--json"
        )
        assert said.status == 0, said.err
        result = json.loads(said.out)
        assert result["valid"].keys() == {"loss", "perplexity", "bleu", "chrf", "bleu_signature", "chrf_signature"}
        assert (path / "attention.png").read_bytes().startswith(b"\x89PNG")

    return made_once(train, tmp_path / "run")


def test_a_file_is_translated_in_each_form_line_by_line(run, selfloop, tmp_path):
    new = tmp_path / "new.en"
    new.write_text("red dog\n\none cat\n")
    lines = [json.loads(line) for line in selfloop("predict", run, new).out.splitlines()]
    assert [line["source"] for line in lines] == ["red dog", "", "one cat"]
    assert lines[0]["input"].endswith("new.en, line 1")
    assert lines[0]["log_probability"] < 0
    assert lines[1]["translation"] == ""
    table = list(csv.DictReader(io.StringIO(selfloop("predict", run, new, "--format", "csv").out)))
    assert [row["translation"] for row in table] == [line["translation"] for line in lines]
    text = selfloop("predict", run, new, "--format", "text").out
    assert text.split("\n")[:-1] == [line["translation"] for line in lines]


def test_stdin_is_translated_a_line_each_also_an_empty_one(run, selfloop, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("red dog\n\none\n"))
    lines = selfloop("predict", run, "--format", "text").out.split("\n")
    assert len(lines) == 4
    assert lines[1] == ""


def test_evaluate_gives_bleu_and_chrf_with_their_signatures(run, files, selfloop):
    facts = json.loads(selfloop("evaluate", run, *files, "--json").out)["words.en"]
    assert 0 <= facts["bleu"] <= 100
    assert facts["tokens"] == 36 * 3
    assert facts["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert facts["chrf_signature"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    shown = selfloop("evaluate", run).out
    assert "BLEU" in shown and "chrF" in shown and "tok:13a" in shown


def test_bad_pairs_are_refused_or_counted_and_listed(files, selfloop, tmp_path):
    source, target = tmp_path / "bad.en", tmp_path / "bad.nl"
    source.write_text(files[0].read_text() + "\nlong " * 1 + "dog " * 20 + "\n")
    target.write_text(files[1].read_text() + "leeg\nlang hond\n")
    command = ("train", "translate", source, target, "--tokenizer", "word", "--steps", 2, *SMALL, "--run")
    said = selfloop(*command, tmp_path / "refused")
    assert said.status == 2
    assert "bad.en, line 37 has no text in its source. Fix it" in said.err
    assert not (tmp_path / "refused").exists()
    said = selfloop(*command, tmp_path / "skipped", "--skip-bad")
    assert said.status == 0, said.err
    listed = [json.loads(line) for line in (tmp_path / "skipped" / "skipped.jsonl").read_text().splitlines()]
    assert f"{len(listed)} left out, listed in skipped.jsonl" in " ".join(said.err.split())
    assert any("has no text in its source" in str(entry) for entry in listed)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train translate {en} {short}", "They have 36 and 2 lines: align them first."),
        ("train translate {en}", "words.en holds one language, a sentence a line"),
        ("train translate {en} {nl} --attention luong", "sets 'model.attention' wrongly: it must be 'general', 'dot'"),
        ("train translate {en} {nl} --set model.hidden_size=7", "The 'hidden_size' of EncoderDecoder must be even"),
        ("train translate {en} {nl} --set model.input_feeding=true --attention none", "The 'input_feeding' of a decod"),
        ("evaluate {run} {en}", "words.en holds one language, a sentence a line"),
        ("evaluate {run} {en} {short}", "They have 36 and 2 lines: align them first."),
        ("predict {run} {run}/gone.en", "gone.en: give one that exists"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(run, files, selfloop, tmp_path, monkeypatch, command, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.nl").write_text("een\ntwee\n")
    places = {"en": files[0], "nl": files[1], "short": tmp_path / "short.nl", "run": run}
    said = selfloop(*command.format(**places).split())
    assert (said.status, said.out) == (2, "")
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
