"""What a run keeps and shows at its end: predictions that can be joined to the data, mistakes, the time of scoring."""

import csv
import json
import shutil

import pytest
from rich.console import Console

import selfloop as sl
from selfloop.app import screen
from selfloop.app.predictions import read_table, save_table
from selfloop.errors import RunError
from selfloop.tasks.table import TASKS

SMALL = {"hidden_size": 8, "embedding_size": 4, "batch_size": 8, "learning_rate": 0.03, "steps": 4, "quiet": True}
WORDS = {
    part: [[(f"w{(row + step) % 5}", "XY"[step % 2 if row % 7 else 0]) for step in range(4)] for row in range(count)]
    for part, count in (("train", 30), ("dev", 6), ("test", 7))
}


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, and a finished run of each of three tasks."""
    folder = tmp_path_factory.mktemp("results")
    lines = [
        f'{"train" if n < 40 else "valid" if n < 52 else "test"},k{n},"say ""{letter * (1 + n % 7)}"", {n}",{label}'
        for n, (label, letter) in enumerate([("one", "a"), ("two", "b")] * 32)
    ]
    (folder / "words.csv").write_text("\n".join(["split,ID,text,label", *lines]) + "\n")
    for part, sentences in WORDS.items():
        text = "\n\n".join("\n".join("\t".join(pair) for pair in sentence) for sentence in sentences)
        (folder / f"{part}.tsv").write_text(text + "\n")
    (folder / "tags").mkdir()
    for part in WORDS:
        (folder / f"{part}.tsv").rename(folder / "tags" / f"{part}.tsv")
    pairs = "\n".join(f"{n} Dogs  bark\tEin Hund {n}" for n in range(30))
    (folder / "pairs.tsv").write_text(f"source\ttarget\n{pairs}\n")
    sl.train("classify", folder / "words.csv", run=folder / "classify", **SMALL)
    sl.train("label", folder / "tags", run=folder / "label", **SMALL)
    sl.train("translate", folder / "pairs.tsv", run=folder / "translate", lowercase=True, beam=1, **SMALL)
    return folder


def test_predictions_of_texts_are_joined_by_id_and_by_line(place):
    results = json.loads((place / "classify" / "results.json").read_text())
    source = rows_of(place / "words.csv")
    by_id = {row["ID"]: row for row in source}
    for part in ("valid", "test"):
        rows = rows_of(place / "classify" / f"{part}_predictions.csv")
        assert [*rows[0]] == ["input", "id", "text", "label", "probability", "true_label", "correct"]
        assert [row["id"] for row in rows] == [row["ID"] for row in source if row["split"] == part]
        for row in rows:
            file, _, line = row["input"].rpartition(", line ")
            assert file == str(place / "words.csv") and source[int(line) - 2] is by_id[row["id"]]
            assert (row["text"], row["true_label"]) == (by_id[row["id"]]["text"], by_id[row["id"]]["label"])
            assert row["correct"] == str(row["label"] == row["true_label"]) and 0.5 <= float(row["probability"]) <= 1
        share = sum(row["correct"] == "True" for row in rows) / len(rows)
        assert share == pytest.approx(results[part]["accuracy"])


def test_predictions_of_words_are_a_row_a_step(place):
    rows = rows_of(place / "label" / "test_predictions.csv")
    assert [*rows[0]] == ["input", "step", "word", "label", "probability", "true_label", "correct"]
    assert [(row["word"], row["true_label"]) for row in rows] == [pair for one in WORDS["test"] for pair in one]
    results = json.loads((place / "label" / "results.json").read_text())
    share = sum(row["correct"] == "True" for row in rows) / len(rows)
    assert share == pytest.approx(results["test"]["accuracy"])


def test_predictions_of_translations_stand_beside_those_of_the_data(place):
    row, *_ = rows_of(place / "translate" / "valid_predictions.csv")
    assert [*row] == ["input", "source", "translation", "log_probability", "reference", "correct"]
    number = row["source"].split()[0]
    assert (row["source"], row["reference"]) == (f"{number} Dogs  bark", f"ein hund {number}")


def test_evaluate_keeps_predictions_of_any_data(place, selfloop, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    said = selfloop("evaluate", place / "classify", "--predictions", tmp_path / "own.csv")
    assert said.status == 0, said.err
    rows = rows_of(tmp_path / "own.csv")
    assert [row["part"] for row in rows] == ["valid"] * 12 + ["test"] * 12
    kept = [
        *rows_of(place / "classify" / "valid_predictions.csv"),
        *rows_of(place / "classify" / "test_predictions.csv"),
    ]
    assert [{name: value for name, value in row.items() if name != "part"} for row in rows] == kept
    (tmp_path / "new.csv").write_text("key,text,label\n7,aaa,one\n8,bbb,one\n")
    said = selfloop("evaluate", place / "classify", tmp_path / "new.csv", "--id", "key", "--predictions",
                    tmp_path / "new_said.csv")  # fmt: skip
    assert said.status == 0, said.err
    assert [(row["part"], row["id"], row["text"]) for row in rows_of(tmp_path / "new_said.csv")] == [
        ("new.csv", "7", "aaa"),
        ("new.csv", "8", "bbb"),
    ]
    said = selfloop("predict", place / "classify", tmp_path / "new.csv", "--id", "key")
    assert [json.loads(line)["id"] for line in said.out.splitlines()] == ["7", "8"]
    said = selfloop("predict", place / "classify", tmp_path / "new.csv", "--id", "keys")
    assert said.status == 2 and "has no column 'keys' for the id" in said.err


def test_predictions_that_cannot_be_written_are_one_sentence(place, selfloop, tmp_path):
    (tmp_path / "file").write_text("")
    said = selfloop("evaluate", place / "classify", "--predictions", tmp_path / "file" / "said.csv")
    assert said.status == 2 and "choose another place" in said.err and "Traceback" not in said.err


def test_rows_of_several_files_have_the_columns_of_all(tmp_path):
    long = "one\r\ntwo, " * 20_000
    save_table(tmp_path / "a.csv", [{"input": "a", "label": 1}, {"input": "b", "id": "x", "label": 2}])
    save_table(tmp_path / "long.csv", [{"text": long}])
    assert read_table(tmp_path / "long.csv") == [{"text": long}]
    assert rows_of(tmp_path / "a.csv") == [
        {"input": "a", "label": "1", "id": ""},
        {"input": "b", "label": "2", "id": "x"},
    ]


@pytest.mark.parametrize(("task", "count"), [("classify", 12), ("label", 28)])
def test_mistakes_are_those_of_the_table_the_most_confident_first(place, task, count):
    model = sl.load(place / task)
    score = model.score(model.parts()["test"])
    wrong = [row for row in rows_of(place / task / "test_predictions.csv") if row["correct"] == "False"]
    mistakes = score.mistakes()
    assert 0 < len(mistakes) < count
    expected = sorted((f"{float(row['probability']):.4f}", row["label"], row["true_label"]) for row in wrong)
    assert sorted((f"{one.probability:.4f}", one.predicted, one.true) for one in mistakes) == expected
    assert [one.probability for one in mistakes] == sorted((one.probability for one in mistakes), reverse=True)
    assert all("say" in one.shown if task == "classify" else "[w" in one.shown for one in mistakes)


def test_the_command_line_shows_mistakes_at_the_end_and_in_evaluate(place, selfloop, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    options = [str(word) for name, value in SMALL.items() if name != "quiet"
               for word in (f"--{name.replace('_', '-')}", value)]  # fmt: skip
    said = selfloop("train", "classify", place / "words.csv", *options, "--run", "again")
    assert said.status == 0, said.err
    assert "mistakes on the test data, the most confident first:" in said.err
    assert "again holds the model, metrics.jsonl, results.json, curves.png, valid_predictions.csv, " in said.err
    assert "validation holds 12 examples, too few for reliable figures: --folds 5 trains five times" in said.err
    shown = next(line for line in said.err.splitlines() if ", truly " in line)
    assert "words.csv, line " in shown and "say" in shown
    said = selfloop("evaluate", "again")
    assert "mistakes on the validation data" in said.out and "mistakes on the test data" in said.out


def test_enough_validation_examples_are_not_warned_of(tmp_path):
    lines = [f"{'ab'[n % 2]} {n},{'ab'[n % 2]}" for n in range(200)]
    (tmp_path / "many.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    for fraction, is_few in ((0.245, True), (0.25, False)):
        run = tmp_path / f"run-{fraction}"
        model = sl.train("classify", tmp_path / "many.csv", run=run, valid_fraction=fraction, **SMALL)
        assert any("too few" in note for note in model.results["notes"]) == is_few


def test_a_model_tells_its_task_classes_cell_size_and_scores(place):
    model = sl.load(place / "classify")
    accuracy = json.loads((place / "classify" / "results.json").read_text())["test"]["accuracy"]
    assert model.results["test"]["accuracy"] == accuracy
    size = sum(p.numel() for p in model.model.parameters())
    shown = repr(model)
    assert shown.startswith(
        f"<Classifier {place / 'classify'} (classify): 2 classes (one, two); lstm, 1 × 8 units, {size:,}"
    )
    assert f"; test {TASKS['classify'].show(model.results['test'])}>" in shown and "; validation " in shown
    assert "2 labels (X, Y)" in repr(sl.load(place / "label"))
    assert "types of tokens (bpe)" in repr(sl.load(place / "translate"))


def test_a_run_without_scores_or_with_damaged_ones_opens(place, tmp_path):
    shutil.copytree(place / "classify", tmp_path / "run")
    for text in ('{"valid": {"accuracy": "high"}, "test": 3}', "[1]", "{", None):
        (tmp_path / "run" / "results.json").write_text(text) if text else (tmp_path / "run" / "results.json").unlink()
        assert repr(sl.load(tmp_path / "run")).endswith("parameters>")


def test_a_scoring_that_was_stopped_is_made_by_resume(place, tmp_path, selfloop, monkeypatch):
    shutil.copytree(place / "classify", tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    with pytest.raises(RunError, match="is finished"):
        sl.resume(tmp_path / "run", quiet=True)
    (tmp_path / "run" / "results.json").unlink()

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("selfloop.tasks.classify.Classifier.score", stop)
        said = selfloop("train", "classify", "--resume", tmp_path / "run")
    assert said.status != 0 and "Traceback" not in said.err
    assert "The scores are missing; the model is saved. To score it:" in said.err
    model = sl.resume(tmp_path / "run", quiet=True)
    assert model.results["test"] == results["test"] and model.results["steps"] == results["steps"]


def test_long_scoring_is_announced_once_and_short_scoring_is_not(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    now = 0.0
    monkeypatch.setattr(screen.time, "perf_counter", lambda: now)
    with screen.scoring(
        Console(stderr=True, highlight=False), TASKS["translate"], "; Ctrl-C leaves it out"
    ) as report_of:
        report = report_of("test", range(1014))
        for now in (1.0, 3.0, 30.0, 300.0):
            report(now / 300)
        report = report_of("valid", range(20))
        report(0.2)
    assert capsys.readouterr().err == "Scoring 1,014 test examples takes about 5:00; Ctrl-C leaves it out.\n"


def test_what_is_scored_tells_how_far_it_is(place):
    for task in ("classify", "label", "translate"):
        model, shares = sl.load(place / task), []
        model.score(model.parts()["valid"], report=shares.append)
        assert shares == sorted(shares) and shares[-1] == 1.0, task
