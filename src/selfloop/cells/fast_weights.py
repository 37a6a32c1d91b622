"""Fast weights."""

from selfloop.language import cell, layer_norm, outer, param, relu, state


@cell
def fast_weights(
    x,
    h,
    A=state("h h"),
    *,
    W_xh=param("h x"),
    W_hh=param("h h", init="identity"),
    b=param("h"),
    gain=param("h", init=1),
    b_n=param("h"),
    decay=param("", init=0.95, trainable=False),
    rate=param("", init=0.5, trainable=False),
):
    r"""Fast weights: a matrix of what the units were lately draws each new state towards what it resembles.

    $A_t = \lambda A_{t-1} + \eta\, h_{t-1} h_{t-1}^T$; from $z = W_{hh} h_{t-1} + W_{xh} x_t + b$ and $s = \max(0, z)$
    one inner step makes $h_t = \max(0, \mathrm{LN}(z + A_t s))$ with a gain and a bias (Ba et al. 2016, "Using fast
    weights to attend to the recent past", equations 1 and 2 with layer normalisation). λ and η do not learn. W_hh
    starts as the identity, at the paper's scale of 0.05 if ``rnn.W_hh_l0.data *= 0.05``.
    """
    A = decay * A + rate * outer(h, h)
    z = W_hh @ h + W_xh @ x + b
    h = relu(gain * layer_norm(z + A @ relu(z)) + b_n)
    return h, A
