import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from selfloop.errors import RunError
from selfloop.training.checkpoint import append_bytes, read_tensors, write_bytes, write_tensors

TENSORS = {
    "model/matrix": torch.arange(6.0).reshape(2, 3),
    "half": torch.tensor([1.5, -2], dtype=torch.bfloat16),
    "scalar": torch.tensor(3.0),
    "random": torch.tensor([[1, 2, 255]], dtype=torch.uint8),
    "turned": torch.arange(6.0).reshape(2, 3).T,
}
FACTS = {"progress": {"best_loss": float("inf"), "step": 3}, "name": "Zoë", "betas": [0.9, 0.99]}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS, FACTS)
    return path


def test_tensors_and_facts_come_back_as_they_were(file):
    tensors, facts = read_tensors(file)
    assert facts == FACTS
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (tensors[name].dtype, tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(tensors[name], tensor)


def test_the_same_tensors_and_facts_make_the_same_bytes(file):
    """The library writes its metadata in another order each time."""
    first = file.read_bytes()
    for _ in range(20):
        write_tensors(file, TENSORS, FACTS)
        assert file.read_bytes() == first


@pytest.mark.parametrize("part", ["header", "data"])
def test_no_changed_byte_is_read_as_if_nothing_were_wrong(file, part):
    """A flipped bit in every byte is an error, or (in the padding of the header, say) changes nothing."""
    good = file.read_bytes()
    start = 8 + int.from_bytes(good[:8], "little")
    for place in range(start) if part == "header" else range(start, len(good)):
        file.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        try:
            tensors, facts = read_tensors(file)
        except RunError as error:
            assert str(error).startswith(f"{file} is damaged (")
            continue
        assert facts == FACTS
        assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items()), place


@pytest.mark.parametrize(("old", "new"), [(b'"F32"', b'"I32"'), (b"[2,3]", b"[3,2]"), (b'"BF16"', b'"U16" ')])
def test_numbers_read_as_another_type_or_shape_are_damaged(file, old, new):
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))
    with pytest.raises(RunError, match=r"is damaged \(its checksum does not match\)\.$"):
        read_tensors(file)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_file_that_was_cut_is_damaged(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(RunError, match=r"^.*a.safetensors is damaged \(.+\)\.$"):
        read_tensors(file)


def test_a_file_of_another_program_is_damaged_and_none_is_missing(file, tmp_path):
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(RunError, match=r"is damaged \(no 'facts' in it\)\.$"):
        read_tensors(file)
    with pytest.raises(RunError, match=r"nothing is missing\.$"):
        read_tensors(tmp_path / "nothing")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(file, tmp_path, monkeypatch, call):
    before = file.read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*(("os.fsync", fail) if call == "fsync" else ("pathlib.Path.replace", fail)))
    with pytest.raises(
        RunError, match=r"cannot be written \(No space left on device\); what was saved before is untouch"
    ):
        write_tensors(file, {"a": torch.zeros(9)}, {})
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_path_below_a_file_cannot_be_written(file):
    for write in (write_bytes, append_bytes):
        with pytest.raises(RunError, match=r"cannot be written \((Not a directory|File exists)\)"):
            write(file / "b", b"content")


def test_what_is_appended_is_there_at_once_or_an_error(tmp_path):
    path = tmp_path / "lines"
    append_bytes(path, b"one\n")
    append_bytes(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    with pytest.raises(RunError, match="No space left on device"):
        append_bytes(Path("/dev/full"), b"three\n")
