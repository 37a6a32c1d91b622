import numpy as np
import pytest

from selfloop.data import Tokenizer
from selfloop.data.examples import Examples
from selfloop.errors import RunError
from selfloop.models import FrameEncoder, NumberEncoder, TokenEncoder
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


def test_text_comes_with_its_tokenizer(run):
    inputs = Inputs("text", (), ("a", "b"), Tokenizer.train("char", ["to be"]))
    inputs.save(run)
    loaded = Inputs.load(run)
    texts = Examples(["be", "", "to"], [], ["1", "2", "3"])
    assert [a.tolist() for a in loaded.arrays(texts)] == [a.tolist() for a in inputs.arrays(texts)]
    assert [len(a) for a in loaded.arrays(texts)] == [2, 1, 2]
    assert isinstance(loaded.encoder(5), TokenEncoder)


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
