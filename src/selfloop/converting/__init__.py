"""Bringing in: the recurrent weights of ONNX, Keras and torch files, as layers that are proven to be the same."""

from selfloop.converting.converted import Converted, ConvertedLayer, convert

__all__ = ["Converted", "ConvertedLayer", "convert"]
