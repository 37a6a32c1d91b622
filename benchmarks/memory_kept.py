"""What an LSTM keeps between forward and backward, ours beside torch's, and what `recompute` costs.

    python benchmarks/memory_kept.py [--rounds 11]

MiB by torch's hooks on what autograd saves, parameters and input not counted; for torch also the workspace of oneDNN,
which it saves as an output. Ms of a training step, in turns, medians.
"""

import argparse
import statistics
import time

import torch

import selfloop as sl

SHAPES = ((96, 32, 128), (128, 64, 256), (64, 64, 512))


def kept(module: torch.nn.Module, x: torch.Tensor) -> float:
    """MiB that autograd saves."""
    given = {t.untyped_storage().data_ptr() for t in (x, *module.parameters())}
    found: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in given:
            found[storage.data_ptr()] = t.numel() * t.element_size()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        alive = module(x)
    del alive
    return sum(found.values()) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    for steps, batch, size in SHAPES:
        x = torch.randn(steps, batch, size, requires_grad=True)
        modules = {
            "torch.nn.LSTM": torch.nn.LSTM(size, size),
            "sl.LSTM": sl.LSTM(size, size),
            "sl.LSTM(recompute=8)": sl.LSTM(size, size, recompute=8),
            "sl.LSTM(recompute=16)": sl.LSTM(size, size, recompute=16),
        }
        times: dict[str, list[float]] = {name: [] for name in modules}
        for _ in range(rounds + 2):
            for name, module in modules.items():
                start = time.perf_counter()
                module(x)[0].sum().backward()
                times[name].append(1e3 * (time.perf_counter() - start))
        print(f"T {steps}, B {batch}, I = H = {size}")
        theirs, ours = kept(modules["torch.nn.LSTM"], x), statistics.median(times["sl.LSTM"][2:])
        for name, module in modules.items():
            own, ms = kept(module, x), statistics.median(times[name][2:])
            print(f"  {name:24} {own:7.2f} MiB, {own / theirs:5.3f} of torch's   {ms:7.2f} ms, {ms / ours:.2f} of ours")


if __name__ == "__main__":
    main()
