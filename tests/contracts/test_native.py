"""Compiled kernels give the interpreter's numbers and gradients: any size, layout and number of threads."""

import functools

import pytest
import torch
from catalogue import CELLS, STAGES, Entry, assert_close, everything, ragged
from combinations import pairs

import selfloop as sl
from selfloop.compiler import KernelLayout
from selfloop.kernels import plan
from selfloop.kernels.problem import FEW

each_cell = pytest.mark.parametrize("entry", CELLS, ids=str)
SOME = [e for e in CELLS if str(e) in STAGES]
some_cells = pytest.mark.parametrize("entry", SOME, ids=str)


def start_of(rnn, batch):
    return sl.State(**{name: 0.5 * torch.randn_like(s) for name, s in rnn.zero_state(batch).tensors.items()})


def both(rnn, x, run=None, **options):
    """Everything by the compiled kernels, and by the interpreter."""
    start = start_of(rnn, x.shape[1 - rnn.batch_first] if x.dim() == 3 else 1)
    answers = []
    for backend in ("native", "interpret"):
        rnn.backend = backend
        answers.append(everything(rnn, x, start, run or (lambda x, start: rnn(x, start, **options))))
    return answers


def assert_both_agree(rnn, x, run=None, tolerance=None, **options):
    for got, expected in zip(*both(rnn, x, run, **options), strict=True):
        assert_close(got, expected, **tolerance or {})


@each_cell
def test_larger_than_a_block_with_lengths_resets_and_both_directions(entry):
    """The input's products leave the loop at this input size, and no size is a whole number of vectors."""
    rnn = entry.layer(50, 17, bidirectional=True)
    assert_both_agree(rnn, torch.randn(5, 13, 50, dtype=torch.float64), **ragged(5, 13))


@each_cell
def test_single_precision_is_near_double_precision(entry):
    rnn = entry.layer(3, 17)
    x, start = torch.randn(4, 5, 3, dtype=torch.float64), start_of(rnn, 5)
    options = ragged(4, 5)
    rnn.backend = "interpret"
    expected = everything(rnn, x, start, lambda x, start: rnn(x, start, **options))
    rnn.backend = "native"
    rnn.float()
    got = everything(rnn, x.float(), start.to(torch.float32), lambda x, start: rnn(x, start, **options))
    for single, double in zip(got, expected, strict=True):
        scale = double.abs().max().item() if double.numel() else 0
        assert_close(single.double(), double, rtol=1e-5, atol=1e-5 * scale + 1e-6)


@some_cells
@pytest.mark.parametrize(
    ("inputs", "hidden", "batch"),
    [(1, 1, 1), (50, 1, 2), (3, 8, 7), (2, 50, 13)],
    ids=["1-1-1", "50-1-2", "3-8-7", "2-50-13"],
)
def test_any_size(entry, inputs, hidden, batch):
    rnn = entry.layer(inputs, hidden)
    assert_both_agree(rnn, torch.randn(3, batch, inputs, dtype=torch.float64))


@pytest.mark.parametrize(("entry", "batch"), pairs(CELLS, [1, 2, 3, FEW]), ids=str)
def test_one_step_of_few_sequences_reads_matrices_where_they_lie(entry, batch):
    rnn = entry.layer(50, 17, bidirectional=True)
    x = torch.randn(1, batch, 50, dtype=torch.float64)
    assert_both_agree(rnn, x)
    assert_both_agree(rnn, x, **ragged(1, batch))


def test_one_step_takes_weights_that_are_laid_out_in_any_way():
    rnn = sl.LSTM(50, 17, dtype=torch.float64)
    for name, w in list(rnn.named_parameters()):
        if w.dim() == 2:
            setattr(rnn, name, torch.nn.Parameter(w.detach().t().contiguous().t()))
    assert_both_agree(rnn, torch.randn(1, 2, 50, dtype=torch.float64))


LAYOUTS = {
    "transposed": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "features first": lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "every second": lambda x: x.repeat_interleave(2, 0).repeat_interleave(2, 1)[::2, ::2],
    "part of a row": lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
    "one for all": lambda x: x[:, :1].expand(-1, x.shape[1], -1),
    "backwards": lambda x: x.flip(0).contiguous().flip(0),
}


@some_cells
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lengths", [None, [4, 0, 1]], ids=["whole", "ragged"])
def test_any_layout_of_the_input(entry, layout, lengths):
    rnn = entry.layer()
    x = torch.randn(4, 3, 3, dtype=torch.float64)

    def run(x, start):
        return rnn(LAYOUTS[layout](x), start, lengths=lengths)

    assert_both_agree(rnn, x, run)


@some_cells
def test_batch_first_and_one_sequence(entry):
    rnn = entry.layer(batch_first=True)
    assert_both_agree(rnn, torch.randn(3, 4, 3, dtype=torch.float64), lengths=[4, 2, 0])
    assert_both_agree(rnn, torch.randn(4, 3, dtype=torch.float64), lengths=[3])


