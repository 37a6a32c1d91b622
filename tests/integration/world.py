"""What a process does before it trains as one of several whose weights are compared."""

import os

import torch

from selfloop.models.encoders import WordEncoder


def be_exact():
    """In float64, and without words that are unknown at random, which each process would draw for itself."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    WordEncoder.UNKNOWN = 0.0


def be_one_of(rank, world_size, port):
    """As torchrun has it."""
    be_exact()
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
    os.environ |= {name: str(value) for name, value in places.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
