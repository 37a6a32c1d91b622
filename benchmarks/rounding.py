"""How far the gradients of weights are from double precision, ours and torch.nn's, and whether threads change a bit.

    python benchmarks/rounding.py

Inputs are positive, so that sums grow and what is added late is small beside them.
"""

import torch

import selfloop as sl
from selfloop import processors


def gradients(rnn: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of the sum of all outputs."""
    rnn.zero_grad()
    rnn(x)[0].sum().backward()
    return {name: p.grad.clone() for name, p in rnn.named_parameters()}


def errors(T: int, B: int, size: int = 8) -> None:
    """The largest error of each gradient, relative to its largest element."""
    ours, theirs = sl.LSTM(size, size, backend="native"), torch.nn.LSTM(size, size)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(T, B, size)
    found = {"selfloop": gradients(ours, x), "torch.nn": gradients(theirs, x)}
    exact = gradients(ours.double(), x.double())
    print(f"LSTM({size}, {size}), T {T}, B {B}: {T * B:,} rows")
    for library, own in found.items():
        parts = [f"{name} {(own[name] - g).abs().max() / g.abs().max():.1e}" for name, g in exact.items()]
        print(f"  {library}  {', '.join(parts)}")


def bits(T: int, B: int, H: int) -> None:
    """Compare the gradients of several numbers of threads with those of one."""
    processors.count = lambda: 64  # more threads than there are processors, too
    rnn, x, before = sl.LSTM(64, H, backend="native"), torch.randn(T, B, 64), torch.get_num_threads()
    found = []
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        found.append(gradients(rnn, x))
    torch.set_num_threads(before)
    same = all(torch.equal(own[name], g) for own in found for name, g in found[0].items())
    print(f"LSTM(64, {H}), T {T}, B {B}, 1, 2, 3 and 5 threads: {'the same bits' if same else 'OTHER BITS'}")


if __name__ == "__main__":
    torch.manual_seed(0)
    errors(1000, 3000)
    errors(3000, 1000)
    bits(300, 30, 64)
    bits(300, 30, 1024)
