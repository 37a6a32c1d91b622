import pytest
import torch
from torch import nn

from selfloop import cells
from selfloop.errors import ArgumentError
from selfloop.models.image_writer import ImageWriter
from selfloop.models.vision import Pretrained, SmallVision, Vision

conditions = pytest.mark.parametrize("condition", ["state", "input", "attend"])
TARGET = torch.tensor([[1, 1, 1], [4, 5, 6], [2, 3, 4]])


def make(vision, condition="attend", **options):
    torch.manual_seed(2)
    model = ImageWriter(
        vision, 7, cells.lstm, feature_size=10, embedding_size=6, hidden_size=8, condition=condition, **options
    )
    if model.places is not None:
        nn.init.normal_(model.places)
    return model


@pytest.fixture
def small():
    torch.manual_seed(1)
    return Vision("small", SmallVision(4), (32, 48))


@pytest.fixture
def frozen():
    torch.manual_seed(1)
    return Vision("mine", nn.Conv2d(3, 5, 8, stride=8).requires_grad_(False), (32, 48))


@pytest.fixture
def images():
    return torch.randint(256, (3, 32, 48, 3), dtype=torch.uint8)


@conditions
def test_steps_write_what_the_whole_pass_reads(small, images, condition):
    model = make(small, condition).eval()
    state, steps = model.encode(images), []
    for tokens in TARGET:
        logits, state = model.step(tokens, state)
        steps.append(logits)
    torch.testing.assert_close(torch.stack(steps), model(images, TARGET))


@conditions
def test_an_encoder_that_is_trained_is_a_part_of_the_model(small, images, condition):
    model = make(small, condition)
    model(images, TARGET).log_softmax(-1).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert any(name.startswith("vision.") for name in model.state_dict())


@conditions
def test_places_are_left_out_in_training_alone_others_of_each_image(frozen, condition):
    seen = torch.randn(3, 24, 5)
    model = make(frozen, condition, place_dropout=0.4)
    whole = make(frozen, condition).features(seen)
    torch.testing.assert_close(model.eval().features(seen), whole)
    features = model.train().features(seen)
    if condition != "attend":
        assert features.shape == whole.shape
        assert not torch.allclose(features, whole)
        return
    assert features.shape == (14, 3, 10)
    places = [{(whole[:, b] - own).abs().sum(-1).argmin().item() for own in features[:, b]} for b in range(3)]
    assert [len(own) for own in places] == [14, 14, 14]
    assert places[0] != places[1]
    for b in range(3):
        for own in features[:, b]:
            assert torch.isclose(whole[:, b], own, atol=1e-6).all(-1).any()


def test_one_place_is_left_at_least(frozen):
    assert make(frozen, place_dropout=0.99).features(torch.randn(3, 24, 5)).shape == (1, 3, 10)
    with pytest.raises(ArgumentError, match=r"The 'place_dropout' must be a share of at least 0 and below 1. Got 1"):
        make(frozen, place_dropout=1.0)


def test_of_a_frozen_one_the_model_takes_what_it_has_seen(frozen, images):
    model = make(frozen).eval()
    assert not any(name.startswith("vision.") for name in model.state_dict())
    seen = frozen.grid(images)
    assert seen.shape == (3, *frozen.shape) == (3, 24, 5)
    assert model(seen, TARGET).shape == (3, 3, 7)
    torch.testing.assert_close(model(seen.half(), TARGET), model(seen, TARGET), atol=1e-2, rtol=0)


def test_where_something_stands_matters_to_what_attends_alone(frozen, images):
    seen = frozen.grid(images)
    turned = seen.flip(1)
    for condition, alike in (("attend", False), ("state", True)):
        model = make(frozen, condition).eval()
        assert torch.allclose(model(seen, TARGET), model(turned, TARGET), atol=1e-5) is alike


def test_places_stand_row_by_row(images):
    vision = Vision("as it is", nn.MaxPool2d(16), (32, 48))
    white = torch.zeros_like(images)
    white[:, :16, 32:] = 255  # above, on the right
    assert vision.grid(white)[0, :, 0].tolist() == [0, 0, 1, 0, 0, 0]
    assert Vision("flat", nn.Flatten(), (2, 2)).grid(images[:, :2, :2]).shape == (3, 1, 12)


def test_a_pretrained_network_is_given_what_it_was_trained_on():
    network = nn.Linear(4, 4)
    network.look = lambda images: images
    pretrained = Pretrained(network, (0.5, 0.5, 0.5), (0.25, 0.5, 1.0), "look")
    assert pretrained(torch.ones(1, 3, 1, 1)).flatten().tolist() == [2.0, 1.0, 0.5]
    assert not any(parameter.requires_grad for parameter in pretrained.parameters())


def test_a_digest_tells_encoders_apart():
    torch.manual_seed(0)
    one, other = SmallVision(2), SmallVision(2)
    digests = {
        Vision(name, network, (32, 32), code).digest
        for name, network, code in (("a", one, ""), ("b", one, ""), ("a", other, ""), ("a", one, "x"))
    }
    assert len(digests) == 4 and Vision("a", one, (64, 64)).digest in digests
