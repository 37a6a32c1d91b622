"""The language of cells: one step of a recurrence as a function, and the words it is written with."""

from selfloop.language.cell import Cell, cell, chrono, given, param, state
from selfloop.language.words import *  # noqa: F403 - whatever is a word is public
from selfloop.language.words import WORDS, Matrix, Scalar, Symbol, Vector

__all__ = ["Cell", "Matrix", "Scalar", "Symbol", "Vector", "cell", "chrono", "given", "param", "state", *WORDS]  # noqa: PLE0604
