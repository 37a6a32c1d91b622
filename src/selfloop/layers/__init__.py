"""Layers: a cell over whole sequences."""

from selfloop.kernels.cross_entropy import linear_cross_entropy
from selfloop.layers.attention import Attention
from selfloop.layers.drop_in import GRU, LSTM, RNN
from selfloop.layers.drop_in_cells import GRUCell, LSTMCell, RNNCell
from selfloop.layers.dropout import EmbeddingDropout, VariationalDropout
from selfloop.layers.read_out import cross_entropy
from selfloop.layers.recurrent import Recurrent
from selfloop.layers.state import State
from selfloop.layers.stepper import Stepper
from selfloop.layers.windows import Windows

__all__ = [
    "GRU", "LSTM", "RNN", "Attention", "EmbeddingDropout", "GRUCell", "LSTMCell", "RNNCell", "Recurrent", "State",
    "Stepper", "VariationalDropout", "Windows", "cross_entropy", "linear_cross_entropy",
]  # fmt: skip
