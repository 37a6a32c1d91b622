"""Decoding: from a model's steps to sequences. One protocol, `StepModel`, for every model and method."""

from selfloop.decoding.beam import Hypothesis, beam_search
from selfloop.decoding.sampling import DecodingState, Sampling, StepModel, generate

__all__ = ["DecodingState", "Hypothesis", "Sampling", "StepModel", "beam_search", "generate"]
