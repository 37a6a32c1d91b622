"""Many to one, and many to many step by step."""

import pytest
import torch

from selfloop.cells import ZOO
from selfloop.errors import ArgumentError
from selfloop.models import FrameEncoder, ManyToMany, ManyToOne, NumberEncoder, TokenEncoder

MODELS = (ManyToOne, ManyToMany)


def answers(model, x, lengths=None):
    found = model(x, lengths=lengths)
    return found if isinstance(model, ManyToOne) else found[0]


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_one_sequence_has_one_answer_in_any_batch(pooling, bidirectional):
    torch.manual_seed(1)
    options = {"hidden_size": 6, "num_layers": 2, "pooling": pooling, "bidirectional": bidirectional}
    model = ManyToOne(NumberEncoder(3), ZOO["gru"], 4, **options).eval().requires_grad_(False)
    x, lengths = torch.randn(7, 3, 3), torch.tensor([7, 2, 5])
    together = model(x, lengths)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(together[row], model(x[:length, row : row + 1])[0])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_answer_at_each_step_does_not_depend_on_the_batch(bidirectional):
    torch.manual_seed(1)
    model = ManyToMany(NumberEncoder(3), ZOO["lstm"], 4, hidden_size=6, bidirectional=bidirectional)
    model.eval().requires_grad_(False)
    x, lengths = torch.randn(7, 2, 3), torch.tensor([7, 4])
    logits, _ = model(x, lengths=lengths)
    alone, _ = model(x[:4, 1:])
    torch.testing.assert_close(logits[:4, 1:], alone)


def test_steps_give_the_answers_of_the_whole_sequence():
    model = ManyToMany(TokenEncoder(9, 5), ZOO["gru"], 4, hidden_size=6, num_layers=2).eval().requires_grad_(False)
    tokens = torch.randint(9, (6, 3))
    whole, last = model(tokens)
    state = None
    for t, row in enumerate(tokens):
        logits, state = model.step(row, state)
        torch.testing.assert_close(logits, whole[t])
    torch.testing.assert_close(state.h, last.h)


def test_two_directions_cannot_step():
    model = ManyToMany(TokenEncoder(9, 5), ZOO["gru"], 4, hidden_size=6, bidirectional=True)
    with pytest.raises(ArgumentError, match="bidirectional"):
        model.step(torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("kind", MODELS)
def test_every_weight_has_a_gradient(kind):
    options = {"pooling": "attention"} if kind is ManyToOne else {}
    model = kind(TokenEncoder(9, 5), ZOO["lstm"], 4, hidden_size=6, num_layers=2, bidirectional=True, **options)
    answers(model, torch.randint(9, (6, 3))).square().sum().backward()
    # the softmax of attention does not see a shift of all its scores
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_outputs": 0}, "The 'num_outputs' of Many.* must be at least 1. Got 0 instead"),
        ({"output_dropout": 1.0}, "The 'output_dropout' must be a share"),
        ({"sizes": {"q": 3}}, "q"),
    ],
)
def test_what_does_not_fit_is_named(kind, options, message):
    arguments = {"num_outputs": 3, "hidden_size": 4, **options}
    with pytest.raises(ArgumentError, match=message):
        kind(NumberEncoder(2), ZOO["lstm"], **arguments)


@pytest.mark.parametrize("kind", MODELS)
def test_frames_beyond_a_sequences_end_are_in_no_batch_statistics(kind):
    model, alone = (kind(FrameEncoder(8, 8, 1, size=3), ZOO["gru"], 4, hidden_size=6) for _ in range(2))
    alone.load_state_dict(model.state_dict())
    frames, lengths = torch.randint(256, (7, 2, 8, 8), dtype=torch.uint8), torch.tensor([7, 4])
    frames[4:, 1] = 255
    answers(model, frames, lengths)
    alone.encoder(torch.cat([frames[:, 0], frames[:4, 1]])[:, None])
    for name, buffer in alone.encoder.named_buffers():
        torch.testing.assert_close(model.encoder.get_buffer(name), buffer)


class Normalised(torch.nn.Module):
    """An encoder that knows of the whole batch."""

    output_size = 3

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(x.flatten(0, 1)).unflatten(0, x.shape[:2])


@pytest.mark.parametrize("kind", MODELS)
def test_an_encoder_never_sees_what_lies_beyond_a_sequences_end(kind):
    model = kind(Normalised(), ZOO["gru"], 4, hidden_size=6)
    x, lengths = torch.randn(7, 2, 3), torch.tensor([7, 4])
    there = torch.cat([x[:, 0], x[:4, 1]])
    x[4:, 1] = torch.nan
    assert answers(model, x, lengths)[:4].isfinite().all()
    torch.testing.assert_close(model.encoder.norm.running_mean, 0.1 * there.mean(0))
