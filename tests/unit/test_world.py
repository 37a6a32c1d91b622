"""What processes share, and what they are told when one of them has ended."""

import pytest
from torch import distributed as dist

from selfloop.errors import RunError
from selfloop.world import ALONE, World, others_may_end


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_all_work_is_shared_once(size):
    shares = [[*World(rank, size).share(range(5))] for rank in range(size)]
    assert sorted(number for share in shares for number in share) == [*range(5)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_world_of_one_needs_no_process_group():
    assert World.here() == ALONE
    assert ALONE.each("a") == ["a"]
    ALONE.copy_from_first([])


LOST = "[/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:37587.\nmore"


@pytest.mark.parametrize("error", [RuntimeError(LOST), dist.DistNetworkError("The client socket has timed out")])
def test_that_another_process_has_ended_is_one_sentence(monkeypatch, error):
    monkeypatch.setenv("WORLD_SIZE", "2")
    message = r"Another process of this job has ended or cannot be reached \(.*[^.]\): its own message says why"
    with pytest.raises(RunError, match=message), others_may_end():
        raise error


@pytest.mark.parametrize(("size", "error"), [("1", RuntimeError(LOST)), ("2", RuntimeError("a matrix is too large"))])
def test_other_errors_are_left_alone(monkeypatch, size, error):
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(RuntimeError, match=r"closed|large"), others_may_end():
        raise error
