"""``selfloop train caption`` from the command line to captions, and what is refused on the way."""

import csv
import io
import json
import signal

import numpy as np
import pytest
from PIL import Image

from selfloop.training.checkpoint import read_tensors

SMALL = ("model.hidden_size=16", "model.embedding_size=8", "model.feature_size=8", "training.batch_size=8")
OPTIONS = [word for assignment in (*SMALL, "data.size=[16,16]") for word in ("--set", assignment)]


@pytest.fixture
def photos(tmp_path):
    """Forty images of one colour, and what they are."""
    folder = tmp_path / "photos"
    folder.mkdir()
    draw, lines = np.random.default_rng(0), ["image,caption"]
    for number in range(40):
        colour = ("red", "green", "blue")[number % 3]
        Image.new("RGB", (20, int(draw.integers(12, 30))), colour).save(folder / f"{number:02}.png")
        lines += [f"{number:02}.png,A {colour} image.", f"{number:02}.png,all of it is {colour}"]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def run(photos, selfloop, tmp_path):
    path = tmp_path / "run"
    said = selfloop("train", "caption", photos, "--run", path, "--steps", 60, *OPTIONS, "--json")
    assert said.status == 0, said.err
    result = json.loads(said.out)
    assert {"loss", "perplexity", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "cider"} == set(result["valid"])
    assert (path / "captions.png").read_bytes().startswith(b"\x89PNG")
    return path


def test_images_are_captioned_in_each_form_and_scored(run, photos, selfloop, tmp_path):
    lines = [json.loads(line) for line in selfloop("predict", run, photos / "00.png", photos).out.splitlines()]
    assert len(lines) == 41 and lines[0] == lines[1] and set(lines[0]) == {"input", "caption", "log_probability"}
    said = selfloop("predict", run, photos, "--format", "csv", "--picture", tmp_path / "sheet.png")
    table = list(csv.DictReader(io.StringIO(said.out)))
    assert [row["input"] for row in table] == [str(photos / f"{number:02}.png") for number in range(40)]
    assert (tmp_path / "sheet.png").exists()
    texts = selfloop("predict", run, photos / "00.png", "--format", "text").out
    assert texts == f"{table[0]['caption']}\n" and texts.strip()
    facts = json.loads(selfloop("evaluate", run, photos / "captions.csv", "--json").out)["captions.csv"]
    assert facts["tokens"] == 40 * (4 + 6)
    shown = selfloop("evaluate", run).out
    assert "valid" in shown and "BLEU-4" in shown and "CIDEr" in shown


def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_bits(photos, selfloop, tmp_path, monkeypatch):
    options = ["train", "caption", photos, "--steps", 12, *OPTIONS, "--set", "model.scheduled_sampling=0.3"]
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert selfloop(*options, "--run", whole, "--json").status == 0
    calls = iter([0] * 5 + [signal.SIGINT] * 100)

    def stop(screen):
        screen.stopped_by = next(calls)
        return bool(screen.stopped_by)

    with monkeypatch.context() as patch:
        patch.setattr("selfloop.app.screen.Screen.stop", stop)
        assert selfloop(*options, "--run", parted, "--json").status == 130
    assert selfloop("train", "caption", "--resume", parted, "--json").status == 0
    for file in ("model.safetensors", "resume/last.safetensors"):
        one, other = (read_tensors(path / file)[0] for path in (whole, parted))
        assert all(one[name].equal(other[name]) for name in one)


