import numpy as np
import pytest

from selfloop.data import Tokenizer
from selfloop.data.examples import Columns, Examples
from selfloop.data.text.vocabulary import Vocabulary
from selfloop.errors import RunError
from selfloop.models import FrameEncoder, NumberEncoder, TokenEncoder, WordEncoder
from selfloop.tasks.inputs import Inputs, fit_scale
from selfloop.training import Run


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", "classify", {})


@pytest.mark.parametrize(
    ("kind", "shape", "encoder"),
    [("series", (3,), NumberEncoder), ("frames", (8, 9), FrameEncoder), ("frames", (8, 9, 3), FrameEncoder)],
)
def test_what_is_kept_is_what_is_loaded(run, kind, shape, encoder):
    inputs = Inputs(kind, shape, ("né", "b"))
    inputs.save(run)
    assert Inputs.load(run) == inputs
    assert isinstance(inputs.encoder(5), encoder)
    assert inputs.indices(["b", "né"]).tolist() == [1, 0]


@pytest.mark.parametrize("columns", [Columns(channels=("x", "né")), Columns(steps=("1", "2"))])
def test_the_columns_of_series_are_kept(run, columns):
    inputs = Inputs("series", (len(columns.channels) or 1,), ("a", "b"), columns=columns)
    inputs.save(run)
    assert Inputs.load(run) == inputs


def test_two_columns_of_one_name_are_damage(run):
    Inputs("series", (2,), ("a", "b"), columns=Columns(channels=("x", "x"))).save(run)
    with pytest.raises(RunError, match="a column has the name of another"):
        Inputs.load(run)


def test_text_comes_with_its_tokenizer(run):
    inputs = Inputs("text", (), ("a", "b"), Tokenizer.train("char", ["to be"]))
    inputs.save(run)
    loaded = Inputs.load(run)
    texts = Examples(["be", "", "to"], [], ["1", "2", "3"])
    assert [a.tolist() for a in loaded.arrays(texts)] == [a.tolist() for a in inputs.arrays(texts)]
    assert [len(a) for a in loaded.arrays(texts)] == [2, 1, 2]
    assert isinstance(loaded.encoder(5), TokenEncoder)


@pytest.mark.parametrize("kind", ["words", "text"])
def test_words_come_with_their_vocabulary(run, kind):
    inputs = Inputs(kind, (), ("a", "b"), vocabulary=Vocabulary.of([["to", "be", "to"]]))
    inputs.save(run)
    assert Inputs.load(run) == inputs
    sentences = ["to, be", ""] if kind == "text" else [["to", ",", "be"], [""]]
    arrays = Inputs.load(run).arrays(Examples(sentences, [], ["1", "2"]))
    assert [a[:, 0].tolist() for a in arrays] == [[1, 0, 0], [0]]
    assert isinstance(inputs.encoder(5), WordEncoder)


def test_text_that_was_read_by_a_tokenizer_of_words_still_is(run):
    """As runs were made before there were n-grams."""
    inputs = Inputs("text", (), ("a", "b"), Tokenizer.train("word", ["to be"]))
    inputs.save(run)
    arrays = Inputs.load(run).arrays(Examples(["be to"], [], ["1"]))
    assert [a.tolist() for a in arrays] == [inputs.tokenizer.encode("be to")]


@pytest.mark.parametrize("content", [None, "{", '{"kind": "series"}', "[]"])
def test_a_file_that_is_damaged_is_named(run, content):
    if content is not None:
        (run.path / "inputs.json").write_text(content)
    with pytest.raises(
        RunError, match=r"inputs\.json (is missing or damaged|sets no 'shape'|is wrong: it must be a section)"
    ):
        Inputs.load(run)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_scale_is_that_of_all_steps(dtype):
    arrays = np.random.default_rng(0).integers(0, 255, (2500, 6, 2)).astype(dtype)
    for given in (arrays, list(arrays)):
        encoder = NumberEncoder(2)
        fit_scale(encoder, given)
        np.testing.assert_allclose(encoder.mean, arrays.mean((0, 1), dtype=np.float64), rtol=1e-5)
        np.testing.assert_allclose(encoder.deviation, arrays.std((0, 1), dtype=np.float64), rtol=1e-5)
