"""The Legendre memory unit."""

from typing import Any

from selfloop.language import cell, param, state, sum, tanh

WINDOW = 100
"""Steps that the memory spans."""


def legendre(like: Any, order: int, window: float = WINDOW) -> tuple[Any, Any]:
    """A (d × d) and B (d) of a memory of d Legendre polynomials over so many steps, held for a step each.

    Args:
        like: a tensor; they have its dtype and device.
        order: d.
        window: θ, in steps.
    """
    rows = [
        [(2 * i + 1) / window * (-1 if i < j else (-1) ** (i - j + 1)) for j in range(order)]
        + [(2 * i + 1) / window * (-1) ** i]
        for i in range(order)
    ]
    both = (
        like.double().new_tensor([*rows, [0.0] * (order + 1)]).matrix_exp().to(like)
    )  # of [A B; 0 0] it is [A B; 0 1]
    return both[:-1, :-1], both[:-1, -1]


def start_A(weight: Any) -> None:  # noqa: N802, as the parameter
    """The memory's A."""
    weight.copy_(legendre(weight, len(weight))[0])


def start_B(weight: Any) -> None:  # noqa: N802, as the parameter
    """The memory's B."""
    weight.copy_(legendre(weight, len(weight))[1])


@cell
def lmu(
    x,
    h,
    m=state("d"),
    *,
    e_x=param("1 x"),
    e_h=param("1 h", init=0),
    e_m=param("1 d", init=0),
    A=param("d d", init=start_A, trainable=False),
    B=param("d", init=start_B, trainable=False),
    W_xh=param("h x"),
    W_hh=param("h h"),
    W_mh=param("h d"),
):
    r"""Legendre memory unit: d numbers hold one signal over a window of steps, as coefficients of polynomials.

    $u_t = e_x^T x_t + e_h^T h_{t-1} + e_m^T m_{t-1}$, $m_t = \bar A m_{t-1} + \bar B u_t$, $h_t = \tanh(W_{xh} x_t +
    W_{hh} h_{t-1} + W_{mh} m_t)$; $\bar A = e^{A / \theta}$ and $\bar B = A^{-1} (\bar A - I) B$ do not learn. $A_{ij}
    = -(2i + 1)$ for $i < j$ and else $(2i + 1) (-1)^{i - j + 1}$, $B_i = (2i + 1) (-1)^i$ (Voelker et al. 2019,
    "Legendre memory units: continuous-time representation in recurrent neural networks"). The window θ is 100 steps;
    another is set by ``A, B = legendre(rnn.A_l0, 16, window=784)``, copied to ``rnn.A_l0`` and ``rnn.B_l0``.
    """
    u = sum(e_x @ x + e_h @ h + e_m @ m)
    m = A @ m + B * u
    h = tanh(W_xh @ x + W_hh @ h + W_mh @ m)
    return h, m
