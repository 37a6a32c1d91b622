"""What the command line and a notebook do alike: train a run, show it, score it, draw it."""

from selfloop.app.session import resume, train

__all__ = ["resume", "train"]
