"""The tasks: each its data, its model, its metric, and its embedded default."""

from selfloop.tasks.loading import load

__all__ = ["load"]
