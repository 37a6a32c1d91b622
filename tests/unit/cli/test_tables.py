import json

import pytest

SMALL = ("--steps", "2", "--set", "model.hidden_size=4", "--set", "training.batch_size=4")


@pytest.fixture
def reviews(tmp_path):
    """A table without names."""
    path = tmp_path / "reviews.tsv"
    path.write_text("".join(f'a {word} "film\t{n % 2}\n' for n in range(10) for word in ("good", "bad")))
    return path


def shown(text):
    """What the screen shows, on one line: it breaks long ones."""
    return " ".join(text.split())


def test_a_table_without_names_is_refused_and_then_read_by_number(reviews, selfloop, tmp_path):
    said = selfloop("train", "classify", reviews, *SMALL)
    assert (said.status, said.out) == (2, "")
    assert (
        "Got the number '0' above a column of numbers: write a line of names above it, or give --no-header" in said.err
    )
    run = tmp_path / "run"
    said = selfloop("train", "classify", reviews, "--no-header", "--input", "1", "--label", "2", *SMALL, "--run", run)
    assert said.status == 0, said.err
    assert "18 examples to train on, 2 to validate with" in shown(said.err)
    assert "input: '1' (text); label: '2'" in shown(said.err)
    said = selfloop("train", "classify", reviews, "--no-header", *SMALL, "--run", tmp_path / "again", "--json")
    few = (
        "validation holds 2 examples, too few for reliable figures: --folds 5 trains five times, and validates on every"
    )
    assert json.loads(said.out)["notes"] == ["input: '1' (text); label: '2'", f"{few} example once"]
    assert len(selfloop("predict", run, reviews, "--format", "text").out.splitlines()) == 20
    facts = json.loads(selfloop("evaluate", run, reviews, "--json").out)["reviews.tsv"]
    assert facts["examples"] == 20


def test_predict_and_evaluate_take_another_form_than_training(reviews, selfloop, tmp_path):
    named, run = tmp_path / "named.tsv", tmp_path / "run"
    named.write_text("text\tlabel\n" + reviews.read_text())
    assert selfloop("train", "classify", named, *SMALL, "--run", run).status == 0
    assert selfloop("predict", run, reviews).status == 2
    more = ("--no-header", "--set", "data.input=1", "--set", "data.label=2")
    assert len(selfloop("predict", run, reviews, *more).out.splitlines()) == 20
    assert json.loads(selfloop("evaluate", run, reviews, *more, "--json").out)["reviews.tsv"]["examples"] == 20


@pytest.mark.parametrize("task", ["classify", "label"])
def test_rows_of_steps_train_and_predict(task, selfloop, tmp_path):
    rows = [f"{walk},{n},{n * walk},{'up' if walk % 2 else 'down'}" for walk in range(8) for n in (3, 1, 2)]
    path, run = tmp_path / "walks.csv", tmp_path / "run"
    path.write_text("walk,second,height,way\n" + "\n".join(rows) + "\n")
    options = ("--series", "walk", "--time", "second", "--label", "way")
    said = selfloop("train", task, path, *options, *SMALL, "--run", run)
    assert said.status == 0, said.err
    assert "a series: the rows of one 'walk', by 'second'; channels: 'height'" in shown(said.err)
    answers = [json.loads(line) for line in selfloop("predict", run, path).out.splitlines()]
    assert len(answers) == 8
    if task == "label":
        assert {len(answer["labels"]) for answer in answers} == {3}


@pytest.mark.parametrize("task", ["classify", "label"])
def test_columns_of_numbers_are_taken_by_name(task, selfloop, tmp_path):
    """Those of another file were taken by their place, and gave other numbers without a word."""

    def write(name, *columns):
        rows = [
            {"walk": walk, "second": n, "x": n * walk, "y": 100 - n, "way": "up" if walk % 2 else "down", "note": n}
            for walk in range(8)
            for n in range(3)
        ]
        lines = [",".join(str(row[column]) for column in columns) for row in rows]
        (tmp_path / name).write_text("\n".join([",".join(columns), *lines, ""]))
        return tmp_path / name

    run, train = tmp_path / "run", write("train.csv", "walk", "second", "x", "y", "way")
    valid = write("valid.csv", "y", "x", "way", "second", "walk")
    options = ("--series", "walk", "--time", "second", "--label", "way", "--valid", valid)
    said = selfloop("train", task, train, *options, *SMALL, "--run", run)
    assert said.status == 0, said.err
    facts = json.loads(selfloop("evaluate", run, train, "--json").out)["train.csv"]
    other = write("other.csv", "note", "y", "walk", "way", "x", "second")
    assert json.loads(selfloop("evaluate", run, other, "--json").out)["other.csv"] == facts
    assert json.loads(selfloop("evaluate", run, "--json").out)["valid"] == facts
    write("valid.csv", "way", "x", "y", "walk", "second")  # the run's own data, written anew
    assert json.loads(selfloop("evaluate", run, "--json").out)["valid"] == facts
    new = write("new.csv", "note", "y", "walk", "x", "second")
    answers = [
        [{**json.loads(line), "input": ""} for line in selfloop("predict", run, path).out.splitlines()]
        for path in (train, new)
    ]
    assert len(answers[0]) == 8 and answers[0] == answers[1]
    said = selfloop("predict", run, write("less.csv", "walk", "second", "x"))
    assert said.status == 2
    assert (
        "less.csv has no column 'y', which the training data have, only 'walk', 'second', 'x': name its columns as "
        "the training data do." in shown(said.err)
    )


def test_a_language_model_says_its_column(selfloop, tmp_path):
    path = tmp_path / "posts.csv"
    path.write_text("n;body\n" + "".join(f"{n};the cat, again\n\n" for n in range(400)))
    said = selfloop("train", "lm", path, *SMALL, "--run", tmp_path / "run")
    assert said.status == 0, said.err
    assert "posts.csv is read with ';' between cells" in shown(said.err)
    assert "text: 'body'" in shown(said.err)
    assert "400 rows of" in shown(said.err) and "hold no text" in shown(said.err)


def test_the_name_of_a_column_of_ids_is_text(selfloop, tmp_path):
    table = tmp_path / "words.csv"
    rows = [f"{'ab'[n % 2] * 3}{n} c,{'ab'[n % 2]},row {n}\n" for n in range(24)]
    table.write_text("".join(["text,label,1.50\n", *rows]))
    ids = ("--id", "1.50")
    made = selfloop("train", "classify", table, *ids, *SMALL, "--run", tmp_path / "run")
    assert made.status == 0, made.err
    said = selfloop("predict", tmp_path / "run", table, *ids, "--format", "csv")
    assert said.status == 0, said.err
    assert "id" in said.out.splitlines()[0].split(",") and "row 23" in said.out
