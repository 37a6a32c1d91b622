"""The structurally constrained network."""

from selfloop.language import cell, concat, param, sigmoid, split, state


@cell
def scrn(
    x,
    h=state("h+s"),
    *,
    W_xs=param("s x"),
    W_xh=param("h x"),
    W_sh=param("h s"),
    W_hh=param("h h"),
    keep=param("", init=0.95, trainable=False),
):
    r"""Structurally constrained network: a vanilla network beside s slow units, which forget by a fixed share.

    $s_t = (1 - \alpha) W_{xs} x_t + \alpha s_{t-1}$, $u_t = \sigma(W_{sh} s_t + W_{xh} x_t + W_{hh} u_{t-1})$, and
    $h_t = [u_t, s_t]$ (Mikolov et al. 2014, "Learning longer memory in recurrent neural networks", whose readout sees
    both). α does not learn, as there.
    """
    u, s = split(h, ("h", "s"))
    s = (1 - keep) * (W_xs @ x) + keep * s
    u = sigmoid(W_sh @ s + W_xh @ x + W_hh @ u)
    h = concat(u, s)
    return h
