import pytest
import torch

from selfloop.errors import ArgumentError
from selfloop.models import FrameEncoder, NumberEncoder, TokenEncoder


def test_tokens_become_their_vectors():
    encoder = TokenEncoder(5, 3)
    tokens = torch.tensor([[0, 4], [2, 2]])
    assert torch.equal(encoder(tokens), encoder.embedding.weight[tokens])


def test_numbers_get_mean_zero_and_deviation_one():
    x = torch.randn(50, 4, 3) * torch.tensor([0.1, 1.0, 40.0]) + torch.tensor([5.0, 0.0, -7.0])
    flat = x.flatten(0, 1)
    encoder = NumberEncoder(3)
    encoder.fit(flat.mean(0).tolist(), flat.std(0, correction=0).tolist())
    scaled = encoder(x).flatten(0, 1)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_a_channel_that_never_changes_is_shifted_and_not_divided_by_zero():
    encoder = NumberEncoder(2)
    encoder.fit([3.0, 1.0], [0.0, 2.0])
    assert encoder(torch.tensor([[[3.0, 5.0]]])).tolist() == [[[0.0, 2.0]]]


def test_the_scale_is_kept_with_the_weights():
    fitted, fresh = NumberEncoder(1), NumberEncoder(1)
    fitted.fit([3.0], [2.0])
    fresh.load_state_dict(fitted.state_dict())
    assert fresh(torch.tensor([[[5.0]]])).item() == 1.0


@pytest.mark.parametrize("colour", [False, True])
def test_each_frame_is_seen_by_itself(colour):
    encoder = FrameEncoder(9, 17, 3 if colour else 1, size=6).eval()
    frames = torch.randint(0, 256, (4, 2, 9, 17, *([3] if colour else [])), dtype=torch.uint8)
    together = encoder(frames)
    assert together.shape == (4, 2, 6)
    torch.testing.assert_close(together[2:3, 1:2], encoder(frames[2:3, 1:2]))
    assert not torch.allclose(together[2, 1], together[0, 0])


def test_frames_that_are_too_small_are_refused():
    with pytest.raises(ArgumentError, match=r"at least 8 × 8 pixels. Got 7 × 40 instead"):
        FrameEncoder(7, 40, 1, size=4)
