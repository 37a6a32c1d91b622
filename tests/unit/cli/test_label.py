import csv
import io
import json

import numpy as np
import pytest

av = pytest.importorskip("av", reason="videos need PyAV")

SMALL = ("--set", "model.hidden_size=8", "--set", "model.embedding_size=4", "--set", "training.batch_size=4")


@pytest.fixture(scope="module")
def lights(tmp_path_factory):
    """A table of clips in which a light is on or off."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    with (folder / "lights.jsonl").open("w") as file:
        for number in range(12):
            on = draw.integers(0, 2, 10)
            frames = draw.integers(0, 40, (10, 16, 16), dtype=np.uint8)
            frames[on == 1] += 200
            np.save(folder / f"{number}.npy", frames)
            file.write(json.dumps({"video": f"{number}.npy", "labels": ["on" if k else "off" for k in on]}) + "\n")
    return folder / "lights.jsonl"


@pytest.fixture
def film(tmp_path, lights):
    """The first clip as a film, in the middle of larger frames."""
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "gray"
        for small in np.load(lights.with_name("0.npy")):
            frame = np.zeros((48, 64), np.uint8)
            frame[8:40, 16:48] = small.repeat(2, 0).repeat(2, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode())
    return path


def test_a_film_is_labelled_drawn_and_streamed(lights, film, selfloop, tmp_path):
    run = tmp_path / "run"
    said = selfloop("train", "label", lights, "--no-bidirectional", "--run", run, "--steps", "60", *SMALL, "--json")
    assert said.status == 0, said.err
    assert json.loads(said.out)["valid"]["accuracy"] > 0.9
    for picture in ("confusion.png", "timeline.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG")

    truth = json.loads(lights.read_text().splitlines()[0])["labels"]
    crop = ("--set", "data.crop=[8,16,32,32]")
    (line,) = selfloop("predict", run, film, *crop, "--picture", tmp_path / "film.png").out.splitlines()
    answer = json.loads(line)
    assert (answer["input"], answer["labels"]) == (str(film), truth)
    assert len(answer["probabilities"]) == len(truth) and all(0.5 < p <= 1 for p in answer["probabilities"])
    assert answer.keys() == {"input", "labels", "probabilities"}
    assert (tmp_path / "film.png").read_bytes().startswith(b"\x89PNG")
    assert selfloop("predict", run, film, *crop, "--stream", "--format", "text").out.split() == truth
    assert selfloop("predict", run, film, *crop, "--stream").out.splitlines()[0] == json.dumps(
        {"step": 0, "label": truth[0]}
    )
    table = selfloop("predict", run, film, *crop, "--format", "csv").out
    assert selfloop("predict", run, film, *crop, "--stream", "--format", "csv").out == table
    rows = selfloop("predict", run, lights, "--format", "csv", "--picture", tmp_path / "all.svg").out.splitlines()
    assert rows[0] == "input,step,label,probability" and len(rows) == 1 + 12 * 10
    assert json.loads(selfloop("evaluate", run, lights, "--json").out)["lights.jsonl"]["edit"] > 90

    said = selfloop("predict", run, film, "--set", "model.hidden_size=9")
    assert (said.status, said.out) == (2, "")
    assert "--set can change data.… here, the rest is as it was trained. Got 'model.hidden_size=9'" in said.err
    said = selfloop("predict", run, film, film, "--stream")
    assert said.status == 2 and "takes one film, one camera or one address. Got 2" in said.err
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    said = selfloop("predict", run, tmp_path / "bad.mp4", "--stream")
    assert said.status == 2 and "bad.mp4 cannot be read as a video" in said.err


def test_a_model_of_both_directions_does_not_stream(lights, film, selfloop, tmp_path):
    assert selfloop("train", "label", lights, "--run", tmp_path / "run", "--steps", "1", *SMALL).status == 0
    said = selfloop("predict", tmp_path / "run", film, "--stream")
    assert said.status == 2 and "must see the end before it says the beginning" in said.err
    assert "Traceback" not in said.err


def test_bad_sequences_are_listed_in_the_runs_folder(lights, selfloop, tmp_path):
    source = lights.with_name("some.jsonl")
    source.write_text(lights.read_text() + json.dumps({"video": "gone.mp4", "labels": ["on"]}) + "\n")
    said = selfloop("train", "label", source, "--run", tmp_path / "run", "--steps", "1", *SMALL)
    assert said.status == 2 and "some.jsonl, line 13 (gone.mp4) names 'gone.mp4', and there is no such file" in said.err
    assert not (tmp_path / "run").exists()
    said = selfloop("train", "label", source, "--skip-bad", "--run", tmp_path / "run", "--steps", "1", *SMALL)
    assert said.status == 0
    (skipped,) = (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()
    assert "gone.mp4" in skipped
    said = selfloop("evaluate", tmp_path / "run", source)
    assert said.status == 0 and "left out: " in said.err and "gone.mp4" in said.err


def test_what_cannot_be_used_is_left_out_where_that_is_asked_for(lights, selfloop, tmp_path):
    """By evaluate it could not be, though the error said so; predict did not hear of --set."""
    run = tmp_path / "run"
    assert selfloop("train", "label", lights, "--no-bidirectional", "--run", run, "--steps", "1", *SMALL).status == 0
    source = lights.with_name("some.jsonl")
    source.write_text(lights.read_text() + json.dumps({"video": "gone.mp4", "labels": ["on"]}) + "\n")
    for verb, *more in (("evaluate",), ("predict",), ("inspect", "--gates", "--out", tmp_path / "inside")):
        refused = selfloop(verb, run, source, *more).sentence
        assert "names 'gone.mp4'" in refused and "leave such items out with --skip-bad" in refused
        for option in (["--skip-bad"], ["--set", "data.skip_bad=true"])[: 1 if verb == "inspect" else 2]:
            said = selfloop(verb, run, source, *more, *option)
            assert said.status == 0, said.err
            assert verb == "inspect" or ("left out: " in said.err and "gone.mp4" in said.err)


def test_labels_of_words_stand_beside_the_words(selfloop, tmp_path, monkeypatch):
    (tmp_path / "tags.tsv").write_text("the\tD\ncat\tN\n\na\tD\ndog\tN\n\n" * 10)
    run = tmp_path / "run"
    assert selfloop("train", "label", tmp_path / "tags.tsv", "--run", run, "--steps", "40", *SMALL).status == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("the dog\n\na  cat\n"))
    found = [json.loads(line) for line in selfloop("predict", run).out.splitlines()]
    assert [(one["input"], one["words"], len(one["labels"]), len(one["probabilities"])) for one in found] == [
        ("line 1", ["the", "dog"], 2, 2),
        ("line 3", ["a", "cat"], 2, 2),
    ]
    (tmp_path / "new.txt").write_text("the dog\n")
    table = list(csv.DictReader(io.StringIO(selfloop("predict", run, tmp_path / "new.txt", "--format", "csv").out)))
    assert [[*row][:3] for row in table] == [["input", "step", "word"]] * 2
    assert [(row["step"], row["word"]) for row in table] == [("0", "the"), ("1", "dog")]
    assert [row["label"] for row in table] == found[0]["labels"]
    assert [float(row["probability"]) for row in table] == found[0]["probabilities"]
