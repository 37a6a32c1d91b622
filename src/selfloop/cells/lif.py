"""Leaky integrate-and-fire neurons."""

from selfloop.language import cell, clip, param, spike


@cell
def lif(
    x,
    h,
    v,
    *,
    W_xh=param("h x"),
    W_hh=param("h h", init=0),
    b=param("h"),
    keep=param("h", init=0.9),
    threshold=param("", init=1, trainable=False),
):
    r"""Leaky integrate-and-fire neurons: potentials leak, sum what arrives, and fire above a threshold.

    $v_t = \beta \odot v_{t-1} + W_{xh} x_t + W_{hh} h_{t-1} + b - \theta h_{t-1}$, $h_t = 1$ where $v_t > \theta$ and
    else 0 (Neftci et al. 2019, "Surrogate gradient learning in spiking neural networks", without synaptic currents;
    the gradient is that of `spike`). What is kept, β, is held between 0 and 1, as snnTorch does: beyond, a potential
    grows without end.
    """
    v = clip(keep, 0, 1) * v + W_xh @ x + W_hh @ h + b - threshold * h
    h = spike(v - threshold, slope=10)
    return h, v
