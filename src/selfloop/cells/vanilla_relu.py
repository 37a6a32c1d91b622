"""The vanilla recurrent network with rectified units."""

from selfloop.language import cell, param, relu


@cell
def vanilla_relu(x, h, *, W_xh=param("h x"), W_hh=param("h h"), b=param("h")):
    r"""$h_t = \max(0, W_{xh} x_t + W_{hh} h_{t-1} + b)$ (Le, Jaitly & Hinton 2015, "A simple way to initialize …")."""
    h = relu(W_xh @ x + W_hh @ h + b)
    return h
