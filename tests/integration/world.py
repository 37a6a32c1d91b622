"""What a process does before it trains as one of several whose weights are compared."""

import os
import socket

import torch
from integration.launch import fill_the_disk

from selfloop.models.encoders import WordEncoder
from selfloop.tasks.caption import captioner
from selfloop.tasks.classify import Classifier
from selfloop.tasks.label import Labeller
from selfloop.tasks.translate import translator
from selfloop.training import sparse_gradients


def be_exact():
    """In float64, and without words that are unknown at random, which each process would draw for itself; scored in
    batches so small that processes have several, or unequal numbers of them. With AdamW, tables have sparse gradients.
    """
    Classifier.BATCH = Labeller.BATCH = translator.BATCH = captioner.BATCH = 2
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    WordEncoder.UNKNOWN = 0.0
    sparse_gradients.LARGE = 1


def be_one_of(rank, world_size, port):
    """Exactly, in a world of several."""
    be_exact()
    take_place(rank, world_size, port)


def take_place(rank, world_size, port):
    """As torchrun has it, on machines of two processes."""
    places = {"RANK": rank, "LOCAL_RANK": rank % 2, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": min(2, world_size)}
    os.environ |= {name: str(value) for name, value in places.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def fill_the_first_disk(rank, size, port):
    """When it saves its first checkpoint, or soon after."""
    take_place(rank, size, port)
    if rank == 0:
        fill_the_disk(16)


def fill_the_second_disk(rank, size, port):
    """At its first file, of the second machine."""
    take_place(rank, size, port)
    if rank > 1:
        fill_the_disk(1)


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