def test_what_cannot_be_used_is_left_out_counted_and_listed(photos, selfloop, tmp_path):
    (photos / "03.png").write_bytes((photos / "03.png").read_bytes()[:50])
    with (photos / "captions.csv").open("a") as file:
        file.write("gone.png,x\n04.png,\n")
    arguments = ["train", "caption", photos, "--steps", 2, *OPTIONS, "--run", tmp_path / "run"]
    said = selfloop(*arguments)
    assert (said.status, said.out) == (2, "")
    assert "captions.csv, line 82 names the image 'gone.png', and there is none of that name in" in said.err
    assert not (tmp_path / "run").exists()
    said = selfloop(*arguments, "--skip-bad")
    assert said.status == 0, said.err
    assert "3 left out, listed in skipped.jsonl" in " ".join(said.err.split())
    reasons = [json.loads(line)["reason"] for line in (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()]
    assert len(reasons) == 3 and "has an empty caption" in reasons
    said = selfloop("predict", tmp_path / "run", photos, "--skip-bad", "--format", "text")
    assert len(said.out.splitlines()) == 39 and "left out: " in said.err and "03.png" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "caption", "{photos}", "--encoder", "smal"), "There is no encoder 'smal'; did you mean 'small'?"),
        (
            ("train", "caption", "{photos}", "--encoder", "own.py:eye"),
            "is to come from own.py, which is not a file here",
        ),
        (
            ("train", "caption", "{photos}", "--condition", "look"),
            "it must be 'state', 'input' or 'attend'. Got 'look'",
        ),
        (("train", "caption", "{photos}", "--caption", "said"), "no column 'said' for the caption, only 'image', 'cap"),
        (("train", "caption", "{photos}", "--images", "gone.zip"), "gone.zip, which does not exist"),
        (("train", "caption", "{photos}", "--set", "data.size=[8,0]"), "sets 'data.size.1' wrongly: it must be"),
        (("train", "caption", "gone.csv"), "There is no file or folder gone.csv"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_sentence(photos, selfloop, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = selfloop(*(word.format(photos=photos) for word in words), "--steps", 1)
    assert (said.status, said.out) == (2, "")
    assert message in said.err
    assert not (tmp_path / "runs").exists()


def test_images_of_another_source_are_beside_its_list_or_where_they_are_said_to_be(photos, selfloop, tmp_path):
    """A table to predict took images of the same names that the run was trained on."""
    run, there, here = tmp_path / "run", tmp_path / "there", tmp_path / "here"
    lists = photos / "captions.csv"
    said = selfloop("train", "caption", lists, "--images", photos, "--run", run, "--steps", 1, *OPTIONS)
    assert said.status == 0, said.err
    for folder in (there, here):
        folder.mkdir()
    (here / "few.csv").write_text("key,image,caption\nr7,00.png,A white image.\n")
    for words in (["predict", run, here / "few.csv"], ["evaluate", run, here / "few.csv"]):
        assert "names the image '00.png', and there is none of that name in" in selfloop(*words).err
        said = selfloop(*words, "--set", "data.images=gone")
        assert "The images are to come from gone, which does not exist" in said.err
    Image.new("RGB", (9, 9), "white").save(there / "00.png")
    elsewhere = ("--set", f"data.images={there}", "--id", "key")
    (answer,) = selfloop("predict", run, here / "few.csv", *elsewhere).out.splitlines()
    assert (json.loads(answer)["input"], json.loads(answer)["id"]) == (str(there / "00.png"), "r7")
    table = tmp_path / "said.csv"
    assert selfloop("evaluate", run, here / "few.csv", *elsewhere, "--predictions", table).status == 0
    assert [row["id"] for row in csv.DictReader(io.StringIO(table.read_text()))] == ["r7"]
    assert selfloop("evaluate", run).status == 0  # of its own images
    said = selfloop("evaluate", run, "--set", f"data.images={there}")
    assert f"there is none of that name in {there}" in said.err


@pytest.mark.parametrize("field", ["size=[32,32]", "tokenizer=bpe", "mirror=true"])
def test_what_a_trained_model_keeps_cannot_be_set(photos, selfloop, tmp_path, field):
    """It was ignored."""
    run = tmp_path / "run"
    assert selfloop("train", "caption", photos, "--run", run, "--steps", 1, *OPTIONS).status == 0
    for verb in ("predict", "evaluate"):
        said = selfloop(verb, run, photos, "--set", f"data.{field}")
        name = field.partition("=")[0]
        assert (said.status, said.out) == (2, "")
        assert f"--set cannot change data.{name}, which a trained model keeps" in said.err
    assert selfloop("evaluate", run, photos, "--set", "data.size=[16,16]").status == 0


def test_what_cannot_be_predicted_is_said_in_one_sentence(run, photos, selfloop):
    for words, message in (
        (["predict", run], "This model reads no text, and nothing else comes as lines: give files or folders."),
        (["predict", run, photos / "gone.png"], "There is no file or folder"),
        (["predict", run, "--stream", photos], "predict --stream is for runs of label"),
        (["evaluate", run, photos / "00.png"], "holds no captions that can be read"),
    ):
        said = selfloop(*words)
        assert (said.status, said.out) == (2, "")
        assert message in said.err