@some_cells
@pytest.mark.parametrize(("T", "B"), [(0, 2), (3, 0), (0, 0), (3, 2)])
def test_nothing_in_nothing_out_with_gradients(entry, T, B):
    """An empty sequence hands its state on, and the state's gradient back."""
    rnn = entry.layer(bidirectional=True)
    assert_both_agree(rnn, torch.randn(T, B, 3, dtype=torch.float64), lengths=[0] * B)
    if (T, B) != (3, 2):
        assert_both_agree(rnn, torch.randn(T, B, 3, dtype=torch.float64))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(params=["rows", "units"])
def sharing(request, monkeypatch):
    """However little there is to do, threads share the rows, or the units as they do where the weights are large."""
    monkeypatch.setattr(plan, "ONE_THREAD_BELOW", 0)
    if request.param == "units":
        monkeypatch.setattr(KernelLayout, "weight_bytes", property(lambda self: 1 << 40))


@pytest.mark.parametrize(("entry", "sizes"), pairs(SOME, [(6, 1), (6, 2), (6, 7), (1, 1), (1, 7)]), ids=str)
@pytest.mark.usefixtures("sharing")
def test_the_same_bits_on_any_number_of_threads(entry, sizes, threads):
    steps, batch = sizes
    rnn = entry.layer(50, 17, backend="native")
    x, start = torch.randn(steps, batch, 50, dtype=torch.float64), start_of(rnn, batch)
    for options in ({}, ragged(steps, batch)):
        answers = []
        for number in (1, 2, 3, 5):
            threads(number)
            answers.append(everything(rnn, x, start, lambda x, start: rnn(x, start, **options)))  # noqa: B023
        for answer in answers[1:]:
            for got, expected in zip(answer, answers[0], strict=True):
                assert torch.equal(got, expected)


@some_cells
@pytest.mark.usefixtures("sharing")
def test_threads_agree_with_the_interpreter(entry, threads):
    threads(3)
    rnn = entry.layer(50, 17, bidirectional=True)
    assert_both_agree(rnn, torch.randn(6, 7, 50, dtype=torch.float64), **ragged(6, 7))


def poisoned(make):
    @functools.wraps(make)
    def empty(*args, **options):
        tensor = make(*args, **options)
        return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

    return empty


@pytest.mark.parametrize("entry", CELLS, ids=str)
def test_what_lies_in_fresh_memory_does_not_matter(entry, monkeypatch):
    """Torch's own functions, too, make tensors full of NaN: none may reach an answer."""
    rnn = entry.layer(3, 4, backend="native", bidirectional=True)
    rest = entry.layer(50, 17, backend="native")
    for options in ({}, ragged(5, 6)):
        for layer, inputs in ((rnn, 3), (rest, 50)):
            x, start = torch.randn(5, 6, inputs, dtype=torch.float64), start_of(layer, 6)
            expected = everything(layer, x, start, lambda x, start: layer(x, start, **options))  # noqa: B023
            with monkeypatch.context() as patch:
                for owner, name in ((torch.Tensor, "new_empty"), (torch, "empty"), (torch, "empty_like")):
                    patch.setattr(owner, name, poisoned(getattr(owner, name)))
                got = everything(layer, x, start, lambda x, start: layer(x, start, **options))  # noqa: B023
            for a, b in zip(got, expected, strict=True):
                assert torch.equal(a, b)


def test_two_thousand_units():
    """More than any cache: the products of the input leave the step, and threads share the units."""
    rnn = sl.GRU(8, 2048)
    torch.manual_seed(0)
    assert_both_agree(rnn, torch.randn(2, 3, 8), tolerance={"rtol": 1e-4, "atol": 1e-3})


@sl.cell
def constant_beside_state(x, h, c, *, W=sl.param("h x"), U=sl.param("h 2h"), b=sl.param("h")):
    """Its residuals of a product lie elsewhere in training, since one takes the room of the input's product."""
    y = sl.tanh(U @ sl.sigmoid(sl.concat(c, b)))
    return y, sl.tanh(W @ x)


@pytest.mark.parametrize("hidden_size", [7, 8])
def test_one_sequence_has_the_same_bits_in_training_wherever_residuals_lie(hidden_size):
    rnn = Entry(constant_beside_state).layer(3, hidden_size, backend="native")
    for seed in range(20):
        torch.manual_seed(seed)
        x = torch.randn(2, 1, 3, dtype=torch.float64)
        state = sl.State(**{name: torch.randn_like(s) for name, s in rnn.zero_state(1).tensors.items()})
        y, _ = rnn(x, state)
        with torch.no_grad():
            assert torch.equal(rnn(x, state)[0], y)
