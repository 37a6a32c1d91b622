"""A cell over ragged sequences, then one step at a time."""

import torch
from own_cell import peephole

import selfloop as sl

print(peephole)  # its equations

rnn = sl.Recurrent(peephole, input_size=8, hidden_size=32, num_layers=2)
x = torch.randn(20, 3, 8)  # time, batch, features
y, state = rnn(x, lengths=[20, 7, 13])  # ragged, in any order
y_t, state = rnn.step(torch.randn(3, 8), state)  # one more step for each
print(y.shape, y_t.shape, state)
print(rnn.explain())  # what runs it, and why nothing faster does

y, state, seen = rnn(x, record=("f", "c"))  # the forget gate and the cell state
print(seen["f_l0"].shape, seen["c_l1"].abs().mean())
