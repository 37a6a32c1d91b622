"""`torch.compile` and `torch.export` see a stack whole, whichever way runs it.

In a process of its own: the tests' shape checks are no part of what users compile.
"""

import subprocess
import sys

SCRIPT = """
import torch
import selfloop as sl

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
    "a drop-in": (sl.LSTM(3, 4), (x, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))), {}),
}
for name, (rnn, args, options) in calls.items():
    torch._dynamo.reset()
    y, state = torch.compile(rnn, backend="eager", fullgraph=True)(*args, **options)
    expected, last = rnn(*args, **options)
    assert type(state) is type(last), name
    torch.testing.assert_close([y, *state], [expected, *last], msg=name)

for name in ("a fused cell", "a given state"):
    rnn, args, options = calls[name]
    y, state = torch.export.export(rnn, args, options).module()(*args, **options)
    assert isinstance(state, sl.State), name
    torch.testing.assert_close(y, rnn(*args, **options)[0], msg=name)
"""


def test_a_stack_compiles_and_exports_without_a_break():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
