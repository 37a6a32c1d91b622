"""The small gated network for small devices."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def fastgrnn(
    x,
    h,
    *,
    W_xh=param("h x"),
    W_hh=param("h h"),
    b=param("2h", init=1),
    zeta=param("", init=1),
    nu=param("", init=-4),
):
    r"""FastGRNN: gate and candidate share their matrices, in the order z, n.

    $z = \sigma(W_{xh} x_t + W_{hh} h_{t-1} + b_z)$, $n = \tanh(W_{xh} x_t + W_{hh} h_{t-1} + b_n)$,
    $h_t = (\sigma(\zeta) (1 - z) + \sigma(\nu)) \odot n + z \odot h_{t-1}$
    (Kusupati et al. 2018, "FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated recurrent neural network";
    full matrices; vectors and scalars start as in its authors' code).
    """
    a = W_xh @ x + W_hh @ h
    b_z, b_n = split(b, 2)
    z, n = sigmoid(a + b_z), tanh(a + b_n)
    h = (sigmoid(zeta) * (1 - z) + sigmoid(nu)) * n + z * h
    return h
