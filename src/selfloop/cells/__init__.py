"""The zoo: cells as equations, a file each."""

from selfloop.cells.gru import gru
from selfloop.cells.lstm import lstm
from selfloop.cells.projected_lstm import projected_lstm
from selfloop.cells.vanilla import vanilla
from selfloop.cells.vanilla_relu import vanilla_relu

__all__ = ["gru", "lstm", "projected_lstm", "vanilla", "vanilla_relu"]

ZOO = {cell.name: cell for cell in (gru, lstm, projected_lstm, vanilla, vanilla_relu)}
"""Every cell by its name."""
