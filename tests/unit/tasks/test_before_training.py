"""The model before its training is the very one that the first update saw."""

import pytest
import torch

from selfloop.errors import DataError
from selfloop.tasks.table import TASKS

OWN = """
from torch import nn

def eye():
    return nn.Conv2d(3, 5, 16, stride=16)

def frozen():
    return eye().requires_grad_(False)
"""


def begun(task, **options):
    """A learner of the task before its first update."""
    model = {"hidden_size": 6, **options.pop("model", {})}
    return TASKS[task].learner(TASKS[task].config.model_validate({"model": model, **options}))


def assert_seen_again(learner):
    """The model that has changed tells what it was, and is not changed by that; nor is other randomness."""
    first = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.add_(1)
    trained = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    random = torch.get_rng_state()
    before = learner.opened().before_training()
    assert torch.equal(torch.get_rng_state(), random) and not before.training
    assert before.state_dict().keys() == first.keys()
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, first[name]), name
    for name, tensor in learner.model.state_dict().items():
        assert torch.equal(tensor, trained[name]), name
    return before


@pytest.mark.parametrize("task", TASKS)
def test_of_each_task_with_its_own_data(task):
    assert_seen_again(begun(task, training={"seed": 5}))


@pytest.mark.parametrize("name", ["eye", "frozen"])
def test_of_captions_with_an_encoder_of_ones_own(name, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    learner = begun("caption", model={"encoder": f"{tmp_path / 'own.py'}:{name}"}, data={"size": (32, 32)})
    images = torch.randint(0, 255, (2, 32, 32, 3), dtype=torch.uint8)
    seen = learner.inputs.vision.grid(images) if name == "frozen" else images
    first = learner.model.eval().features(seen).detach()
    assert torch.equal(assert_seen_again(learner).features(seen), first)


@pytest.fixture
def films(tmp_path):
    """A learner of texts that begins with word vectors."""
    (tmp_path / "films.csv").write_text(
        "text,label\n" + "".join(f"a {word} film,{word}\n" for word in ("good", "bad") * 10)
    )
    (tmp_path / "small.vec").write_text("film 1 2 3 4\ngood -1 0 0 1\nGood 7 7 7 7\nunheard 5 5 5 5\n<unk> 9 9 9 9\n")

    def learner(**data):
        paths = {"source": str(tmp_path / "films.csv"), "vectors": str(tmp_path / "small.vec")}
        return begun("classify", data={**paths, **data})

    return learner


def test_of_a_run_that_began_with_word_vectors(films):
    assert_seen_again(films())


def test_vectors_that_are_gone_or_have_changed_are_one_sentence(films, tmp_path):
    learner = films()
    (tmp_path / "small.vec").write_text("film 1 2 3\n")
    with pytest.raises(DataError, match=r"small\.vec has vectors of 3 numbers, and the run began with vectors of 4"):
        learner.opened().before_training()
    (tmp_path / "small.vec").unlink()
    with pytest.raises(DataError, match=r"small\.vec cannot be read"):
        learner.opened().before_training()
