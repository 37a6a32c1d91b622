import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from selfloop.data import Streams
from selfloop.errors import ArgumentError, DataError

START = 60_000


@st.composite
def streams(draw):
    """Streams over tokens that are their own places, so that a token tells where it was read."""
    batch_size, window = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    n = draw(st.integers(batch_size * window, 80).filter(lambda n: n >= batch_size * window))
    seed = draw(st.none() | st.integers(0, 2**40))
    return n, Streams(np.arange(n, dtype=np.uint16), batch_size=batch_size, window=window, start_id=START, seed=seed)


def epoch_of(source, epoch, rows=slice(None)):
    windows = [source.window(epoch, k, rows) for k in range(source.windows_per_epoch)]
    return tuple(torch.cat(parts) for parts in zip(*windows, strict=True))


@given(streams(), st.integers(0, 3))
def test_every_token_is_a_target_once_but_for_the_few_left_over(case, epoch):
    n, source = case
    _, targets = epoch_of(source, epoch)
    seen = targets.flatten().tolist()
    assert len(seen) == len(set(seen)) == n - n % source.batch_size
    if epoch == 0:
        assert sorted(seen) == list(range(len(seen)))


@given(streams(), st.integers(0, 3))
def test_the_input_is_the_token_before_the_target(case, epoch):
    _, source = case
    inputs, targets = epoch_of(source, epoch)
    assert torch.equal(inputs, torch.where(targets == 0, START, targets - 1))


@given(streams(), st.integers(0, 3))
def test_a_stream_goes_on_where_its_last_window_ended(case, epoch):
    n, source = case
    _, targets = epoch_of(source, epoch)
    assert torch.equal(targets[1:], (targets[:-1] + 1) % n)


@given(streams(), st.integers(0, 3), st.integers(1, 5))
def test_processes_that_share_the_rows_see_the_whole_batch_together(case, epoch, processes):
    _, source = case
    assume(source.batch_size % processes == 0)
    share = source.batch_size // processes
    parts = [epoch_of(source, epoch, slice(p * share, (p + 1) * share)) for p in range(processes)]
    for whole, split in zip(epoch_of(source, epoch), zip(*parts, strict=True), strict=True):
        assert torch.equal(whole, torch.cat(split, dim=1))


@given(streams())
def test_the_first_epoch_is_the_text_from_its_start(case):
    _, source = case
    inputs, targets = source.window(0, 0)
    assert (inputs[0, 0], targets[0, 0]) == (START, 0)


def test_epochs_differ_with_a_seed_and_only_then():
    def starts(seed):
        source = Streams(np.arange(1000), batch_size=2, window=5, start_id=0, seed=seed)
        return [int(source.window(epoch, 0)[1][0, 0]) for epoch in range(4)]

    assert starts(None) == [0, 0, 0, 0]
    assert len(set(starts(0))) == 4
    assert starts(0) == starts(0) != starts(1)


def test_offsets_stay_what_they_are_for_runs_that_are_resumed():
    source = Streams(np.arange(1000), batch_size=1, window=1, start_id=0, seed=7)
    assert [int(source.window(epoch, 0)[1]) for epoch in range(4)] == [0, 688, 437, 661]


def test_windows_are_whole_numbers_of_time_by_batch():
    source = Streams(np.arange(23, dtype=np.uint16), batch_size=2, window=4, start_id=START)
    shapes = [source.window(0, k)[0].shape for k in range(source.windows_per_epoch)]
    assert (source.steps_per_epoch, shapes) == (11, [(4, 2), (4, 2), (3, 2)])
    assert {tensor.dtype for tensor in source.window(0, 0)} == {torch.int64}


def test_a_batch_of_one_scores_every_token():
    source = Streams(np.arange(23), batch_size=1, window=23, start_id=99)
    inputs, targets = source.window(0, 0)
    assert targets.flatten().tolist() == list(range(23))
    assert inputs.flatten().tolist() == [99, *range(22)]


def test_only_what_a_window_needs_is_read(tmp_path):
    class Watched(np.ndarray):
        def __getitem__(self, key):
            assert np.size(key) == 12
            return super().__getitem__(key)

    Streams(np.arange(10_000).view(Watched), batch_size=3, window=4, start_id=0).window(0, 5)


def test_a_short_text_is_told_what_it_lacks():
    message = (
        "The text must have at least 1,280 tokens for 10 streams and windows of 128. It has 1,000: "
        "make the batch or the window smaller, or give more text."
    )
    with pytest.raises(DataError, match=message):
        Streams(np.arange(1000), batch_size=10, window=128, start_id=0)


@pytest.mark.parametrize("name", ["batch_size", "window", "start_id", "seed"])
def test_arguments_have_their_ranges(name):
    options = {"batch_size": 1, "window": 1, "start_id": 0, "seed": 0, name: -1}
    with pytest.raises(ArgumentError, match=f"The '{name}' of Streams must be at least"):
        Streams(np.arange(9), **options)


@pytest.mark.parametrize("tokens", [np.arange(6.0), np.zeros((2, 3), int)])
def test_tokens_are_integers_of_one_dimension(tokens):
    with pytest.raises(ArgumentError, match="must be integers of one dimension"):
        Streams(tokens, batch_size=1, window=1, start_id=0)


@pytest.mark.parametrize(("epoch", "k"), [(-1, 0), (0, -1), (0, 9)])
def test_a_window_must_exist(epoch, k):
    with pytest.raises(ArgumentError, match="'k' below 9"):
        Streams(np.arange(9), batch_size=1, window=1, start_id=0).window(epoch, k)
