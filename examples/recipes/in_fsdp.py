"""FSDP2: each of two processes keeps half of every weight, and the layer runs on the gathered whole."""

import os
import socket

import torch
import torch.distributed as dist
from first_symbol import FirstSymbol, learn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor


def new_model():
    torch.manual_seed(0)
    return FirstSymbol().double()


def one_of_two(rank, port):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mesh = dist.init_device_mesh("cpu", (2,))
    model = fully_shard(new_model(), mesh=mesh)
    assert all(isinstance(weight, DTensor) for weight in model.parameters())
    learn(model, updates=50, share=slice(rank, None, 2))
    gathered = [weight.full_tensor() for weight in model.parameters()]
    if rank == 0:
        alone = new_model()
        learn(alone, updates=50)
        pairs = zip(gathered, alone.parameters(), strict=True)
        print(f"weights of two processes and of one differ by {max((a - b).abs().max().item() for a, b in pairs):.1e}")
    dist.barrier()  # FSDP keeps the group's threads alive: one that still holds a tensor when Python ends aborts it
    dist.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two, (port,), nprocs=2)
