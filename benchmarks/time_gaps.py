"""GRU-D and CfC over series with gaps in time: a training step, against the loop that one would write in torch.

    python benchmarks/time_gaps.py [--rounds 11]

T = 50 steps, B = 16 series of 8 variables, H = 32 units. The loop of CfC is a step as its authors write it; that of
GRU-D makes what does not depend on the state for all steps at once. Outputs and gradients must agree before anything is
timed.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

import selfloop as sl
from selfloop.bench.timing import ratio, spread, take_turns

T, B, I, H, K = 50, 16, 8, 32, 64  # noqa: E741


def gru_d(rnn: sl.Recurrent, x: Tensor, mask: Tensor, dt: Tensor) -> Tensor:
    """Che et al. 2018."""
    w = {name.removesuffix("_l0"): value for name, value in (*rnn.named_parameters(), *rnn.named_buffers())}
    known = torch.exp(-F.relu(w["w_dx"] * dt + w["b_dx"]))
    fades = torch.exp(-F.relu(F.linear(dt, w["W_dh"], w["b_dh"])))
    of_mask = F.linear(mask, w["W_mh"], w["b"])
    h, last, outputs = x.new_zeros(B, H), x.new_zeros(B, I), []
    for t in range(T):
        filled = torch.where(mask[t] > 0, x[t], known[t] * last + (1 - known[t]) * w["mean"])
        last = torch.where(mask[t] > 0, x[t], last)
        h = fades[t] * h
        a_r, a_z, a_n = (F.linear(filled, w["W_xh"]) + of_mask[t]).chunk(3, -1)
        s_r, s_z = F.linear(h, w["W_hh"]).chunk(2, -1)
        r, z = torch.sigmoid(a_r + s_r), torch.sigmoid(a_z + s_z)
        n = torch.tanh(a_n + F.linear(r * h, w["U"]))
        h = (1 - z) * h + z * n
        outputs.append(h)
    return torch.stack(outputs)


def cfc(rnn: sl.Recurrent, x: Tensor, dt: Tensor) -> Tensor:
    """Hasani et al. 2022: a backbone, and a linear layer each for both readouts and for both coefficients of time."""
    w = {name.removesuffix("_l0"): value for name, value in rnn.named_parameters()}
    layers = list(zip(w["W"].chunk(4), w["b"].chunk(4), strict=True))
    h, outputs = x.new_zeros(B, H), []
    for t in range(T):
        u = 1.7159 * torch.tanh(2 / 3 * F.linear(torch.cat([x[t], h], -1), w["W_b"], w["b_b"]))
        f, g, a, o = (F.linear(u, weight, bias) for weight, bias in layers)
        late = torch.sigmoid(a * dt[t] + o)
        h = torch.tanh(f) * (1 - late) + late * torch.tanh(g)
        outputs.append(h)
    return torch.stack(outputs)


def training_step(rnn: sl.Recurrent, forward: Callable[[], Tensor]) -> Callable[[], list[Tensor]]:
    """The output and the gradient of every parameter."""

    def step() -> list[Tensor]:
        y = forward()
        return [y.detach(), *torch.autograd.grad(y.square().mean(), list(rnn.parameters()))]

    return step


def main() -> None:
    """Check, time in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    x, mask, gaps = torch.randn(T, B, I), (torch.rand(T, B, I) < 0.6).float(), torch.rand(T, B, I)
    units = sl.Recurrent(sl.cells.cfc, I, H, k=K)
    series = sl.Recurrent(sl.cells.gru_d, I, H)
    gap = gaps[..., :1]
    cases = {
        "gru_d": (series, lambda: series(x, mask=mask, dt=gaps)[0], lambda: gru_d(series, x, mask, gaps)),
        "cfc": (units, lambda: units(x, dt=gap)[0], lambda: cfc(units, x, gap)),
    }
    print(f"T {T}, B {B}, H {H}, training, {torch.get_num_threads()} threads, {rounds} rounds")
    for name, (rnn, own, loop) in cases.items():
        ours, theirs = training_step(rnn, own), training_step(rnn, loop)
        for got, expected in zip(ours(), theirs(), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
        times = take_turns([ours, theirs], rounds)
        faster = ratio(*times)
        print(
            f"{name:6} by {rnn.runs_as}: {spread(times[0]).median:6.2f} ms, loop {spread(times[1]).median:6.2f} ms, "
            f"{faster.median:.1f} times as fast, quartiles {faster.low:.1f} to {faster.high:.1f}"
        )


if __name__ == "__main__":
    main()
