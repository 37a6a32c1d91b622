"""Word vectors to begin with."""

import numpy as np
import pytest
import torch

from selfloop.config import parse
from selfloop.errors import ConfigError, DataError
from selfloop.options import ClassifyConfig, LabelConfig
from selfloop.tasks.classify import Classification
from selfloop.tasks.label import Labelling
from selfloop.training import Run

VECTORS = "film 1 2 3 4\ngood -1 0 0 1\nonce 2 2 2 2\nunheard 5 5 5 5\n"


@pytest.fixture
def make(tmp_path):
    """A classifier of sentences, or a labeller of words, that begins with vectors."""

    def learner(task="classify", vectors=VECTORS, model=None, inputs=None, **data):
        file = tmp_path / "small.vec"
        file.write_text(vectors)
        if task == "classify":
            source = tmp_path / "films.csv"
            rows = [f"A {word} film {number},{word}\n" for number in range(10) for word in ("good", "bad")]
            source.write_text("text,label\n" + "".join(rows))
        else:
            source = tmp_path / "tags.tsv"
            sentence = "A\tO\ngood\tO\nFilm\tB-x\n\n"
            source.write_text("Once\tO\n" + sentence * 10)
        values = {
            "data": {"source": str(source), "valid": str(source), "vectors": str(file), **data},
            "model": model or {},
        }
        values["model"] = {"hidden_size": 8, **values["model"]}
        kinds = {"classify": (Classification, ClassifyConfig), "label": (Labelling, LabelConfig)}
        trains, config = kinds[task]
        return trains(parse(config, values, "test"), inputs)

    return learner


@pytest.mark.parametrize("task", ["classify", "label"])
def test_known_words_begin_with_their_vectors_brought_to_the_spread_of_the_others(make, task):
    learner = make(task)
    words, table = learner.inputs.vocabulary.words, learner.model.encoder.embedding.weight.detach()
    assert learner.config.model.embedding_size == table.shape[1] == 4
    film, good = table[words.index("film")], table[words.index("good")]
    scale = film[0] / 1
    torch.testing.assert_close(film, scale * torch.tensor([1.0, 2, 3, 4]))
    torch.testing.assert_close(good, scale * torch.tensor([-1.0, 0, 0, 1]))
    assert 0.2 < table.std() < 2
    assert "unheard" not in words
    assert any("small.vec" in note and note.startswith("vectors of ") for note in learner.bad.notes)


def test_a_word_that_comes_once_is_known_if_it_has_a_vector(make):
    assert "once" in make("label").inputs.vocabulary.words
    assert "once" not in make("label", vectors=VECTORS.replace("once", "twice")).inputs.vocabulary.words


def test_a_run_that_is_resumed_does_not_need_the_file(make, tmp_path):
    first = make()
    run = Run.create(tmp_path / "run", "classify", first.config.model_dump(mode="json"))
    first.save(run)
    (tmp_path / "small.vec").unlink()
    again = Classification.resume(first.config, run, None)
    assert again.inputs.vocabulary.words == first.inputs.vocabulary.words
    assert again.model.encoder.embedding.weight.shape == first.model.encoder.embedding.weight.shape
    assert again.facts() == first.facts()


def test_vectors_of_another_size_than_was_asked_for_are_refused(make):
    with pytest.raises(ConfigError, match=r"embedding_size must be 4, as of the vectors in .*small\.vec\. Got 64 inst"):
        make(model={"embedding_size": 64})
    assert make(model={"embedding_size": 4}).config.model.embedding_size == 4


def test_vectors_are_refused_where_examples_are_not_read_as_words(make, tmp_path):
    with pytest.raises(ConfigError, match=r"The vectors in .* are of words, and films is not read as words"):
        make(tokenizer="char")
    np.savez(tmp_path / "walks.npz", x=np.zeros((9, 3, 2), np.float32), y=np.arange(9) % 2)
    with pytest.raises(ConfigError, match=r"are of words, and walks is not read as words"):
        make(source=str(tmp_path / "walks.npz"), valid=None)


def test_vectors_of_none_of_the_words_are_refused(make):
    with pytest.raises(DataError, match=r"small\.vec has a vector for none of the \d+ words"):
        make(vectors="Haus 1 2\n")


def test_vectors_of_none_of_the_words_that_are_known_are_refused(make):
    """They ended in a traceback."""
    with pytest.raises(ConfigError, match=r"^No word that data\.vocab_size lets the model know has a vector"):
        make(vocab_size=2)
