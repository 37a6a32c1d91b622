"""Blocks are recycled when nobody can reach them any more, and not before."""

import copy
import io
import threading

import pytest
import torch

import selfloop as sl
from selfloop.kernels import memory

SHAPE, BYTES = (32, 64, 256), 4 * 32 * 64 * 256


@pytest.fixture(autouse=True)
def no_blocks(monkeypatch):
    monkeypatch.setattr(memory, "_BLOCKS", {})


def new():
    return memory.empty(SHAPE, torch.float32)


def test_memory_is_recycled_and_counted():
    first = new()
    address = first.data_ptr()
    assert memory.kept_bytes() == BYTES
    del first
    assert new().data_ptr() == address
    assert memory.kept_bytes() == BYTES


KEEPERS = {
    "the tensor": lambda v: v,
    "a view": lambda v: v[3, :, ::2],
    "a storage": lambda v: v.untyped_storage(),
    "an array": lambda v: v.numpy(),
    "a memoryview": lambda v: memoryview(v.numpy()),
    "a capsule": lambda v: v.__dlpack__(),
    "another tensor of the storage": lambda v: torch.empty(0).set_(v),
    "a lazy copy": torch._lazy_clone,
    "a detached tensor": lambda v: v.detach(),
    "data": lambda v: v.data,
    "a graph": lambda v: (v.requires_grad_() * 2).grad_fn,
    "what was saved for a gradient": lambda v: v.requires_grad_().square().sum(),
}


@pytest.mark.parametrize("keeper", KEEPERS)
def test_whoever_keeps_a_block_has_it_to_himself(keeper):
    first = new()
    address = first.data_ptr()
    kept = KEEPERS[keeper](first)
    del first
    second = new()
    assert second.data_ptr() != address
    del kept, second
    again = new(), new()
    assert keeper == "a lazy copy" or address in [v.data_ptr() for v in again]  # to look at one makes it a copy


def test_outputs_of_a_layer_keep_their_numbers():
    rnn, x = sl.LSTM(64, 256), torch.randn(32, 64, 64)
    with torch.no_grad():
        outputs = [rnn(x * k)[0] for k in range(3)]
        copies = [y.clone() for y in outputs]
        for k in range(3):
            rnn(x + k)
    assert all(torch.equal(y, copied) for y, copied in zip(outputs, copies, strict=True))


def test_outputs_are_torchs_own():
    """They can be resized, shared, copied and saved, and a file of one holds nothing else."""
    y = sl.RNN(8, 256)(torch.randn(32, 64, 8))[0].detach()
    numbers = y.clone()
    saved = io.BytesIO()
    torch.save(y, saved)
    assert len(saved.getvalue()) < BYTES + 4096
    assert torch.equal(copy.deepcopy(y), numbers)
    y.resize_(64, 64, 256)
    assert torch.equal(y[:32], numbers)
    y.share_memory_()
    assert torch.equal(y[:32], numbers)


@pytest.mark.parametrize("change", ["resize", "share"])
def test_a_block_that_a_user_has_changed_is_not_recycled(change):
    first = new()
    if change == "resize":
        first.resize_(2 * SHAPE[0], *SHAPE[1:])
    else:
        first.share_memory_()
    del first
    second = new()
    assert not second.is_shared()
    assert second.untyped_storage().nbytes() == BYTES
    assert memory.kept_bytes() == BYTES


def test_blocks_of_sizes_unused_for_longest_go_first(monkeypatch):
    monkeypatch.setattr(memory, "KEPT", 3 * memory.SMALL)
    for rows in (1, 2, 1):
        memory.empty((rows, memory.SMALL // 4), torch.float32)
    assert memory.kept_bytes() == 3 * memory.SMALL
    memory.empty((2, memory.SMALL // 8), torch.float64)  # the size of one
    assert memory.kept_bytes() == 3 * memory.SMALL
    memory.empty((3, memory.SMALL // 8), torch.float64)
    assert memory.kept_bytes() <= 3 * memory.SMALL


def test_a_workspace_serves_calls_of_nearly_its_length():
    first = memory.workspace((1000, 300), torch.float32)
    address = first.data_ptr()
    assert first.shape == (1000, 300)
    del first
    assert memory.workspace((1001, 300), torch.float32).data_ptr() == address


def test_threads_never_share_a_block():
    wrong = []

    def work(number):
        for _ in range(300):
            block = memory.empty((memory.SMALL // 4,), torch.float32)
            block.fill_(number)
            if not bool((block == number).all()):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("shape", [(5,), SHAPE], ids=["small", "large"])
def test_memory_is_the_processors_whatever_the_default_device(shape):
    with torch.device("meta"):
        assert memory.empty(shape, torch.float64).device.type == "cpu"
