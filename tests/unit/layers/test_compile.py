"""`torch.compile` and `torch.export` see a stack whole, whichever way runs it.

In a process of its own: the tests' shape checks are no part of what users compile.
"""

import subprocess
import sys

import pytest

SCRIPT = """
import torch
import selfloop as sl
from selfloop.kernels import readout

@sl.cell
def own(x, h, *, W=sl.param("h x")):
    return sl.tanh(W @ x) + sl.softmax(h)

x = torch.randn(4, 2, 3)
fused = sl.Recurrent(sl.cells.lstm, 3, 4, num_layers=2, bidirectional=True)
calls = {
    "a fused cell": (fused, (x,), {}),
    "a given state": (fused, (x, fused.zero_state(2)), {}),
    "lengths": (fused, (x,), {"lengths": torch.tensor([4, 2])}),
    "a list of lengths": (fused, (x,), {"lengths": [4, 2]}),
    "resets": (sl.Recurrent(sl.cells.gru, 3, 4), (x,), {"resets": torch.zeros(4, 2, dtype=torch.bool)}),
    "a cell of one's own": (sl.Recurrent(own, 3, 4), (x,), {}),
    "layers of sizes": (
        sl.Recurrent(sl.cells.lstm, 3, [5, 4], layer_norm=True, learn_state=True, bidirectional=True),
        (x,),
        {"lengths": [4, 2]},
    ),
    "residuals": (sl.Recurrent(sl.cells.gru, 3, 4, 2, residual=True), (x,), {}),
    "a step": (sl.LSTMCell(3, 4), (x[0],), {}),
    "a matrix state": (sl.Recurrent(sl.cells.mlstm, 3, 4), (x,), {}),
    "a drop-in": (sl.LSTM(3, 4), (x, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))), {}),
}
for name, (rnn, args, options) in calls.items():
    torch._dynamo.reset()
    y, state = torch.compile(rnn, backend="eager", fullgraph=True)(*args, **options)
    expected, last = rnn(*args, **options)
    assert type(state) is type(last), name
    torch.testing.assert_close([y, *state], [expected, *last], msg=name)

gates = torch.compile(lambda x: fused(x, record=("f", "c"))[2], backend="eager", fullgraph=True)
try:
    gates(x)
except Exception as error:
    assert "Call it once with this 'record' before it is compiled" in str(error), error
torch._dynamo.reset()
expected = fused(x, record=("f", "c"))[2]
torch.testing.assert_close(gates(x), expected)

for name in ("a fused cell", "a given state"):
    rnn, args, options = calls[name]
    y, state = torch.export.export(rnn, args, options).module()(*args, **options)
    assert isinstance(state, sl.State), name
    torch.testing.assert_close(y, rnn(*args, **options)[0], msg=name)

readout.LEAST_WEIGHTS = 1  # and of 16 rows and more, which no trace may ask for
model, tokens = sl.LanguageModel(30, sl.cells.lstm, embedding_size=3, hidden_size=4).eval(), torch.ones(4, 5).long()
with torch.no_grad():
    expected = model(tokens)[0]
    any_batch = [{1: torch.export.Dim("B", min=1, max=99)}]
    exported = torch.export.export(model, (tokens,), dynamic_shapes=any_batch).module()
    for traced in (torch.compile(model, backend="eager", fullgraph=True), exported):
        torch.testing.assert_close(traced(tokens)[0], expected)
"""


CHANGING = """
import torch
import torch._dynamo
import selfloop as sl

torch._dynamo.config.recompile_limit = 32


def check(compiled, rnn, T, B, **options):
    x = torch.randn(T, B, 3, dtype=rnn._like.dtype, requires_grad=True)
    answers = []
    for run in (compiled, rnn):
        y, state = run(x, **options)
        loss = (y * torch.arange(y.numel()).view_as(y)).sum() + sum(s.square().sum() for s in state)
        with torch.no_grad():
            last = run(x, **options)[0]
        answers.append([y, last, *state, *torch.autograd.grad(loss, (x, *rnn.parameters()))])
    torch.testing.assert_close(*answers, msg=str((T, B, list(options))))


def some(T, B):
    return {"lengths": torch.randint(0, T + 1, (B,)), "resets": torch.rand(T, B) < 0.3}


# One module over a training: batches of other lengths, the last one smaller, then of one, then in another dtype.
for dynamic, cell in ((None, sl.cells.lstm), (True, sl.cells.gru)):
    torch._dynamo.reset()
    rnn = sl.Recurrent(cell, 3, 4)
    compiled = torch.compile(rnn, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for T, B in ((4, 4), (5, 3)):
        check(compiled, rnn, T, B)
        check(compiled, rnn, T, B, **some(T, B))
    torch._dynamo.config.error_on_recompile = True
    for T, B in ((9, 6), (6, 2)):  # any other size needs no other graph
        check(compiled, rnn, T, B)
        check(compiled, rnn, T, B, **some(T, B))
    torch._dynamo.config.error_on_recompile = False
    if dynamic:
        for T, B in ((5, 1), (1, 2)):
            check(compiled, rnn, T, B, **some(T, B))
        rnn.double().eval()
        check(compiled, rnn, 4, 3)

# A size that the trace knows nothing of may turn out to be 1.
torch._dynamo.reset()
rnn = sl.LSTM(3, 4)
compiled = torch.compile(rnn, backend="aot_eager", fullgraph=True)
for B in (3, 1, 2):
    x = torch.randn(4, B, 3)
    torch._dynamo.decorators.mark_unbacked(x, 1)
    torch.testing.assert_close(compiled(x)[0], rnn(x)[0])
    compiled(x)[0].sum().backward()

# Lengths that are none are noticed by a compiled graph too.
try:
    compiled = torch.compile(rnn, backend="aot_eager", fullgraph=True)
    compiled(torch.randn(4, 2, 3), lengths=torch.tensor([5, 1]))
except sl.SelfloopError as error:
    assert "'lengths' of lstm must lie between 0 and 4" in str(error), error
else:
    raise AssertionError("a length of 5 of 4")


class Ragged(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = sl.LSTM(3, 4, bidirectional=True, batch_first=True)

    def forward(self, x, lengths):
        return self.rnn(x, lengths=lengths)[0]


Dim, module = torch.export.Dim, Ragged()
for T, B in ((Dim("T"), Dim("B")), (Dim.DYNAMIC, Dim.DYNAMIC)):
    given = torch.randn(3, 4, 3), torch.tensor([4, 2, 0])
    exported = torch.export.export(module, given, dynamic_shapes=({0: B, 1: T}, {0: B})).module()
    for b, t in ((3, 4), (2, 7), (5, 1), (1, 3), (1, 1)):
        x, lengths = torch.randn(b, t, 3, requires_grad=True), torch.randint(0, t + 1, (b,))
        answers = [[y, *torch.autograd.grad(y.sum(), x)] for y in (exported(x, lengths), module(x, lengths))]
        torch.testing.assert_close(*answers, msg=str((b, t)))
"""


@pytest.mark.parametrize("script", [SCRIPT, CHANGING], ids=["as it is", "as sizes change"])
def test_a_stack_compiles_and_exports_without_a_break(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
