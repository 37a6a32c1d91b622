"""The tasks: each its data, its model, its metric, and its embedded default."""

import importlib
from typing import TYPE_CHECKING

_HOMES = {
    "Captioner": "caption",
    "Classifier": "classify",
    "Labeller": "label",
    "TextModel": "lm",
    "TrainedModel": "predictor",
    "Translator": "translate",
    "load": "loading",
}

if TYPE_CHECKING:
    from selfloop.tasks.caption import Captioner as Captioner
    from selfloop.tasks.classify import Classifier as Classifier
    from selfloop.tasks.label import Labeller as Labeller
    from selfloop.tasks.lm import TextModel as TextModel
    from selfloop.tasks.loading import load as load
    from selfloop.tasks.predictor import TrainedModel as TrainedModel
    from selfloop.tasks.translate import Translator as Translator
else:

    def __getattr__(name: str) -> object:
        """The table of tasks is read for `--help`, which need not wait for torch."""
        if name not in _HOMES:
            raise AttributeError(f"module 'selfloop.tasks' has no attribute '{name}'")
        return getattr(importlib.import_module(f"selfloop.tasks.{_HOMES[name]}"), name)


__all__ = ["Captioner", "Classifier", "Labeller", "TextModel", "TrainedModel", "Translator", "load"]
