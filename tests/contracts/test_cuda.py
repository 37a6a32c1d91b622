"""On a GPU every cell gives the numbers of a CPU: sequences, gradients, ragged batches, steps, a state."""

import copy

import pytest
import torch
from catalogue import CELLS, assert_close

import selfloop as sl
from selfloop import cells

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")

T, B = 7, 5


def outputs_and_gradients(rnn, x, options):
    """Outputs, last states, and the gradients of input and weights, all on the CPU."""
    x = x.requires_grad_()
    y, state = rnn(x, **options)
    values, generator = [y, *state], torch.Generator().manual_seed(1)
    loss = sum((v * torch.randn(v.shape, generator=generator, dtype=v.dtype).to(v.device)).sum() for v in values)
    gradients = torch.autograd.grad(loss, (x, *rnn.parameters()), allow_unused=True, materialize_grads=True)
    return [v.detach().cpu() for v in (*values, *gradients)]


@pytest.mark.parametrize("variant", ["plain", "lengths", "resets", "both directions"])
@pytest.mark.parametrize("entry", CELLS, ids=str)
def test_every_cell_gives_the_same_numbers(entry, variant):
    torch.manual_seed(0)
    both = variant == "both directions"
    rnn = entry.layer(num_layers=2 if entry.can_stack and not both else 1, bidirectional=both)
    x = torch.randn(T, B, 3, dtype=torch.float64)
    call = entry.further(x)
    if variant == "lengths":
        call["lengths"] = torch.tensor([7, 0, 3, 7, 1])
    if variant == "resets":
        call["resets"] = torch.rand(T, B) < 0.3
    twin = copy.deepcopy(rnn).cuda()
    rnn.backend = "interpret"
    expected = outputs_and_gradients(rnn, x.clone(), call)
    got = outputs_and_gradients(twin, x.cuda(), {k: v.cuda() for k, v in call.items()})
    for e, g in zip(expected, got, strict=True):
        assert_close(g, e)


@pytest.mark.parametrize("kind", [sl.LSTM, sl.GRU, sl.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"num_layers": 2, "batch_first": True}], ids=str)
def test_drop_ins_give_torchs_numbers(kind, options):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind.__name__)(3, 6, **options).cuda()
    ours = kind(3, 6, **options).cuda()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(T, B, 3, device="cuda")
    expected, got = theirs(x)[0], ours(x)[0]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    for e, g in zip(
        torch.autograd.grad(expected.square().sum(), list(theirs.parameters())),
        torch.autograd.grad(got.square().sum(), list(ours.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(g, e, rtol=1e-3, atol=1e-4)


def test_steps_are_the_sequence_and_what_is_recorded_stays_there():
    rnn = sl.Recurrent(cells.lstm, 3, 6, 2, dtype=torch.float64).cuda()  # in float32, cuDNN rounds to TF32
    x = torch.randn(T, B, 3, device="cuda", dtype=torch.float64)
    y, last, seen = rnn(x, record=("f",))
    assert {v.device.type for v in (y, last.h, last.c, *seen.values())} == {"cuda"}
    state = None
    for t in range(T):
        step, state = rnn.step(x[t], state)
        assert_close(step, y[t])


def test_bfloat16_under_autocast_is_near():
    rnn = sl.LSTM(16, 32).cuda()
    x = torch.randn(T, B, 16, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        y, _ = rnn(x)
    torch.testing.assert_close(y.float(), rnn(x)[0], rtol=0.05, atol=0.05)


def test_what_lies_on_two_devices_is_refused_in_one_sentence():
    rnn = sl.LSTM(3, 4).cuda()
    with pytest.raises(sl.SelfloopError, match="cpu"):
        rnn(torch.randn(T, B, 3))
    with pytest.raises(sl.SelfloopError, match="cuda"):
        sl.LSTM(3, 4)(torch.randn(T, B, 3, device="cuda"))
    y, state = rnn(torch.randn(T, B, 3, device="cuda"))
    del y
    with pytest.raises(sl.SelfloopError, match="cpu"):
        rnn(torch.randn(T, B, 3, device="cuda"), tuple(s.cpu() for s in state))


def test_explain_says_what_runs():
    said = sl.Recurrent(cells.lem, 3, 4, device="cuda").explain()
    assert "interpret" in said and "cuda" in said


def test_a_run_trained_there_is_read_here(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 400)
    sl.train("lm", text, run=tmp_path / "run", device="cuda", steps=60, hidden_size=64, quiet=True)
    here, there = (sl.load(tmp_path / "run", device=device) for device in ("cpu", "cuda"))
    tokens = torch.randint(5, (6, 2))
    expected = here.model(tokens)[0]
    torch.testing.assert_close(there.model(tokens.cuda())[0].cpu(), expected, rtol=1e-3, atol=1e-3)
