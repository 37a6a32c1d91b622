"""All that can be chosen about a run, as typed sections: what config.json holds, and what the command line offers.

A field is defined once: its type, its default, its bounds, and below it its description. The options of the command
line, the keywords of `selfloop.train` and the page of all fields are made of it by `fields`.
"""

from selfloop.options.caption import CaptionConfig
from selfloop.options.classify import ClassifyConfig
from selfloop.options.label import LabelConfig
from selfloop.options.lm import LanguageModelConfig
from selfloop.options.training import TrainingOptions
from selfloop.options.translate import TranslateConfig

__all__ = [
    "CaptionConfig",
    "ClassifyConfig",
    "LabelConfig",
    "LanguageModelConfig",
    "TrainingOptions",
    "TranslateConfig",
]
