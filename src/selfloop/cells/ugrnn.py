"""The update gate network."""

from selfloop.language import cell, param, sigmoid, split, tanh


@cell
def ugrnn(x, h, *, W_xh=param("2h x"), W_hh=param("2h h"), b=param("2h", init=(1, 0))):
    r"""Update gate network: a vanilla network with one gate that keeps, in the order z, n.

    $h_t = z \odot h_{t-1} + (1 - z) \odot n$, $z = \sigma(W_{xz} x_t + W_{hz} h_{t-1} + b_z)$,
    $n = \tanh(W_{xn} x_t + W_{hn} h_{t-1} + b_n)$ (Collins, Sohl-Dickstein & Sussillo 2016, "Capacity and trainability
    in recurrent neural networks"; its constant on the gate is the start of b).
    """
    z, n = split(W_xh @ x + W_hh @ h + b, 2)
    z, n = sigmoid(z), tanh(n)
    h = z * h + (1 - z) * n
    return h
