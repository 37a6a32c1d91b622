"""Long short-term memory whose output is projected to another size."""

from selfloop.language import cell, param, sigmoid, split, state, tanh


@cell
def projected_lstm(
    x,
    h=state("p"),
    c=state("h"),
    *,
    W_xh=param("4h x"),
    W_hh=param("4h p"),
    b=param("4h", init=(0, 1, 0, 0)),
    W_hr=param("p h"),
):
    r"""LSTM with $h_t = W_{hr} (o \odot \tanh(c_t))$ of size p (Sak, Senior & Beaufays 2014, "Long short-term memory
    based recurrent neural network architectures for large vocabulary speech recognition"), as torch.nn's `proj_size`.
    """
    i, f, g, o = split(W_xh @ x + W_hh @ h + b, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c + i * g
    h = W_hr @ (o * tanh(c))
    return h, c
