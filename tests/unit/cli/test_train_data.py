"""What `selfloop train` says of the data before it trains, and the options for its parts, which all tasks share."""

import json

import numpy as np
import pytest
from PIL import Image

from selfloop.config import parse
from selfloop.tasks.reading import split_seed
from selfloop.tasks.table import TASKS as TABLE

TINY = ("--steps", "1", "--set", "model.hidden_size=4", "--set", "model.embedding_size=4")


def write_pairs(folder, part):
    rows = [{"source": f"{part} dog {k}", "target": f"{part} Hund {k}"} for k in range(8)]
    (folder / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def write_texts(folder, part):
    (folder / f"{part}.jsonl").write_text(f"{json.dumps({'text': part * 40})}\n" * 20)


def write_classes(folder, part):
    rows = [{"text": f"{part} {k}", "label": "xy"[k % 2]} for k in range(8)]
    (folder / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def write_steps(folder, part):
    rows = [{"words": [part, str(k)], "labels": ["x", "y"]} for k in range(8)]
    (folder / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def write_captions(folder, part):
    for k in range(8):
        image = np.full((8, 8, 3), k, np.uint8)
        image[0, 0] = len(part) + 100 * (part[0] == "t")
        Image.fromarray(image).save(folder / f"{part}{k}.png")
    rows = [{"file_name": f"{part}{k}.png", "caption": "a b"} for k in range(8)]
    (folder / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


TASKS = {
    "lm": (write_texts, ("--set", "training.batch_size=4", "--set", "data.window=8")),
    "classify": (write_classes, ()),
    "label": (write_steps, ()),
    "translate": (write_pairs, ("--tokenizer", "word")),
    "caption": (write_captions, ("--set", "data.size=[8,8]", "--set", "model.feature_size=4")),
}


@pytest.fixture
def chosen(selfloop, monkeypatch):
    """Runs a command line up to where training would begin, and gives the configuration."""

    def run(*arguments):
        found = []
        monkeypatch.setattr("selfloop.cli.train._begin", lambda task, config, *_: found.append(config))
        assert selfloop(*arguments).status == 0
        return found[0]

    return run


@pytest.mark.parametrize("task", TASKS)
def test_every_task_takes_valid_and_test(task, chosen):
    data = chosen("train", task, "a", "--valid", "b", "--test", "c").data
    assert (data.source, data.valid, data.test) == ("a", "b", "c")


@pytest.mark.parametrize("task", [task for task in TASKS if task != "lm"])  # lm holds out the end of its text
def test_a_seed_moves_training_and_what_is_held_out_at_random(task, chosen):
    config = chosen("train", task, "a", "--seed", "3")
    assert (config.training.seed, split_seed(config)) == (3, 3)
    config = chosen("train", task, "a", "--seed", "3", "--split-seed", "4")
    assert (config.training.seed, split_seed(config)) == (3, 4)


@pytest.mark.parametrize("task", [task for task in TASKS if task != "translate"])
def test_every_task_that_reads_folders_shows_the_files_of_each_part(task, selfloop, tmp_path):
    write, options = TASKS[task]
    for part in ("train", "dev"):
        write(tmp_path, part)
    (tmp_path / "notes.pdf").write_bytes(b"\0")
    said = selfloop("train", task, tmp_path, *TINY, *options, "--run", tmp_path / "run")
    assert said.status == 0, said.err
    lines = [line.strip() for line in said.err.splitlines()]
    shown = [line for line in lines if line.startswith(("train  ", "valid  ", "ignored  "))]
    assert shown == ["train  train.jsonl", "valid  dev.jsonl", "ignored  notes.pdf"]


def test_many_files_are_shown_as_a_few(selfloop, tmp_path):
    for name in "abcdefg":
        (tmp_path / f"{name}.txt").write_text("".join(f"{name} {k}\n" for k in range(9)))
    said = selfloop("train", "classify", tmp_path, *TINY, "--run", tmp_path / "run")
    assert "  train  a.txt, b.txt, c.txt, d.txt, e.txt, … (7 in all) (also valid)\n" in said.err


def test_inputs_that_training_has_too_are_said(selfloop, tmp_path):
    write_classes(tmp_path, "one")
    given = (tmp_path / "one.jsonl", "--valid", tmp_path / "one.jsonl")
    said = selfloop("train", "classify", *given, *TINY, "--run", tmp_path / "run")
    assert "note  8 validation inputs are in training, too" in said.err
    said = selfloop("train", "classify", *given, *TINY, "--run", tmp_path / "other", "--json")
    assert json.loads(said.out)["repeated"] == {"valid": 8}


@pytest.mark.parametrize("task", ["classify", "label", "translate", "caption"])
def test_the_seed_of_the_data_moves_what_is_held_out(task, tmp_path):
    write, _ = TASKS[task]
    write(tmp_path, "one")
    held = []
    for seed in (1, 1, 2, 3, 4):
        data = {
            "source": str(tmp_path / "one.jsonl"),
            "split_seed": seed,
            **({"size": [8, 8]} if task == "caption" else {}),
        }
        found = TABLE[task].learner(parse(TABLE[task].config, {"data": data}, "test")).parts()["valid"]
        held.append([picture.name for picture in found.inputs] if task == "caption" else found.inputs)
    assert held[0] == held[1] and any(other != held[0] for other in held[2:])
