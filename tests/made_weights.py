"""The ways in which torch makes a weight of others before each call."""

import torch
from torch.nn import utils
from torch.nn.utils import parametrizations, prune

MADE = {
    "pruned": lambda rnn, name: prune.random_unstructured(rnn, name, 0.5),
    "pruned twice": lambda rnn, name: [prune.random_unstructured(rnn, name, 0.3) for _ in range(2)],
    "weight norm": utils.weight_norm,
    "spectral norm": utils.spectral_norm,
    "parametrised weight norm": parametrizations.weight_norm,
    "parametrised spectral norm": parametrizations.spectral_norm,
    "parametrised and pruned": lambda rnn, name: [
        parametrizations.weight_norm(rnn, name),
        prune.random_unstructured(rnn, name.replace("hh", "ih" if name[0] == "w" else "xh"), 0.5),
    ],
}


def changed(rnn):
    """As an update of training changes it."""
    with torch.no_grad():
        for weight in rnn.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
