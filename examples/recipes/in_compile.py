"""torch.compile: the whole model in one graph, with the recurrent kernel as one operator of it."""

import torch
from first_symbol import FirstSymbol, sequences
from torch.nn import functional as F

torch.manual_seed(0)
model = FirstSymbol()
# Without `backend` torch generates C++, for which it needs a compiler.
compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
tokens, first = sequences(64 * 150, seed=1)
for rows in torch.arange(len(tokens)).split(64):
    F.cross_entropy(compiled(tokens[rows]), first[rows]).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()

tokens, first = sequences(512, seed=2)
print(f"accuracy {(compiled(tokens).argmax(-1) == first).float().mean():.3f}")
