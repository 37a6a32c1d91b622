"""The simple recurrent unit."""

from selfloop.language import cell, param, sigmoid, split


@cell
def sru(x, h, c, *, W_xh=param("4h x"), v=param("2h"), b=param("2h")):
    r"""Simple recurrent unit: all products are of the input, and only elementwise operations wait for the step before.

    $f = \sigma(W_f x_t + v_f \odot c_{t-1} + b_f)$, $r$ likewise, $c_t = f \odot c_{t-1} + (1 - f) \odot W x_t$, $h_t
    = r \odot c_t + (1 - r) \odot W_s x_t$ (Lei et al. 2018, "Simple recurrent units for highly parallelizable
    recurrence"). The paper's highway hands on x itself where the sizes allow it; $W_s$ is what its code has where
    they do not.
    """
    f, r, u, s = split(W_xh @ x, 4)
    v_f, v_r = split(v, 2)
    b_f, b_r = split(b, 2)
    f, r = sigmoid(f + v_f * c + b_f), sigmoid(r + v_r * c + b_r)
    c = f * c + (1 - f) * u
    h = r * c + (1 - r) * s
    return h, c
