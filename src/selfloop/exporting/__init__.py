"""Shipping: a trained stack as source that any C compiler takes."""

from selfloop.exporting.c import export

__all__ = ["export"]
