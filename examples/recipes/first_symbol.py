"""What the recipes train: which symbol came first, asked at the end of a sequence."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import selfloop as sl

SYMBOLS, STEPS = 4, 12


def sequences(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sequences of symbols (count, STEPS), and the first of each (count,)."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(SYMBOLS, (count, STEPS), generator=generator)
    return tokens, tokens[:, 0].clone()


class FirstSymbol(nn.Module):
    """An LSTM that reads the symbols, and says at the end which came first."""

    def __init__(self, hidden_size: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, 8)
        self.rnn = sl.LSTM(8, hidden_size, batch_first=True)
        self.readout = nn.Linear(hidden_size, SYMBOLS)
        with torch.no_grad():
            self.rnn.bias_hh_l0[hidden_size : 2 * hidden_size] += 2  # the forget gates begin open

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, SYMBOLS) of tokens (B, T)."""
        y, _ = self.rnn(self.embedding(tokens))
        return self.readout(y[:, -1])


def learn(model: nn.Module, updates: int, share: slice = slice(None)) -> None:
    """Plain gradient descent, on all rows of each batch of 64 or on a share of them."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tokens, first = sequences(64 * updates, seed=1)
    for rows in torch.arange(64 * updates).split(64):
        own = rows[share]
        F.cross_entropy(model(tokens[own]), first[own]).backward()
        optimizer.step()
        optimizer.zero_grad()
