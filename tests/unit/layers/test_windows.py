import pytest
import torch
from catalogue import assert_close

import selfloop as sl
from selfloop import cells
from selfloop.errors import ArgumentError


def assert_truncated(rnn, x, targets, steps, time=0):
    """Outputs are those of the whole stream; gradients those of windows whose first state is a constant."""
    windows = sl.Windows(rnn, x, targets, steps=steps)
    outputs, gradients = [], []
    for y, target in windows:
        outputs.append(y)
        gradients.append(torch.autograd.grad((y * target).sum(), [*rnn.parameters()]))
    assert_close(torch.cat(outputs, time), rnn(x)[0])
    assert len(gradients) == len(windows) == -(-x.shape[time] // steps)
    state = None
    for mine, part, target in zip(gradients, x.split(steps, time), targets.split(steps, time), strict=True):
        y, state = rnn(part, state)
        for got, expected in zip(mine, torch.autograd.grad((y * target).sum(), [*rnn.parameters()]), strict=True):
            assert_close(got, expected)
        state = (
            sl.State(**{n: s.detach() for n, s in state.tensors.items()})
            if isinstance(state, sl.State)
            else (tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach())
        )
    last = windows.state
    for s, expected in zip(last, rnn(x)[1], strict=True):
        assert not s.requires_grad
        assert_close(s, expected)


@pytest.mark.parametrize("steps", [1, 3, 7, 9])
@pytest.mark.parametrize(
    "rnn",
    [
        lambda **options: sl.Recurrent(cells.lstm, 3, [5, 4], **options),
        lambda **options: sl.LSTM(3, 4, **options),
        lambda **options: sl.GRU(3, 4, **options),
    ],
    ids=["Recurrent", "LSTM", "GRU"],
)
@pytest.mark.parametrize("batch_first", [False, True])
def test_windows_carry_the_state_and_cut_the_gradient(rnn, steps, batch_first):
    shape = (2, 7) if batch_first else (7, 2)
    x, targets = (torch.randn(*shape, size, dtype=torch.float64) for size in (3, 4))
    assert_truncated(rnn(batch_first=batch_first, dtype=torch.float64), x, targets, steps, int(batch_first))


def test_one_long_stream_becomes_streams_side_by_side():
    rnn, x = sl.GRU(3, 4, dtype=torch.float64), torch.randn(23, 3, dtype=torch.float64)
    steps = torch.arange(23)
    parts = [part for _, part in sl.Windows(rnn, x, steps, steps=4, streams=3)]
    assert torch.cat(parts).T.tolist() == [[*range(7)], [*range(7, 14)], [*range(14, 21)]]
    y = torch.cat([y for (y,) in sl.Windows(rnn, x, steps=4, streams=3)])
    assert_close(y[:, 1], rnn(x[7:14])[0])
    first = sl.GRU(3, 4, batch_first=True, dtype=torch.float64)
    first.load_state_dict(rnn.state_dict())
    assert_close(torch.cat([y for (y,) in sl.Windows(first, x, steps=4, streams=3)], 1), y.transpose(0, 1))


def test_a_pass_starts_anew_from_the_state_that_was_given():
    rnn, x = sl.Recurrent(cells.lstm, 3, 4), torch.randn(6, 2, 3)
    first = rnn(x)[1].detach()
    windows = sl.Windows(rnn, x, steps=4, state=first)
    for _ in range(2):
        outputs = [y for (y,) in windows]
        assert_close(torch.cat(outputs), rnn(x, first)[0])


def test_a_language_model_reads_windows():
    model = sl.LanguageModel(9, cells.gru, embedding_size=4, hidden_size=5)
    text = torch.randint(9, (101,))
    windows = sl.Windows(model, text[:-1], text[1:], steps=10, streams=4)
    for logits, targets in windows:
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    assert (len(windows), tuple(logits.shape)) == (3, (5, 4, 9))


MISUSE = [
    (lambda rnn, x: sl.Windows(rnn, x, steps=0), "The 'steps' of Windows must be a whole number ≥ 1. Got 0 instead."),
    (lambda rnn, x: sl.Windows(rnn, x, steps=2, streams=1.5), "The 'streams' of Windows must be a whole number"),
    (lambda rnn, x: sl.Windows(rnn, [1.0], steps=2), "cuts tensors along time, dimension 0. Got list instead."),
    (lambda rnn, x: sl.Windows(rnn, x, x[1:], steps=2), "must have as many steps each, and 1 or more. Got [6, 5]"),
    (lambda rnn, x: sl.Windows(rnn, x, steps=2, streams=7), "must have as many steps each, and 7 or more. Got [6]"),
]


@pytest.mark.parametrize(("misuse", "says"), MISUSE, ids=[says[:40] for _, says in MISUSE])
def test_what_does_not_fit_is_refused(misuse, says):
    with pytest.raises(ArgumentError) as caught:
        misuse(sl.GRU(3, 4), torch.zeros(6, 2, 3))
    assert says in str(caught.value)
