"""The vanilla recurrent network."""

from selfloop.language import cell, param, tanh


@cell
def vanilla(x, h, *, W_xh=param("h x"), W_hh=param("h h"), b=param("h")):
    r"""Elman network: $h_t = \tanh(W_{xh} x_t + W_{hh} h_{t-1} + b)$ (Elman 1990, "Finding structure in time")."""
    h = tanh(W_xh @ x + W_hh @ h + b)
    return h
