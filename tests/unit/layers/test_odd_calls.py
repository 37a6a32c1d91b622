"""Arguments of a wrong kind are named, by the code itself: in a process without the tests' checks of types."""

import subprocess
import sys

SCRIPT = """
import numpy as np
import torch
import selfloop as sl
from selfloop import cells

X = torch.zeros(5, 2, 3)
rnn, state = sl.Recurrent(cells.lstm, 3, 4), sl.Recurrent(cells.lstm, 3, 4).zero_state(2)
calls = {
    "The 'h' of State must be a tensor. Got list": lambda: sl.State(h=[1.0]),
    "The 'mask' of State.reset must be a tensor of bool. Got list": lambda: state.reset([True, False]),
    "The 'mask' of State.reset must be a tensor of bool. Got torch.float32": lambda: state.reset(torch.ones(2)),
    "The 'rows' of State.select must be a tensor of whole numbers": lambda: state.select([1]),
    "State.reset must be a tensor of bool. Got list": lambda: sl.Stepper(rnn).reset(mask=[True]),
    "The 'embedding' of EmbeddingDropout must be an nn.Embedding. Got int": lambda: sl.EmbeddingDropout(3, 0.5),
    "The 'x' of Stepper must be a numpy array or a tensor. Got list": lambda: sl.Stepper(rnn)([1.0, 2.0, 3.0]),
    "The 'lengths' of Recurrent must be whole numbers. Got {'a': 1}": lambda: rnn(X, lengths={"a": 1}),
    "Got a mask of torch.bool instead": lambda: rnn(X, lengths=np.ones((5, 2), bool)),
    "'spike' needs a value of a cell": lambda: sl.spike(X, -1),
    "'clip' needs a value of a cell": lambda: sl.clip(X, 1, 0),
    "Got int, int instead; to run it over tensors": lambda: cells.lstm(3, 4),
    "Windows cuts tensors along time, dimension 0. Got list": lambda: sl.Windows(rnn, [1.0], steps=2),
}
for says, call in calls.items():
    try:
        call()
    except sl.SelfloopError as error:
        assert says in str(error), f"{says}: {error}"
    else:
        raise AssertionError(says)
"""


def test_what_is_of_a_wrong_kind_is_named_with_what_was_expected():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
