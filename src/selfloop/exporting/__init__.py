"""Shipping: a trained model as what programs without Python, or without selfloop, can run."""

from selfloop.exporting.export_model import export
from selfloop.exporting.exported import Exported, Tried

__all__ = ["Exported", "Tried", "export"]
