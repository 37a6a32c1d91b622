"""Accelerate: the same loop on one processor, on GPUs, or on many machines with `accelerate launch`."""

import torch
from accelerate import Accelerator
from first_symbol import FirstSymbol, sequences
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
accelerator = Accelerator(cpu=True)
model = FirstSymbol()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
loader = DataLoader(TensorDataset(*sequences(2048, seed=1)), batch_size=64, shuffle=True)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for _ in range(5):
    for tokens, first in loader:
        loss = F.cross_entropy(model(tokens), first)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

tokens, first = sequences(512, seed=2)
print(f"accuracy {(accelerator.unwrap_model(model)(tokens).argmax(-1) == first).float().mean():.3f}")
