"""Which of a score's sequences are drawn, and what is written beside them."""

from types import SimpleNamespace

import numpy as np
import pytest

from selfloop.app import pictures
from selfloop.metrics import Confusion
from selfloop.tasks.label.score import Score
from selfloop.tasks.score import Attention


@pytest.fixture
def drawn(monkeypatch):
    """What `draw_timeline` and `draw_confusion` are given."""
    given = {}

    def draw_timeline(names, true, predicted, classes, path, *, words=None):
        given.update(names=names, true=true, predicted=predicted, classes=classes, words=words)

    monkeypatch.setattr(pictures, "draw_timeline", draw_timeline)
    monkeypatch.setattr(pictures, "draw_confusion", lambda confusion, path, *, unit="example": given.update(unit=unit))
    return given


def score_of(sentences, places=None, words=True):
    """A score whose predictions are the true tags."""
    tags = [["LOC" if word[0].isupper() else "O" for word in sentence] for sentence in sentences]
    places = places or [f"news.tsv, line {1 + 10 * k}" for k in range(len(tags))]
    return Score(1.0, Confusion.of(["LOC", "O"], [0], [0]), tags, tags, places, sentences if words else ())


def draw(score, folder):
    return pictures.draw_score(SimpleNamespace(path=folder), score, "step")


def test_sequences_with_labels_of_several_kinds_come_first(drawn, tmp_path):
    sentences = [["it", "rains"]] * 5 + [["from", "Oslo"]] * 4
    assert draw(score_of(sentences), tmp_path) == ["confusion.png", "timeline.png"]
    assert drawn["words"] == [["from", "Oslo"]] * 4 + [["it", "rains"]] * 2
    assert drawn["names"] == ["line 51", "line 61", "line 71", "line 81", "line 1", "line 11"]
    assert drawn["classes"] == ["O", "LOC"]  # the most frequent first
    assert drawn["true"] == drawn["predicted"] == [[0, 1]] * 4 + [[0, 0]] * 2
    assert drawn["unit"] == "step"


def test_of_a_long_text_the_beginning_is_shown(drawn, tmp_path):
    draw(score_of([["from", "Oslo"] * 500, ["to", "Rome"]]), tmp_path)
    assert [len(words) for words in drawn["words"]] == [len(tags) for tags in drawn["true"]] == [80, 2]
    assert drawn["names"] == ["line 1, first 80 words", "line 11"]


def test_names_of_files_stand_beside_what_is_of_several(drawn, tmp_path):
    places = ["clips/a.mp4", "clips.jsonl, line 2 (clips/b.mp4)"]
    draw(score_of([["From", "x"], ["to", "Y"]], places, words=False), tmp_path)
    assert drawn["names"] == ["a.mp4", "b.mp4"]
    assert drawn["words"] is None


def test_the_key_of_a_series_is_no_path(drawn, tmp_path):
    places = [f"/data/days.csv, line {line} (series '2012/01/0{line}')" for line in (2, 3)]
    draw(score_of([["From", "x"], ["to", "Y"]], places, words=False), tmp_path)
    assert drawn["names"] == ["series '2012/01/02'", "series '2012/01/03'"]


def test_several_attentions_are_drawn(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(pictures, "draw_attentions", lambda alignments, path: given.extend(alignments))
    alignments = [(np.ones((1, 1)), ["a"], ["b"])] * 3
    assert draw(SimpleNamespace(drawings=lambda: [Attention(alignments)]), tmp_path) == ["attention.png"]
    assert len(given) == 3
