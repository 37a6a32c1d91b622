"""Processes that come from one another have memory of their own: what one writes, no other reads."""

import multiprocessing
import os
import sys

import pytest
import torch
from forked import ITEMS, Outputs, last, layer, sequence
from torch.utils.data import DataLoader

from selfloop.kernels import memory

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork"),
    # Python and torch warn that a forked child of a process with threads may lock up; that it does not, is tested here.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*os.fork.*:RuntimeWarning"),
]


@pytest.fixture
def warm():
    """A layer whose blocks are partly in use and partly free, when the process is forked."""
    rnn = layer()
    with torch.no_grad():
        outputs = [rnn(sequence(k))[0] for k in range(3)]
        del outputs[1]
        yield rnn, outputs[1], outputs[1].clone()


def in_child(work):
    """Run a function in a forked child; its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return child


def status_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_what_a_child_writes_the_parent_does_not_read(warm):
    _, output, copied = warm
    assert output.numel() * 4 >= memory.SMALL

    def work():
        output.fill_(7)
        return True

    assert status_of(in_child(work)) == 0
    assert torch.equal(output, copied)


def test_what_the_parent_writes_a_child_does_not_read(warm):
    _, output, copied = warm
    ready, written = os.pipe()

    def work():
        os.close(written)
        os.read(ready, 1)
        return torch.equal(output, copied)

    child = in_child(work)
    output.fill_(7)
    os.write(written, b".")
    assert status_of(child) == 0


def test_two_children_and_their_parent_run_at_once(warm):
    """All of them have the block that was free: each must write to its own."""
    rnn, *_ = warm
    expected = [rnn(sequence(k))[0].clone() for k in range(3)]

    def agrees(k):
        return all(torch.equal(rnn(sequence(k))[0], expected[k]) for _ in range(30))

    children = [in_child(lambda k=k: agrees(k)) for k in (0, 1)]
    assert agrees(2)
    assert [status_of(child) for child in children] == [0, 0]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader_give_the_parents_numbers(warm, method):
    rnn, *_ = warm
    expected = [rnn(sequence(k))[0].clone() for k in range(ITEMS)]
    loader = DataLoader(Outputs(rnn), batch_size=None, num_workers=2, multiprocessing_context=method)
    rounds = 2 if method == "fork" else 1
    for _ in range(rounds):
        for got, answer in zip(loader, expected, strict=True):
            assert torch.equal(got, answer)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_pool_gives_the_parents_numbers(warm, method):
    del warm
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(last, range(8)) == [last(k) for k in range(8)]
