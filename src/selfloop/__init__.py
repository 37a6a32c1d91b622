"""selfloop: recurrent networks.

Write the recurrence as an equation, train it on your own data, look inside it.

    >>> import selfloop as sl
    >>> from selfloop import param, tanh
    >>> @sl.cell
    ... def mine(x, h, *, W=param("h x"), U=param("h h")):
    ...     h = tanh(W @ x + U @ h)
    ...     return h
    >>> rnn = sl.Recurrent(mine, input_size=8, hidden_size=16)
"""

import importlib
from typing import TYPE_CHECKING, Any

from selfloop.language import __all__ as _LANGUAGE
from selfloop.version import __version__

_LAYERS = (
    "GRU", "LSTM", "RNN", "Attention", "EmbeddingDropout", "GRUCell", "LSTMCell", "RNNCell", "Recurrent", "State",
    "Stepper", "VariationalDropout", "Windows", "cross_entropy", "linear_cross_entropy",
)  # fmt: skip
_MODELS = ("EncoderDecoder", "LanguageModel", "ManyToMany", "ManyToOne", "OneToMany")
_TRAINED = ("Captioner", "Classifier", "Labeller", "TextModel", "TrainedModel", "Translator")
_HOMES = {
    **dict.fromkeys(_LANGUAGE, "selfloop.language"),
    **dict.fromkeys(_LAYERS, "selfloop.layers"),
    **dict.fromkeys(_MODELS, "selfloop.models"),
    **dict.fromkeys((*_TRAINED, "load"), "selfloop.tasks"),
    **dict.fromkeys(("resume", "train"), "selfloop.app"),
    "Batches": "selfloop.data.batches",
    "convert": "selfloop.converting",
    "export": "selfloop.exporting",
    **dict.fromkeys(("export_onnx", "onnx_translations"), "selfloop.exporting.onnx"),
    "show": "selfloop.compiler",
    "SelfloopError": "selfloop.errors",
}
__all__ = ["__version__", "cells", *sorted(_HOMES)]  # noqa: PLE0604

if TYPE_CHECKING:
    from selfloop import cells as cells
    from selfloop.app import resume as resume
    from selfloop.app import train as train
    from selfloop.compiler import show as show
    from selfloop.converting import convert as convert
    from selfloop.data.batches import Batches as Batches
    from selfloop.errors import SelfloopError as SelfloopError
    from selfloop.exporting import export as export
    from selfloop.exporting.onnx import export_onnx as export_onnx
    from selfloop.exporting.onnx import onnx_translations as onnx_translations
    from selfloop.language import *  # noqa: F403
    from selfloop.language.words import *  # noqa: F403  mypy reads no computed __all__
    from selfloop.layers import *  # noqa: F403
    from selfloop.models import EncoderDecoder as EncoderDecoder
    from selfloop.models import LanguageModel as LanguageModel
    from selfloop.models import ManyToMany as ManyToMany
    from selfloop.models import ManyToOne as ManyToOne
    from selfloop.models import OneToMany as OneToMany
    from selfloop.tasks import *  # noqa: F403
else:  # a type checker would take a misspelt name for one that is found here

    def __getattr__(name: str) -> Any:
        """Public names are imported when first used, so that `selfloop --help` need not wait for torch."""
        if name == "cells":
            return importlib.import_module("selfloop.cells")
        if name not in _HOMES:
            raise AttributeError(f"module 'selfloop' has no attribute '{name}'")
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
