"""A cell on a stream: one step a call."""

import numpy as np
from own_cell import peephole

import selfloop as sl

rnn = sl.Recurrent(peephole, input_size=8, hidden_size=32, num_layers=2)
stream = np.random.default_rng(0).standard_normal((100, 8), dtype=np.float32)

stepper = sl.Stepper(rnn)
for x in stream:  # numpy arrays or tensors, of shape (8,)
    y = stepper(x)  # of the same kind, written over at the next call
print(y.shape, stepper.state)
print(stepper.explain())
