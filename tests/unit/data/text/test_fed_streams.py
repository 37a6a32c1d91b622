import itertools

import pytest
import torch

from selfloop.data import Tokenizer
from selfloop.data.text import fed_streams
from selfloop.data.text.fed_streams import FedStreams
from selfloop.data.text.streaming import TextStream

TOKENIZER = Tokenizer.train("byte", [])


class Texts(TextStream):
    """Of unequal lengths, without an end."""

    def __init__(self):
        self.number = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.number += 1
        return f"{self.number} " * (self.number * 7 % 11 + 1)

    def position(self):
        return {"number": self.number}

    def go_to(self, position):
        self.number = position["number"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(fed_streams, "CHUNK", 20)


def fed(rows=3, window=8):
    return FedStreams(Texts(), TOKENIZER, batch_size=rows, window=window)


def test_each_stream_goes_on_where_its_last_window_ended():
    streams = fed()
    windows = [streams.next_window() for _ in range(40)]
    assert all(inputs.shape == targets.shape == (8, 3) for inputs, targets in windows)
    inputs, targets = (torch.cat([window[k] for window in windows]) for k in (0, 1))
    assert inputs[0].tolist() == [TOKENIZER.start_id] * 3
    assert torch.equal(inputs[1:], targets[:-1])


def test_streams_read_every_text_whole_and_once():
    streams = fed()
    windows = [streams.next_window()[1] for _ in range(40)]
    read = [TOKENIZER.decode(column) for column in torch.cat(windows).T.tolist()]
    lines = [line for text in read for line in text.split("\n")[:-1]]
    expected = [next(texts) for texts in [Texts()] for _ in range(len(lines) + 3)]
    assert len(lines) > 30
    assert len({*lines}) == len(lines)
    assert {*lines} <= {*expected}
    for text in read:  # neighbours until a chunk is full
        numbers = [int(line.split()[0]) for line in text.split("\n")[:-1]]
        assert numbers == sorted(numbers)
        assert any(after == before + 1 for before, after in itertools.pairwise(numbers))


@pytest.mark.parametrize("stop", [0, 1, 7, 20])
def test_streams_go_on_from_a_position(stop):
    streams = fed()
    for _ in range(stop):
        streams.next_window()
    position = {name: tensor.clone() for name, tensor in streams.position().items()}
    rest = [streams.next_window() for _ in range(10)]
    others = fed()
    others.go_to(position)
    for window in rest:
        assert all(map(torch.equal, others.next_window(), window))


def test_as_many_streams_go_on_as_there_were():
    with pytest.raises(ValueError, match="it has 3 streams, not 2"):
        fed(rows=2).go_to(fed().position())


def test_a_text_longer_than_many_windows_is_read_whole():
    streams = FedStreams(Texts(), TOKENIZER, batch_size=1, window=1)
    read = TOKENIZER.decode([int(streams.next_window()[1]) for _ in range(200)])
    assert read.startswith("1 1 1 1 1 1 1 1 \n2 2 2 2 \n3 ")
