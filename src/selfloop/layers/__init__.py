"""Layers: a cell over whole sequences."""

from selfloop.layers.attention import Attention
from selfloop.layers.drop_in import GRU, LSTM, RNN
from selfloop.layers.dropout import EmbeddingDropout, VariationalDropout
from selfloop.layers.recurrent import Recurrent
from selfloop.layers.state import State
from selfloop.layers.stepper import Stepper

__all__ = ["GRU", "LSTM", "RNN", "Attention", "EmbeddingDropout", "Recurrent", "State", "Stepper", "VariationalDropout"]
